# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Dilated ResNets with a deep stem (arXiv 1512.03385, 1812.01187), as PyTorch projects train them.

A stage's stride is in its first 3x3 convolution; in the Caffe networks of
:func:`seg_ros.models.layers.bottlenecks` it is in the 1x1 convolution before that.
"""

from __future__ import annotations

from torch import nn, Tensor
from torch.nn import functional as F

from .layers import conv_bn

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""The number of blocks in each stage, by depth."""

BOTTLENECKS = 50
"""From this depth on, a block has a 1x1, a 3x3 and a 1x1 convolution; below, two of 3x3."""

WIDTHS = (64, 128, 256, 512)
"""The channels of the 3x3 convolutions in each stage."""


class ResidualBlock(nn.Module):
    """
    A residual block.

    :param inputs: the channels of the input.
    :param body: convolutions, each with its norm, the last without a ReLU.
    :param outputs: the channels of the body's result.
    :param stride: the stride of the body.
    """

    def __init__(self, inputs: int, body: nn.Sequential, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = body
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""
        return F.relu(self.shortcut(x) + self.body(x))


def basic_block(inputs: int, width: int, stride: int, dilation: int) -> ResidualBlock:
    """Return a block of two 3x3 convolutions, the first with the stride and the dilation."""
    body = nn.Sequential(
        conv_bn(inputs, width, 3, stride, dilation=dilation, relu=True), conv_bn(width, width, 3)
    )
    return ResidualBlock(inputs, body, width, stride)


def bottleneck(inputs: int, width: int, stride: int, dilation: int) -> ResidualBlock:
    """Return a block of a 1x1, a 3x3 and a 1x1 convolution, the last four times as wide."""
    body = nn.Sequential(
        conv_bn(inputs, width, 1, relu=True),
        conv_bn(width, width, 3, stride, dilation=dilation, relu=True),
        conv_bn(width, 4 * width, 1),
    )
    return ResidualBlock(inputs, body, 4 * width, stride)


def stage_widths(depth: int) -> list[int]:
    """
    Return the channels after each of a ResNet's four stages.

    :raises ValueError: there is no ResNet of that depth.
    """
    if depth not in BLOCKS:
        known = ', '.join(map(str, BLOCKS))
        raise ValueError(f'expected a ResNet of depth {known}; found {depth}')
    return [width * (1 if depth < BOTTLENECKS else 4) for width in WIDTHS]


def stages(depth: int, inputs: int) -> list[nn.Sequential]:
    """
    Return a ResNet's four stages; only the second halves the map.

    Instead of strides, the last two stages have dilations of 2 and 4; the first block of each has
    the dilation of the stage before.

    :param inputs: the channels of the stem.
    :raises ValueError: there is no ResNet of that depth.
    """
    outputs = stage_widths(depth)
    block = basic_block if depth < BOTTLENECKS else bottleneck
    found = []
    for i, (count, width) in enumerate(zip(BLOCKS[depth], WIDTHS)):
        stride, first, rest = ((1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4))[i]
        layers = [block(inputs, width, stride, first)]
        layers += [block(outputs[i], width, 1, rest) for _ in range(count - 1)]
        found.append(nn.Sequential(*layers))
        inputs = outputs[i]
    return found
