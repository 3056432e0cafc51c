# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
EfficientNet-Lite0 without its head, with dilation instead of strides beyond 8.

Its layers are those of Table 1 of arXiv 1905.11946. As all Lite variants, it has no
squeeze-and-excitation, and ReLU6 instead of swish
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn, Tensor

from .layers import conv_bn

STEM = 32


class Stage(NamedTuple):
    """
    A stage of the network: a row of the paper's Table 1, as it is built here.

    :param expansion: the factor by which a block widens its input.
    :param kernel: the kernel size of a block's depthwise convolution.
    :param stride: the stride of the first block; 1 if it is replaced by dilation.
    :param dilations: the dilations of the first block and of the other blocks.
    :param outputs: the channels of the stage's result.
    :param blocks: the number of blocks.
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
The stages. With these dilations, every fourth pixel of the result, in both directions, is equal to
a pixel of the network with all its strides.

In a stage whose stride is replaced, the first block has the dilation of the stage before, since
the stride would only have dropped results of that block's depthwise convolution.
"""


class InvertedResidual(nn.Module):
    """
    A block of an expansion, a depthwise convolution and a projection (arXiv 1801.04381).

    :param inputs: the channels of the block's input.
    :param stage: the stage that the block is part of.
    :ivar body: the three convolutions, each with its norm, the last without an activation. The
        first is left out if the expansion is 1.
    :ivar adds: whether the input is added to the result.
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
    """Return the seven stages; only the second and the third halve the map."""
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
    Return a convolution, a batch norm with the original's constants, and a ReLU6 if asked for.

    The padding is the same on all sides. So is TensorFlow's padding "same" if the input of a
    strided layer has an odd size, as in all strided layers for an image of 32 n + 1 pixels. At
    even sizes it would shift each map by a pixel, 14 pixels of the image in all, relative to the
    cascade's other branches.
    """
    unit = conv_bn(inputs, outputs, kernel, stride, dilation=dilation, groups=groups)
    norm = unit[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.eps, norm.momentum = 1e-3, 0.01
    if relu:
        unit.append(nn.ReLU6(inplace=True))
    return unit
