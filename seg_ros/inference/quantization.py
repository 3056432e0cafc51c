# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Quantization to 8 bits: each convolution's input range is measured once and divided into 256 steps.

The rounding is simulated in floating point here. Engines recognise it and compute in integers.
PyTorch runs the simulation itself, slowly, and serves as the reference for the engines.
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
The input channels of a convolution of the image itself, which is not quantized. The image has only
256 levels already: rounding it again harms as much as rounding all the rest, and saves no time.
"""

SMALLEST_STEP = 1e-12
"""The least step between two levels, for weights or activations that are all zero."""


def calibrate(checkpoint: Checkpoint, batches: Iterable[Tensor]) -> ActivationRanges:
    """
    Measure the input range of each convolution except those of the image itself.

    A range extends from the mean of the batches' lowest values to the mean of their highest, so
    that a single outlier does not make the steps large for all other values.

    :param batches: typical images, uint8 RGB, (N, h, w, 3) at the network's input size; 32 images
        are enough.
    :returns: lowest and highest value by the convolution's name. Convolutions that do not run have
        no range.
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
        name: (sum(low for low, _ in each) / len(each), sum(high for _, high in each) / len(each))
        for name, each in extremes.items()
    }


def quantize(deployed: Deployed, ranges: ActivationRanges, symmetric: bool = False) -> Deployed:
    """
    Return a copy that rounds the inputs and the weights of convolutions to 8 bits.

    :param ranges: the input ranges that :func:`calibrate` returns.
    :param symmetric: round inputs to int8 around 0, as TensorRT requires. The default is uint8
        with a zero point, which makes better use of the range.
    :raises CheckpointError: ``ranges`` is empty.
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
        if name not in running:  # the network leaves by an earlier exit
            continue
        parent, _, child = name.rpartition('.')
        conv = cast(nn.Conv2d, deployed.network.get_submodule(name))
        quantized = QuantizedConv(conv, low, high, symmetric)
        setattr(deployed.network.get_submodule(parent), child, quantized)
    return deployed


class QuantizedConv(nn.Module):
    """
    A convolution whose input is rounded to 256 levels, and its weights to 255 per output channel.

    :param conv: the convolution; its padding mode must be zeros.
    :param low: the input's lowest value; values below are set to it.
    :param high: the input's highest value; values above are set to it.
    :param symmetric: as for :func:`quantize`.
    """

    weight_step: Tensor
    weight_zero: Tensor

    def __init__(self, conv: nn.Conv2d, low: float, high: float, symmetric: bool) -> None:
        super().__init__()
        self.conv = conv
        low, high = min(low, 0.0), max(high, 0.0)  # 0, the value of padding, must be a level
        if symmetric:
            self.levels, self.zero = (-128, 127), 0
            self.step = max(max(-low, high) / 127, SMALLEST_STEP)
        else:
            self.levels = (0, 255)
            self.step = max((high - low) / 255, SMALLEST_STEP)
            self.zero = round(-low / self.step)
        # Weights are about symmetric around 0, so they need no zero point; -128 does not occur.
        step = conv.weight.detach().abs().amax((1, 2, 3)) / 127
        self.register_buffer('weight_step', step.clamp(min=SMALLEST_STEP))
        self.register_buffer('weight_zero', torch.zeros(len(step), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to the shape that the convolution returns."""
        conv = self.conv
        x = torch.fake_quantize_per_tensor_affine(x, self.step, self.zero, *self.levels)
        weight = torch.fake_quantize_per_channel_affine(
            conv.weight, self.weight_step, self.weight_zero, 0, -128, 127
        )
        return F.conv2d(
            x, weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )
