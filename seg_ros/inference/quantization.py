# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Networks in 8 bits: what each convolution sees is measured once, and then rounded to 256 steps.

Here the rounding is simulated in floating point. Engines recognise it and compute in integers;
plain PyTorch runs it too, slowly, as what they are checked against.
"""

from __future__ import annotations

from collections.abc import Iterable
import copy
from typing import cast

import torch
from torch import nn, Tensor
from torch.nn import functional as F

from .checkpoint import ActivationRanges, Checkpoint, CheckpointError
from .deployed import Deployed

IMAGE_CHANNELS = 3
"""
A convolution of so many inputs sees the image itself. It stays as it is: rounding the image, which
has only 256 levels already, does as much harm as rounding all the rest, and saves no time.
"""

SMALLEST_STEP = 1e-12
"""Of weights or activations that are all zero, any step will do, but not none."""


def calibrate(checkpoint: Checkpoint, batches: Iterable[Tensor]) -> ActivationRanges:
    """
    Measure the range of what goes into each convolution but those that see the image itself.

    A range is the mean of the batches' lowest and of their highest values, so that one odd pixel
    does not make all others coarse.

    :param batches: pixels such as the network will meet, uint8 RGB, (N, h, w, 3) at its input
        size; 32 images are plenty.
    :returns: low and high by the convolution's name; one that does not run has none.
    :raises ValueError: there are no batches.
    """
    deployed = Deployed(checkpoint)
    extremes: dict[str, list[tuple[float, float]]] = {}
    for name, module in deployed.network.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels != IMAGE_CHANNELS:

            def measure(_: nn.Module, inputs: tuple[Tensor], name: str = name) -> None:
                low, high = inputs[0].aminmax()
                extremes.setdefault(name, []).append((float(low), float(high)))

            module.register_forward_pre_hook(measure)
    with torch.inference_mode():
        for pixels in batches:
            deployed(pixels)
    if not extremes:
        raise ValueError('expected images to calibrate with; found none')
    return {
        name: (sum(low for low, _ in seen) / len(seen), sum(high for _, high in seen) / len(seen))
        for name, seen in extremes.items()
    }


def quantize(deployed: Deployed, ranges: ActivationRanges, symmetric: bool = False) -> Deployed:
    """
    Return a copy that rounds what goes into convolutions, and their weights, to 8 bits.

    :param ranges: of a checkpoint that was calibrated.
    :param symmetric: round activations to int8 around 0, as TensorRT demands, not to uint8 with a
        zero point, which makes better use of the range.
    :raises CheckpointError: there are no ranges.
    """
    if not ranges:
        raise CheckpointError(
            'precision int8: expected a checkpoint that knows the ranges of its activations; '
            'found one that does not. Measure them with: seg_ros calibrate CHECKPOINT IMAGES... '
            '--out NEW.safetensors'
        )
    deployed = copy.deepcopy(deployed)
    running = dict(deployed.network.named_modules())
    for name, (low, high) in ranges.items():
        if name not in running:  # beyond an early exit
            continue
        parent, _, child = name.rpartition('.')
        conv = cast(nn.Conv2d, deployed.network.get_submodule(name))
        quantized = QuantizedConv(conv, low, high, symmetric)
        setattr(deployed.network.get_submodule(parent), child, quantized)
    return deployed


class QuantizedConv(nn.Module):
    """
    A convolution that sees 256 levels of its input, and 255 of its weights per output channel.

    :param conv: without padding modes other than zeros.
    :param low: of the input; what is below counts as this.
    :param high: likewise.
    :param symmetric: as :func:`quantize`'s.
    """

    weight_step: Tensor
    weight_zero: Tensor

    def __init__(self, conv: nn.Conv2d, low: float, high: float, symmetric: bool) -> None:
        super().__init__()
        self.conv = conv
        low, high = min(low, 0.0), max(high, 0.0)  # 0, which pads, must be a level
        if symmetric:
            self.levels, self.zero = (-128, 127), 0
            self.step = max(max(-low, high) / 127, SMALLEST_STEP)
        else:
            self.levels = (0, 255)
            self.step = max((high - low) / 255, SMALLEST_STEP)
            self.zero = round(-low / self.step)
        # Weights need no zero point: theirs are symmetric enough, and -128 is never reached.
        step = conv.weight.detach().abs().amax((1, 2, 3)) / 127
        self.register_buffer('weight_step', step.clamp(min=SMALLEST_STEP))
        self.register_buffer('weight_zero', torch.zeros(len(step), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """Map as the convolution does."""
        conv = self.conv
        x = torch.fake_quantize_per_tensor_affine(x, self.step, self.zero, *self.levels)
        weight = torch.fake_quantize_per_channel_affine(
            conv.weight, self.weight_step, self.weight_zero, 0, -128, 127
        )
        return F.conv2d(
            x, weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )
