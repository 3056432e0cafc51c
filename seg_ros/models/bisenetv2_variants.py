# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What projects build otherwise than another where they build BiSeNetV2."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn, Tensor

from .layers import conv_bn, is_open


@dataclass(frozen=True)
class BiSeNetV2Variant:
    """
    What a project builds otherwise than another. The defaults follow the paper.

    :param expansion_relu: a ReLU behind the last depthwise convolution of a
        gather-and-expansion layer.
    :param context_norm: a norm and a ReLU behind the context embedding's last convolution.
    :param keep_bias: biases of the 1x1 convolutions in the guided aggregation.
    :param merged_relu: a ReLU behind the aggregation.
    :param upsampling: how the aggregation makes semantic maps four times as large.
    :param conv_bias: biases of the convolutions before norms, which need none.
    :param same_padding: :class:`SamePadding` where a convolution has stride 2.
    :param pool_counts_padding: zeros of the padding count in the aggregation's average pooling.
    :param boosters: the widths of each booster's 3x3 convolutions, for a ``booster_width`` of
        128.
    :param boosters_double: each booster's second convolution, and its logits, have twice the
        size of the map it is attached to.
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
            # With a name, so that the others keep their numbers.
            named = OrderedDict(padding=SamePadding(), **dict(layers.named_children()))
            layers = nn.Sequential(named)
        return layers


class SamePadding(nn.Module):
    """
    What Paddle's padding ``same`` adds before a 3x3 convolution of stride 2: zeros around.

    Before an even size it adds none, so that the first window starts at the first pixel.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C, h + 1 or 2, w + 1 or 2)."""
        # Put together, as exported files of older formats cannot pad by sizes known late.
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
"""By name. The dropout of 0.1 that all three projects have in their heads is left out."""
