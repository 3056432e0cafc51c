# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ICNet: a deep network on a small image, corrected by shallow ones on larger (1704.08545)."""

from __future__ import annotations

import copy

from torch import nn, Tensor
from torch.nn import functional as F

from .layers import bottlenecks, conv_bn, initialise, SegmentationNetwork, spatial_size

EXITS = ('sub4', 'sub24', 'sub124')
POOL_BINS = (1, 2, 3, 6)
UNUSED = {
    'sub4': ('fusion24.refine', 'fusion24.project', 'shallow', 'fusion12', 'head'),
    'sub24': ('fusion24.guide', 'fusion12.refine', 'fusion12.project', 'shallow', 'head'),
    'sub124': ('fusion24.guide', 'fusion12.guide'),
}
"""Modules that an exit does without."""


class CascadeFeatureFusion(nn.Module):
    """
    Cascade feature fusion (section 3.3), and the classifier that guides it in training.

    :param coarse: channels of the coarser map.
    :param fine: channels of the finer map.
    """

    def __init__(self, coarse: int, fine: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.refine = conv_bn(coarse, width, 3, dilation=2)
        self.project = conv_bn(fine, width, 1)
        self.guide = nn.Conv2d(coarse, num_classes, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Merge ``coarse``, already at the finer map's size, with ``fine``."""
        return F.relu(self.refine(coarse) + self.project(fine))


class ICNet(SegmentationNetwork):
    """
    ICNet as its authors released it (hszhao/ICNet), with one trunk for sub2 and sub4.

    The trunk runs once, on the half-size image; the quarter-size branch goes on from its
    features, halved. The two guides of cascade label guidance double as early exits: with
    ``exit`` set to ``sub4`` or ``sub24`` nothing beyond that branch is computed.

    :param width: 1 for the full network, 0.5 for the size that the authors' pruning leaves.
    :param exit: the branch that :meth:`forward` ends with: sub4, sub24 or sub124.
    """

    align_corners = True

    def __init__(
        self,
        num_classes: int,
        width: float = 1,
        exit: str = 'sub124',  # noqa: A002
    ) -> None:
        super().__init__()
        self._leave_by(exit)
        self.num_classes = num_classes

        def w(channels: int) -> int:
            return round(channels * width)

        # Widths are the full network's; only the first three convolutions never change.
        self.trunk = nn.Sequential(
            conv_bn(3, 32, 3, 2, relu=True),
            conv_bn(32, 32, relu=True),
            conv_bn(32, 64, relu=True),
            nn.MaxPool2d(3, 2, 1),
            bottlenecks(64, w(64), w(256), 3),
            bottlenecks(w(256), w(128), w(512), 1, stride=2),
        )
        self.deep = nn.Sequential(
            bottlenecks(w(512), w(128), w(512), 3),
            bottlenecks(w(512), w(256), w(1024), 6, dilation=2),
            bottlenecks(w(1024), w(512), w(2048), 3, dilation=4),
        )
        self.squeeze = conv_bn(w(2048), w(512), 1, relu=True)
        self.shallow = nn.Sequential(
            conv_bn(3, 32, 3, 2, relu=True),
            conv_bn(32, 32, 3, 2, relu=True),
            conv_bn(32, 64, 3, 2, relu=True),
        )
        self.fusion24 = CascadeFeatureFusion(w(512), w(512), 128, num_classes)
        self.fusion12 = CascadeFeatureFusion(128, 64, 128, num_classes)
        self.head = nn.Conv2d(128, num_classes, 1)
        self.auxiliary_weights = (0.16, 0.4)
        initialise(self)

    def _leave_by(self, exit: str) -> None:  # noqa: A002
        if exit not in EXITS:
            raise ValueError(f'ICNet has the exits {", ".join(EXITS)}; {exit!r} is none of them')
        self.exit = exit
        self.training_only = UNUSED[exit]

    def ending(self, exit: str) -> ICNet:  # noqa: A002
        """Return this network with another exit; the weights are the same in memory."""
        network = copy.copy(self)
        network._leave_by(exit)
        return network

    def _pyramid(self, x: Tensor) -> Tensor:
        """Add the map's means over 1, 2, 3 and 6 bins a side to it (PSPNet's pyramid, summed)."""
        size = spatial_size(x)
        pooled = x
        for bins in POOL_BINS:
            pooled = pooled + self.upsample(F.adaptive_avg_pool2d(x, bins), size)
        return pooled

    def _branches(self, images: Tensor, last: str) -> list[Tensor]:
        """Return the map that each branch up to ``last`` classifies, at 1/16, 1/8 and 1/8."""
        middle = self.trunk(self.upsample(images, _halved(images)))
        deep = self._pyramid(self.deep(self.upsample(middle, _halved(middle))))
        maps = [self.upsample(self.squeeze(deep), spatial_size(middle))]
        if last != 'sub4':
            fused = self.fusion24(maps[0], middle)
            maps.append(self.upsample(fused, _halved(images, 3)))
        if last == 'sub124':
            maps.append(self.fusion12(maps[1], self.shallow(images)))
        return maps

    def _classify(self, fused: Tensor, images: Tensor) -> Tensor:
        # The paper upsamples by two and then classifies. Both are linear and interpolation
        # weights sum to 1, so the order is free; this one touches a tenth of the memory.
        return self.upsample(self.head(fused), _halved(images, 2))

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Return logits at 1/4 of the images' size; at 1/16 (sub4) or 1/8 (sub24) if exited."""
        last = self._branches(images, self.exit)[-1]
        if self.exit == 'sub124':
            return self._classify(last, images)
        fusion = self.fusion24 if self.exit == 'sub4' else self.fusion12
        return fusion.guide(last)

    def forward_train(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits of sub124 at 1/4, and of sub4 at 1/16 and of sub24 at 1/8."""
        sub4, sub24, sub124 = self._branches(images, 'sub124')
        return self._classify(sub124, images), [
            self.fusion24.guide(sub4),
            self.fusion12.guide(sub24),
        ]


def _halved(x: Tensor, times: int = 1) -> tuple[int, int]:
    """Return the size of (N, C, H, W) halved, rounded up each time as strided layers do."""
    height, width = spatial_size(x)
    for _ in range(times):
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width
