# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ICNet's cascade (arXiv 1704.08545) on EfficientNet-Lite0 (1905.11946) instead of a ResNet."""

from __future__ import annotations

from torch import nn

from .cascade import Cascade, shallow_branch
from .efficientnet_lite import STAGES, stages, stem
from .icnet import cff
from .layers import conv_bn, initialise

SQUEEZED = 256
"""The channels of sub4 after the pyramid."""


class ICNetLite(Cascade):
    """
    ICNet with a lighter backbone, all of whose ImageNet weights can be used.

    The trunk is the stem and the first three stages. The other four stages are the rest of the
    deep branch, at 1/32, dilated as in ICNet. All layers after the backbone are those of ICNet at
    half width.

    :param exit: the branch that :meth:`forward` ends with: sub4, sub24 or sub124.
    """

    align_corners = True

    def __init__(self, num_classes: int, exit: str = 'sub124') -> None:  # noqa: A002
        super().__init__()
        self.num_classes = num_classes
        built = stages()
        self.trunk = nn.Sequential(stem(), *built[:3])
        self.deep = nn.Sequential(*built[3:])
        self.squeeze = conv_bn(STAGES[-1].outputs, SQUEEZED, 1, relu=True)
        self.shallow = shallow_branch()
        self.fusion24 = cff(SQUEEZED, STAGES[2].outputs, 128, num_classes)
        self.fusion12 = cff(128, 64, 128, num_classes)
        self.head = nn.Conv2d(128, num_classes, 1)
        self.auxiliary_weights = (0.16, 0.4)
        initialise(self)
        self._leave_by(exit)
