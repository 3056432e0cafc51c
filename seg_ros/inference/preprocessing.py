# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Preprocessing of images: the same normalisation and resizing in training and in inference."""

from __future__ import annotations

from dataclasses import dataclass
import math

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Preprocessing:
    """
    The normalisation of pixels. The defaults are ImageNet's mean and standard deviation.

    :param mean: the values to subtract, one for each channel in ``channel_order``, on the scale of
        0 to 255.
    :param std: the values to divide by, in the same order and on the same scale.
    :param channel_order: the order that the network was trained with, ``rgb`` or ``bgr``.
    :raises ValueError: the order is neither, or mean and std are not three finite values each,
        positive ones in std.
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
        """Return mean and standard deviation, each (1, 3, 1, 1)."""
        mean, std = torch.tensor([self.mean, self.std], device=device).view(2, 1, 3, 1, 1)
        return mean, std

    def normalise(self, images: Tensor, constants: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """
        Subtract the mean and divide by the standard deviation.

        :param images: RGB, (N, 3, H, W), 0 to 255.
        :param constants: the result of :meth:`constants`, if it was made before.
        :returns: (N, 3, H, W) in ``channel_order``.
        """
        if self.channel_order == 'bgr':
            images = images.flip(1)
        mean, std = constants or self.constants(images.device)
        return (images - mean) / std


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Resize 8-bit images to a network's input size, bilinearly and with antialiasing.

    With antialiasing, small objects fade when an image shrinks; without, they flicker. The result
    is rounded to 8 bits, which is what engines take, and on a CPU several times faster.

    :param pixels: (N, H, W, 3), on any device.
    :param size: (height, width).
    :returns: (N, *size, 3), contiguous, on the same device.
    """
    if pixels.shape[1:3] == size:
        return pixels.contiguous()
    planes = pixels.permute(0, 3, 1, 2)
    if pixels.is_cuda:  # on CUDA, PyTorch can resize only floats
        planes = planes.float()
    planes = F.interpolate(planes, size, mode='bilinear', antialias=True)
    if pixels.is_cuda:
        planes = planes.round_().clamp_(0, 255).to(torch.uint8)
    return planes.permute(0, 2, 3, 1).contiguous()
