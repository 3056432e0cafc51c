# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PSPNet50: the accurate, slow network that ICNet is measured against (arXiv 1612.01105)."""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional as F

from .layers import bin_means, bottlenecks, conv_bn, initialise, SegmentationNetwork

POOL_BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """The pyramid pooling module (section 3.2): means over 1, 2, 3 and 6 bins a side."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv_bn(inputs, width, 1, relu=True) for _ in POOL_BINS)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, inputs + 4 * width, h, w)."""
        maps = [x]
        for bins, branch in zip(POOL_BINS, self.branches):
            pooled = branch(bin_means(x, bins))
            maps.append(F.interpolate(pooled, x.shape[-2:], mode='bilinear', align_corners=True))
        return torch.cat(maps, dim=1)


class PSPNet50(SegmentationNetwork):
    """
    PSPNet on a dilated ResNet-50 with a deep stem, at an output stride of 8.

    :param width: the factor on all widths, 1 or 0.5.
    """

    align_corners = True
    training_only = ('auxiliary_head',)

    def __init__(self, num_classes: int, width: float = 1) -> None:
        super().__init__()
        self.num_classes = num_classes

        def w(channels: int) -> int:
            return round(channels * width)

        self.body = nn.Sequential(
            conv_bn(3, w(64), 3, 2, relu=True),
            conv_bn(w(64), w(64), relu=True),
            conv_bn(w(64), w(128), relu=True),
            nn.MaxPool2d(3, 2, 1),
            bottlenecks(w(128), w(64), w(256), 3),
            bottlenecks(w(256), w(128), w(512), 4, stride=2),
            bottlenecks(w(512), w(256), w(1024), 6, dilation=2),
        )
        self.last_stage = bottlenecks(w(1024), w(512), w(2048), 3, dilation=4)
        self.pyramid = PyramidPooling(w(2048), w(512))
        self.head = nn.Sequential(
            conv_bn(2 * w(2048), w(512), relu=True), nn.Conv2d(w(512), num_classes, 1)
        )
        self.auxiliary_head = nn.Sequential(
            conv_bn(w(1024), w(256), relu=True), nn.Conv2d(w(256), num_classes, 1)
        )
        self.auxiliary_weights = (0.4,)
        initialise(self)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Return logits at 1/8 of the images' size."""
        return self.head(self.pyramid(self.last_stage(self.body(images))))

    def forward_train(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits at the training's stride, and those of the third stage at 1/8."""
        third = self.body(images)
        logits = self.head(self.pyramid(self.last_stage(third)))
        size = self.train_size(images)
        return self.upsample(logits, size), [self.auxiliary_head(third)]
