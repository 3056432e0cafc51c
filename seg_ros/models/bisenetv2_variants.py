# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The differences between the paper's BiSeNetV2 and the ones that other projects build."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn, Tensor

from .layers import conv_bn, is_open


@dataclass(frozen=True)
class BiSeNetV2Variant:
    """
    The choices in which projects' BiSeNetV2 differ. The defaults follow the paper.

    :param expansion_relu: whether a ReLU follows the last depthwise convolution of a
        gather-and-expansion layer.
    :param context_norm: whether a norm and a ReLU follow the context embedding's last convolution.
    :param keep_bias: whether the 1x1 convolutions of the guided aggregation have biases.
    :param merged_relu: whether a ReLU follows the aggregation.
    :param upsampling: the interpolation by which the aggregation enlarges semantic maps four
        times.
    :param conv_bias: whether convolutions before norms have biases, which they do not need.
    :param same_padding: whether convolutions of stride 2 have :class:`SamePadding`.
    :param pool_counts_padding: whether the aggregation's average pooling counts the padding's
        zeros.
    :param boosters: the widths of each booster's 3x3 convolutions, for a ``booster_width`` of
        128.
    :param boosters_double: whether each booster's second convolution and its logits have twice the
        size of the map that the booster is attached to.
    """

    expansion_relu: bool = False
    context_norm: bool = False
    keep_bias: bool = True
    merged_relu: bool = False
    upsampling: str = 'bilinear'
    conv_bias: bool = False
    same_padding: bool = False
    pool_counts_padding: bool = True
    boosters: tuple[tuple[int, ...], ...] = ((128,), (128,), (128,), (128,))
    boosters_double: bool = False

    def conv(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        groups: int = 1,
        relu: bool = False,
    ) -> nn.Sequential:
        """Return a convolution and a batch norm, as :func:`conv_bn` does, in this variant."""
        layers = conv_bn(inputs, outputs, kernel, stride, groups=groups, relu=relu)
        conv = layers[0]
        assert isinstance(conv, nn.Conv2d)
        if self.conv_bias:
            conv.bias = nn.Parameter(torch.zeros(outputs))
        if self.same_padding and stride == 2:
            conv.padding = (0, 0)
            # The padding gets a name, so that the other layers keep their numbers.
            named = OrderedDict(padding=SamePadding(), **dict(layers.named_children()))
            layers = nn.Sequential(named)
        return layers


class SamePadding(nn.Module):
    """
    Paddle's padding ``same`` for a 3x3 convolution of stride 2: zeros on all sides.

    In a direction of even size it adds none before the first pixel, so that the first window
    starts there.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C, h + 1 or 2, w + 1 or 2)."""
        # Concatenated, as exported files of older opsets cannot pad by sizes that are known only
        # at run time.
        for dim in (2, 3):
            side = x.shape[dim]
            zeros = torch.zeros_like(x.narrow(dim, 0, 1))
            x = torch.cat([zeros, x, zeros], dim)
            if is_open(side):
                kept = torch.arange(side + 1 + side % 2, device=x.device) + (1 - side % 2)
                x = x.index_select(dim, kept)
            elif side % 2 == 0:
                x = x.narrow(dim, 1, side + 1)
        return x


VARIANTS = {
    'paper': BiSeNetV2Variant(),
    # https://github.com/CoinCheung/BiSeNet, lib/models/bisenetv2.py
    'coincheung': BiSeNetV2Variant(
        expansion_relu=True,
        context_norm=True,
        keep_bias=False,
        merged_relu=True,
        upsampling='nearest',
        boosters=((128, 16), (128, 64), (128, 256), (128, 1024)),
        boosters_double=True,
    ),
    # https://github.com/open-mmlab/mmsegmentation, mmseg/models/backbones/bisenetv2.py
    'mmsegmentation': BiSeNetV2Variant(
        expansion_relu=True,
        context_norm=True,
        merged_relu=True,
        boosters=((16, 16), (64, 64), (256, 256), (1024, 1024)),
    ),
    # https://github.com/PaddlePaddle/PaddleSeg, paddleseg/models/bisenet.py
    'paddleseg': BiSeNetV2Variant(
        conv_bias=True,
        same_padding=True,
        pool_counts_padding=False,
        boosters=((16,), (32,), (64,), (128,)),
    ),
}
"""The variants by name. The dropout of 0.1 in the heads of all three projects is left out."""
