# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The image cascade (arXiv 1704.08545), whatever backbone and fusion a network of it has."""

from __future__ import annotations

from collections.abc import Callable
import copy
from typing import TypeVar

import torch
from torch import nn, Tensor
from torch.nn import functional as F

from .layers import bin_means, conv_bn, is_open, SegmentationNetwork, spatial_size

EXITS = ('sub4', 'sub24', 'sub124')
POOL_BINS = (1, 2, 3, 6)

Size = tuple[int, int]
Upsample = Callable[[Tensor, Size], Tensor]
AnyCascade = TypeVar('AnyCascade', bound='Cascade')


class Fusion(nn.Module):
    """
    A unit that merges a branch's map with that of the next finer branch (section 3.3).

    :param refine: what the coarser map goes through.
    :param project: what the finer map goes through.
    :param guide: the classifier that guides the coarser branch in training.
    :ivar after_guide: names of the modules that the guide does without.
    """

    after_guide: tuple[str, ...]

    def __init__(self, refine: nn.Module, project: nn.Module, guide: nn.Module) -> None:
        super().__init__()
        self.refine = refine
        self.project = project
        self.guide = guide

    def enlarge(self, coarse: Tensor, size: Size, upsample: Upsample) -> Tensor:
        """
        Bring the coarser map to the finer one's size: what the guide classifies.

        :param size: (height, width).
        :param upsample: the network's interpolation.
        """
        raise NotImplementedError

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Merge ``coarse``, as :meth:`enlarge` gives it, with ``fine``."""
        raise NotImplementedError


class CascadeFeatureFusion(Fusion):
    """The paper's unit: the guide classifies the interpolated map, which is then refined."""

    after_guide = ('refine', 'project')

    def enlarge(self, coarse: Tensor, size: Size, upsample: Upsample) -> Tensor:
        """Interpolate the coarser map."""
        return upsample(coarse, size)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Merge ``coarse``, as :meth:`enlarge` gives it, with ``fine``."""
        return F.relu(self.refine(coarse) + self.project(fine))


class RefinedFusion(Fusion):
    """The unit as others have built it: the guide classifies the refined map."""

    after_guide = ('project',)

    def enlarge(self, coarse: Tensor, size: Size, upsample: Upsample) -> Tensor:
        """Interpolate the coarser map, and refine it."""
        return self.refine(upsample(coarse, size))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Merge ``coarse``, as :meth:`enlarge` gives it, with ``fine``."""
        return F.relu(coarse + self.project(fine))


class DeconvolutionFusion(RefinedFusion):
    """
    What the paper compares its unit with (Table 4): a deconvolution enlarges the coarser map.

    The paper gives the kernels alone. Here one transposed convolution of stride 2, to the fused
    width and with a batch norm, stands for interpolation and dilated convolution together. The
    finer map is projected and added as ever, and the guide classifies what is enlarged, as it
    does in the paper's own unit.

    :param refine: doubles the map.
    """

    def enlarge(self, coarse: Tensor, size: Size, upsample: Upsample) -> Tensor:
        """Double the coarser map; where the finer one is odd, the last row or column goes."""
        doubled = self.refine(coarse)
        if not is_open(*size):
            return doubled[..., : size[0], : size[1]]
        # No slice here: of one, exporters must know whether it is all or a part.
        rows, columns = (torch.arange(side, device=doubled.device) for side in size)
        return doubled.index_select(2, rows).index_select(3, columns)


class Cascade(SegmentationNetwork):
    """
    A deep network on a small image, corrected by shallow ones on larger images.

    A subclass builds the parts below and ends with :meth:`_leave_by`. The two guides of cascade
    label guidance double as early exits: with ``exit`` set to ``sub4`` or ``sub24`` nothing
    beyond that branch is computed.

    :ivar trunk: from an image at 1/2 to the features of sub2, at 1/16.
    :ivar deep: the rest of the backbone, from what :meth:`_deep_input` returns.
    :ivar squeeze: what follows the pyramid.
    :ivar shallow: from the whole image to the features of sub1, at 1/8.
    :ivar fusion24: of sub4 and sub2.
    :ivar fusion12: of that and sub1.
    :ivar exit: the branch that :meth:`forward` ends with: sub4, sub24 or sub124.
    """

    trunk: nn.Module
    deep: nn.Module
    squeeze: nn.Module
    shallow: nn.Module
    fusion24: Fusion
    fusion12: Fusion
    head: nn.Module

    def _leave_by(self, exit: str) -> None:  # noqa: A002
        if exit not in EXITS:
            raise ValueError(
                f'{type(self).__name__} has the exits {", ".join(EXITS)}; {exit!r} is none of them'
            )
        self.exit = exit
        if exit == 'sub4':
            unused = [f'fusion24.{name}' for name in self.fusion24.after_guide]
            unused += ['shallow', 'fusion12', 'head']
        elif exit == 'sub24':
            unused = [f'fusion12.{name}' for name in self.fusion12.after_guide]
            unused += ['fusion24.guide', 'shallow', 'head']
        else:
            unused = ['fusion24.guide', 'fusion12.guide']
        self.training_only = tuple(unused)

    def ending(self: AnyCascade, exit: str) -> AnyCascade:  # noqa: A002
        """Return this network with another exit; the weights are the same in memory."""
        network = copy.copy(self)
        network._leave_by(exit)
        return network

    def _halve(self, x: Tensor) -> Tensor:
        """Resize (N, C, H, W) to half of it."""
        return self.upsample(x, halved(x))

    def _deep_input(self, images: Tensor, middle: Tensor) -> Tensor:
        """Return what :attr:`deep` goes on from, at 1/32: the features of sub2, halved."""
        return self._halve(middle)

    def _pyramid(self, x: Tensor) -> Tensor:
        """Add the map's means over 1, 2, 3 and 6 bins a side to it (PSPNet's pyramid, summed)."""
        size = spatial_size(x)
        pooled = x
        for bins in POOL_BINS:
            pooled = pooled + self.upsample(bin_means(x, bins), size)
        return pooled

    def _branches(self, images: Tensor, last: str) -> list[Tensor]:
        """Return the map that each branch up to ``last`` classifies, at 1/16, 1/8 and 1/8."""
        middle = self.trunk(self._halve(images))
        deep = self.squeeze(self._pyramid(self.deep(self._deep_input(images, middle))))
        maps = [self.fusion24.enlarge(deep, spatial_size(middle), self.upsample)]
        if last != 'sub4':
            fused = self.fusion24(maps[0], middle)
            maps.append(self.fusion12.enlarge(fused, halved(images, 3), self.upsample))
        if last == 'sub124':
            maps.append(self.fusion12(maps[1], self.shallow(images)))
        return maps

    def _classify(self, fused: Tensor, images: Tensor) -> Tensor:
        # The paper upsamples by two and then classifies. Both are linear and interpolation
        # weights sum to 1, so the order is free; this one touches a tenth of the memory.
        return self.upsample(self.head(fused), halved(images, 2))

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


def shallow_branch() -> nn.Sequential:
    """Return sub1: three convolutions that take the whole image to 64 channels at 1/8."""
    return nn.Sequential(
        conv_bn(3, 32, 3, 2, relu=True),
        conv_bn(32, 32, 3, 2, relu=True),
        conv_bn(32, 64, 3, 2, relu=True),
    )


def halved(x: Tensor, times: int = 1) -> tuple[int, int]:
    """Return the size of (N, C, H, W) halved, rounded up and written as strided layers do."""
    height, width = spatial_size(x)
    for _ in range(times):
        height, width = (height - 1) // 2 + 1, (width - 1) // 2 + 1
    return height, width
