# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ICNet: a deep network on a small image, corrected by shallow ones on larger (1704.08545)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from .cascade import Cascade, CascadeFeatureFusion, DeconvolutionFusion, Fusion, shallow_branch
from .layers import bottlenecks, conv_bn, initialise

Fuse = Callable[[int, int, int, int], Fusion]
"""A function that builds a fusion. It takes the channels of the coarser, the finer and the fused
map, and the number of classes."""


def cff(coarse: int, fine: int, width: int, num_classes: int) -> Fusion:
    """Return the paper's cascade feature fusion; for arguments see :data:`Fuse`."""
    return CascadeFeatureFusion(
        conv_bn(coarse, width, 3, dilation=2),
        conv_bn(fine, width, 1),
        nn.Conv2d(coarse, num_classes, 1),
    )


def deconvolution(coarse: int, fine: int, width: int, num_classes: int, kernel: int) -> Fusion:
    """Return a fusion by a transposed convolution with an odd kernel size."""
    layer = nn.ConvTranspose2d(coarse, width, kernel, 2, kernel // 2, 1, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
    return DeconvolutionFusion(
        nn.Sequential(layer, nn.BatchNorm2d(width)),
        conv_bn(fine, width, 1),
        nn.Conv2d(width, num_classes, 1),
    )


FUSIONS: dict[str, Fuse] = {
    'cff': cff,
    'deconvolution3': partial(deconvolution, kernel=3),
    'deconvolution5': partial(deconvolution, kernel=5),
    'deconvolution7': partial(deconvolution, kernel=7),
}
"""The ways to merge two branches: the paper's unit, and those that Table 4 compares with it."""


class ICNet(Cascade):
    """
    ICNet as its authors released it (hszhao/ICNet), with one trunk for sub2 and sub4.

    The trunk runs once, on the half-size image. The quarter-size branch, sub4, continues from the
    trunk's features, halved.

    :param width: the factor on the widths: 1 for the full network, 0.5 for the size that the
        authors' pruning leaves.
    :param exit: the branch that :meth:`forward` ends with: sub4, sub24 or sub124.
    :param fusion: one of :data:`FUSIONS`.
    """

    align_corners = True

    def __init__(
        self,
        num_classes: int,
        width: float = 1,
        exit: str = 'sub124',  # noqa: A002
        fusion: str = 'cff',
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        if fusion not in FUSIONS:
            raise ValueError(f'ICNet has the fusions {", ".join(FUSIONS)}; found {fusion!r}')
        fuse = FUSIONS[fusion]

        def w(channels: int) -> int:
            return round(channels * width)

        # The widths below are those of the full network. The first three convolutions keep theirs.
        self.trunk = nn.Sequential(
            conv_bn(3, 32, 3, 2, relu=True),
            conv_bn(32, 32, relu=True),
            conv_bn(32, 64, relu=True),
            nn.MaxPool2d(3, 2, 1),
            # With a projection at any width, so that pruning leaves the same architecture.
            bottlenecks(64, w(64), w(256), 3, project=True),
            bottlenecks(w(256), w(128), w(512), 1, stride=2),
        )
        self.deep = nn.Sequential(
            bottlenecks(w(512), w(128), w(512), 3),
            bottlenecks(w(512), w(256), w(1024), 6, dilation=2),
            bottlenecks(w(1024), w(512), w(2048), 3, dilation=4),
        )
        self.squeeze = conv_bn(w(2048), w(512), 1, relu=True)
        self.shallow = shallow_branch()
        self.fusion24 = fuse(w(512), w(512), 128, num_classes)
        self.fusion12 = fuse(128, 64, 128, num_classes)
        self.head = nn.Conv2d(128, num_classes, 1)
        self.auxiliary_weights = (0.16, 0.4)
        initialise(self)
        self._leave_by(exit)
