# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ICNet as liminn builds and trains it (https://github.com/liminn/ICNet-pytorch)."""

from __future__ import annotations

from torch import nn, Tensor

from .cascade import Cascade, halved, RefinedFusion, shallow_branch
from .layers import conv_bn, initialise
from .resnet import BOTTLENECKS, stages


class ICNetLiminn(Cascade):
    """
    liminn's ICNet: a ResNet runs on the image at 1/4, and its first half also on that at 1/2.

    The original runs the second half at 1/2 too and drops the result; here it does not run. Unlike
    the network of ICNet's authors, it fuses all 2048 channels of sub4, and its classifiers have no
    bias.

    :param depth: the ResNet's depth: 50, 101 or 152.
    :param exit: the branch that :meth:`forward` ends with: sub4, sub24 or sub124.
    """

    align_corners = True

    def __init__(
        self,
        num_classes: int,
        depth: int = 50,
        exit: str = 'sub124',  # noqa: A002
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        if depth < BOTTLENECKS:
            raise ValueError(f'expected a ResNet of depth 50, 101 or 152; found {depth}')
        layer1, layer2, layer3, layer4 = stages(depth, 128)
        self.trunk = nn.Sequential(
            conv_bn(3, 64, 3, 2, relu=True),
            conv_bn(64, 64, relu=True),
            conv_bn(64, 128, relu=True),
            nn.MaxPool2d(3, 2, 1),
            layer1,
            layer2,
        )
        self.deep = nn.Sequential(layer3, layer4)
        self.squeeze = nn.Identity()
        self.shallow = shallow_branch()
        self.fusion24 = _fusion(2048, 512, num_classes)
        self.fusion12 = _fusion(128, 64, num_classes)
        self.head = nn.Conv2d(128, num_classes, 1, bias=False)
        self.auxiliary_weights = (0.4, 0.4)
        initialise(self)
        self._leave_by(exit)

    def _deep_input(self, images: Tensor, middle: Tensor) -> Tensor:
        """Return the trunk's features of the image at 1/4."""
        return self.trunk(self.upsample(images, halved(images, 2)))


def _fusion(coarse: int, fine: int, num_classes: int) -> RefinedFusion:
    return RefinedFusion(
        conv_bn(coarse, 128, 3, dilation=2),
        conv_bn(fine, 128, 1),
        nn.Conv2d(128, num_classes, 1, bias=False),
    )
