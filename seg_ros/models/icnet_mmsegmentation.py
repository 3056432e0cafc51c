# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ICNet as mmsegmentation builds and trains it (https://github.com/open-mmlab/mmsegmentation)."""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional as F

from .cascade import Cascade, halved, POOL_BINS, RefinedFusion, shallow_branch
from .layers import bin_means, conv_bn, initialise, spatial_size
from .resnet import stage_widths, stages


class ICNetMMSegmentation(Cascade):
    """
    mmsegmentation's ICNet: a ResNetV1c whose first two stages are the trunk.

    It differs from the network of ICNet's authors as follows. The pyramid is concatenated; a ReLU
    follows every convolution of a fusion; the head and each guide have a 3x3 convolution before
    the classifier, and the head classifies at 1/8; corners are not aligned; and sub2's maps can be
    larger by a row and a column, since its pooling rounds up.

    :param depth: the ResNet's depth; 18, 50 and 101 have published weights.
    :param exit: the branch that :meth:`forward` ends with: sub4, sub24 or sub124.
    """

    def __init__(
        self,
        num_classes: int,
        depth: int = 50,
        exit: str = 'sub124',  # noqa: A002
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        _, second, _, last = stage_widths(depth)
        layer1, layer2, layer3, layer4 = stages(depth, 64)
        self.trunk = nn.Sequential(
            conv_bn(3, 32, 3, 2, relu=True),
            conv_bn(32, 32, relu=True),
            conv_bn(32, 64, relu=True),
            nn.MaxPool2d(3, 2, 1, ceil_mode=True),
            layer1,
            layer2,
        )
        self.deep = nn.Sequential(layer3, layer4)
        self.pools = nn.ModuleList(conv_bn(last, 512, 1, relu=True) for _ in POOL_BINS)
        self.squeeze = nn.Sequential(
            conv_bn(last + 4 * 512, 512, 3, relu=True), conv_bn(512, 256, 1, relu=True)
        )
        self.shallow = shallow_branch()
        self.fusion24 = RefinedFusion(
            conv_bn(256, 128, 3, dilation=2, relu=True),
            nn.Sequential(conv_bn(second, 256, 1, relu=True), conv_bn(256, 128, 1, relu=True)),
            _head(num_classes),
        )
        self.fusion12 = RefinedFusion(
            conv_bn(128, 128, 3, dilation=2, relu=True),
            conv_bn(64, 128, 1, relu=True),
            _head(num_classes),
        )
        self.head = _head(num_classes)
        self.auxiliary_weights = (0.4, 0.4)
        initialise(self)
        self._leave_by(exit)

    def _halve(self, x: Tensor) -> Tensor:
        """Halve (N, C, H, W), rounded down; bilinear interpolation is then a mean over 2x2."""
        height, width = spatial_size(x)
        return F.avg_pool2d(x, (min(2, height), min(2, width)), 2)

    def _pyramid(self, x: Tensor) -> Tensor:
        """Concatenate the means over 1, 2, 3 and 6 bins a side, each convolved, with the map."""
        size = spatial_size(x)
        means = (pool(bin_means(x, bins)) for bins, pool in zip(POOL_BINS, self.pools))
        return torch.cat([*(self.upsample(mean, size) for mean in means), x], dim=1)

    def _classify(self, fused: Tensor, images: Tensor) -> Tensor:
        """Return logits at 1/8."""
        return self.head(fused)

    def forward_train(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits of sub124 at full size, of sub4 at 1/16 and of sub24 at 1/8."""
        main, (sub4, sub24) = super().forward_train(images)
        main = self.upsample(main, spatial_size(images))
        return main, [self.upsample(sub4, halved(images, 4)), sub24]


def _head(num_classes: int) -> nn.Sequential:
    return nn.Sequential(conv_bn(128, 128, relu=True), nn.Conv2d(128, num_classes, 1))
