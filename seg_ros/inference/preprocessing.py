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
    Resizing and normalisation.

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

    def __call__(
        self, images: Tensor, size: tuple[int, int], dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """
        Resize and normalise.

        :param images: 8-bit RGB, (N, 3, H, W), on any device.
        :param size: (height, width) that the network takes.
        :returns: (N, 3, *size) of ``dtype`` on the same device.
        """
        x = images.float()
        if images.shape[-2:] != size:
            # Antialiased, as small things should fade when a large image shrinks, not flicker.
            x = F.interpolate(x, size, mode='bilinear', antialias=True)
        return self.normalise(x).to(dtype)

    def normalise(self, images: Tensor) -> Tensor:
        """Subtract the mean and divide by the deviation; (N, 3, H, W), RGB, in and out."""
        if self.channel_order == 'bgr':
            images = images.flip(1)
        mean = torch.tensor(self.mean, device=images.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, 3, 1, 1)
        return (images - mean) / std
