# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
EfficientNet-Lite0 without its head, dilated beyond a stride of 8.

Its layers are Table 1 of arXiv 1905.11946, less what the Lite variant leaves out:
squeeze-and-excitation, and swish, for which it has ReLU6
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn, Tensor

from .layers import conv_bn

STEM = 32


class Stage(NamedTuple):
    """
    A row of the table, as it is built here.

    :param expansion: of a block's channels within the block.
    :param kernel: of its depthwise convolution.
    :param stride: of the first block; 1 where a dilation stands for it.
    :param dilations: of the first block, and of the others.
    """

    expansion: int
    kernel: int
    stride: int
    dilations: tuple[int, int]
    outputs: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, (1, 1), 16, 1),
    Stage(6, 3, 2, (1, 1), 24, 2),
    Stage(6, 5, 2, (1, 1), 40, 2),
    Stage(6, 3, 1, (1, 2), 80, 3),
    Stage(6, 5, 1, (2, 2), 112, 3),
    Stage(6, 5, 1, (2, 4), 192, 4),
    Stage(6, 3, 1, (4, 4), 320, 1),
)
"""
Dilated so, every fourth pixel of the last is one of the network with all its strides.

A stage that loses its stride has in its first block still the dilation of the stage before, since
that block's depthwise convolution is the one whose results would have been thinned out.
"""


class InvertedResidual(nn.Module):
    """
    A block that expands, convolves each channel by itself, and projects (arXiv 1801.04381).

    :param inputs: channels.
    :ivar body: the three convolutions, each with its norm, the last without an activation; the
        first is missing where the expansion is 1.
    """

    def __init__(self, inputs: int, stage: Stage, stride: int, dilation: int) -> None:
        super().__init__()
        middle = inputs * stage.expansion
        self.body = nn.Sequential()
        if stage.expansion > 1:
            self.body.append(_unit(inputs, middle))
        self.body.append(_unit(middle, middle, stage.kernel, stride, dilation, groups=middle))
        self.body.append(_unit(middle, stage.outputs, relu=False))
        self.adds = stride == 1 and inputs == stage.outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, stage.outputs, h / stride, w / stride)."""
        return x + self.body(x) if self.adds else self.body(x)


def stem() -> nn.Sequential:
    """Return the first convolution, which halves the image."""
    return _unit(3, STEM, 3, 2)


def stages() -> list[nn.Sequential]:
    """Return the seven stages, of which the second and the third halve the map."""
    inputs, found = STEM, []
    for stage in STAGES:
        first, rest = stage.dilations
        blocks = [InvertedResidual(inputs, stage, stage.stride, first)]
        for _ in range(stage.blocks - 1):
            blocks.append(InvertedResidual(stage.outputs, stage, 1, rest))
        found.append(nn.Sequential(*blocks))
        inputs = stage.outputs
    return found


def _unit(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    """
    Return a convolution, a batch norm with the original's constants, and a ReLU6.

    The padding is the same on all sides. TensorFlow's "same" is that, too, where a strided layer
    meets an odd size, as all do in an image of 32 n + 1 pixels. At even sizes it would move every
    map by a pixel, 14 of the image in all, against those of the cascade's other branches.
    """
    unit = conv_bn(inputs, outputs, kernel, stride, dilation=dilation, groups=groups)
    norm = unit[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.eps, norm.momentum = 1e-3, 0.01
    if relu:
        unit.append(nn.ReLU6(inplace=True))
    return unit
