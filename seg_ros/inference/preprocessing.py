# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What happens to pixels before a network sees them: the same in training and on the road."""

from __future__ import annotations

from dataclasses import dataclass
import math

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Preprocessing:
    """
    Normalisation.

    :param mean: subtracted, one a channel in ``channel_order``, on the scale of 0 to 255.
    :param std: divided by, likewise. The defaults are ImageNet's.
    :param channel_order: the order that the network was trained on, ``rgb`` or ``bgr``.
    :raises ValueError: an order that is neither, or other than three finite values.
    """

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    channel_order: str = 'rgb'

    def __post_init__(self) -> None:
        if self.channel_order not in ('rgb', 'bgr'):
            raise ValueError(f'expected channel order rgb or bgr; found {self.channel_order!r}')
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if len(self.mean) != 3 or len(self.std) != 3 or not finite or min(self.std) <= 0:
            raise ValueError(
                f'expected three means and three positive deviations; found {self.mean} and '
                f'{self.std}'
            )

    def constants(self, device: torch.device | str = 'cpu') -> tuple[Tensor, Tensor]:
        """Return mean and deviation, each (1, 3, 1, 1)."""
        mean, std = torch.tensor([self.mean, self.std], device=device).view(2, 1, 3, 1, 1)
        return mean, std

    def normalise(self, images: Tensor, constants: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """
        Subtract the mean and divide by the deviation; (N, 3, H, W), RGB, in and out.

        :param constants: those of :meth:`constants`, for who wants them made beforehand.
        """
        if self.channel_order == 'bgr':
            images = images.flip(1)
        mean, std = constants or self.constants(images.device)
        return (images - mean) / std


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Resize 8-bit images to what a network sees, bilinearly.

    Antialiased, as small things should fade when a large image shrinks, not flicker. The result
    is rounded to 8 bits, which on a CPU is several times faster and is all that engines take.

    :param pixels: (N, H, W, 3), on any device.
    :param size: (height, width).
    :returns: (N, *size, 3), contiguous, on the same device.
    """
    if pixels.shape[1:3] == size:
        return pixels.contiguous()
    planes = pixels.permute(0, 3, 1, 2)
    if pixels.is_cuda:  # where PyTorch resizes floats only
        planes = planes.float()
    planes = F.interpolate(planes, size, mode='bilinear', antialias=True)
    if pixels.is_cuda:
        planes = planes.round_().clamp_(0, 255).to(torch.uint8)
    return planes.permute(0, 2, 3, 1).contiguous()
