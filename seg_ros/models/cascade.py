# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ICNet's image cascade (arXiv 1704.08545), for any backbone and any fusion of its branches."""

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

    :param refine: the layers for the coarser map.
    :param project: the layers for the finer map.
    :param guide: the classifier that guides the coarser branch in training.
    :ivar after_guide: names of the modules that do not contribute to the guide's logits.
    """

    after_guide: tuple[str, ...]

    def __init__(self, refine: nn.Module, project: nn.Module, guide: nn.Module) -> None:
        super().__init__()
        self.refine = refine
        self.project = project
        self.guide = guide

    def enlarge(self, coarse: Tensor, size: Size, upsample: Upsample) -> Tensor:
        """
        Enlarge the coarser map to the finer one's size; the guide classifies the result.

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
    """The unit as other projects build it: the guide classifies the refined map."""

    after_guide = ('project',)

    def enlarge(self, coarse: Tensor, size: Size, upsample: Upsample) -> Tensor:
        """Interpolate and refine the coarser map."""
        return self.refine(upsample(coarse, size))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Merge ``coarse``, as :meth:`enlarge` gives it, with ``fine``."""
        return F.relu(coarse + self.project(fine))


class DeconvolutionFusion(RefinedFusion):
    """
    A unit that enlarges the coarser map by deconvolution, which Table 4 compares with the paper's.

    The paper gives only the kernels. Here one transposed convolution of stride 2, to the fused
    width and with a batch norm, replaces both interpolation and dilated convolution. The finer map
    is projected and added as in the other units, and the guide classifies the enlarged map, as in
    the paper's own unit.

    :param refine: the transposed convolution, which doubles the map's size.
    """

    def enlarge(self, coarse: Tensor, size: Size, upsample: Upsample) -> Tensor:
        """Double the coarser map, and cut off its last row or column where the finer has none."""
        doubled = self.refine(coarse)
        if not is_open(*size):
            return doubled[..., : size[0], : size[1]]
        # Exporters would have to know whether a slice is the whole map or a part of it.
        rows, columns = (torch.arange(side, device=doubled.device) for side in size)
        return doubled.index_select(2, rows).index_select(3, columns)


class Cascade(SegmentationNetwork):
    """
    A deep network on a small image, corrected by shallow ones on larger images.

    The constructor of a subclass builds the modules below and then calls :meth:`_leave_by`. The
    two guides of the paper's cascade label guidance are also early exits: with the exit ``sub4``
    or ``sub24`` nothing beyond that branch is computed.

    :ivar trunk: maps an image at 1/2 to the features of sub2, at 1/16.
    :ivar deep: the rest of the backbone, for the result of :meth:`_deep_input`.
    :ivar squeeze: the layers after the pyramid.
    :ivar shallow: maps the whole image to the features of sub1, at 1/8.
    :ivar fusion24: merges sub4 and sub2.
    :ivar fusion12: merges the result of ``fusion24`` and sub1.
    :ivar head: the classifier of the result of ``fusion12``.
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
        """Return this network with another exit; both share the same weights in memory."""
        network = copy.copy(self)
        network._leave_by(exit)
        return network

    def _halve(self, x: Tensor) -> Tensor:
        """Resize (N, C, H, W) to half its height and width."""
        return self.upsample(x, halved(x))

    def _deep_input(self, images: Tensor, middle: Tensor) -> Tensor:
        """Return the input of :attr:`deep`, at 1/32: the features of sub2, halved."""
        return self._halve(middle)

    def _pyramid(self, x: Tensor) -> Tensor:
        """Add to a map its means over 1, 2, 3 and 6 bins a side: PSPNet's pyramid, but summed."""
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
        """Return logits at 1/4 of the images' size; at 1/16 for exit sub4, at 1/8 for sub24."""
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
    """Return sub1: three convolutions that map the whole image to 64 channels at 1/8."""
    return nn.Sequential(
        conv_bn(3, 32, 3, 2, relu=True),
        conv_bn(32, 32, 3, 2, relu=True),
        conv_bn(32, 64, 3, 2, relu=True),
    )


def halved(x: Tensor, times: int = 1) -> tuple[int, int]:
    """
    Return height and width of (N, C, H, W), halved and rounded up, once or more often.

    The formula is that of strided layers, so that exporters recognise the same size.
    """
    height, width = spatial_size(x)
    for _ in range(times):
        height, width = (height - 1) // 2 + 1, (width - 1) // 2 + 1
    return height, width
