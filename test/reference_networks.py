# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The networks a second time, in plain functions, straight from the papers' tables.

Nothing here comes from ``seg_ros.models``. Each function takes the state dict of a network and
runs it as the published layer list says; the tests compare. Where layers are kept is written
out in :func:`icnet`, :func:`bisenetv2` and :func:`pspnet50`, beside the layers' published names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = Mapping[str, Tensor]


def conv(w: Weights, name: str, x: Tensor, stride=1, dilation=1, groups=1) -> Tensor:
    """Convolve so that stride 1 keeps the size and stride 2 gives half of it, rounded up."""
    kernel = w[f'{name}.weight']
    margin = (kernel.shape[-1] // 2) * dilation
    return F.conv2d(x, kernel, w.get(f'{name}.bias'), stride, margin, dilation, groups)


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """Normalise by stored statistics, written out."""
    scale = w[f'{name}.weight'] / torch.sqrt(w[f'{name}.running_var'] + 1e-5)
    shift = w[f'{name}.bias'] - w[f'{name}.running_mean'] * scale
    return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def conv_norm(w: Weights, name: str, x: Tensor, stride=1, dilation=1, groups=1) -> Tensor:
    """Run a pair of layers, ``name.0`` the convolution without bias, ``name.1`` the norm."""
    assert f'{name}.0.bias' not in w
    return norm(w, f'{name}.1', conv(w, f'{name}.0', x, stride, dilation, groups))


def conv_norm_relu(w: Weights, name: str, x: Tensor, stride=1, dilation=1) -> Tensor:
    return F.relu(conv_norm(w, name, x, stride, dilation))


def depthwise(w: Weights, name: str, x: Tensor, stride=1) -> Tensor:
    """Run a depthwise 3x3 and its norm; there may be several outputs an input channel."""
    assert w[f'{name}.0.weight'].shape[1:] == (1, 3, 3)
    return conv_norm(w, name, x, stride, groups=x.shape[1])


def bottleneck(w: Weights, name: str, x: Tensor, stride=1, dilation=1) -> Tensor:
    """Run reduce (which has the stride), 3x3 (which has the dilation), out; add the input."""
    y = conv_norm_relu(w, f'{name}.reduce', x, stride)
    y = conv_norm_relu(w, f'{name}.conv', y, dilation=dilation)
    y = conv_norm(w, f'{name}.expand', y)
    if f'{name}.shortcut.0.weight' in w:
        x = conv_norm(w, f'{name}.shortcut', x, stride)
    return F.relu(y + x)


def aligned(x: Tensor, height: int, width: int) -> Tensor:
    """Interpolate bilinearly, corner pixels on corner pixels."""
    return F.interpolate(x, (height, width), mode='bilinear', align_corners=True)


def bilinear(x: Tensor, height: int, width: int) -> Tensor:
    """Interpolate bilinearly, image edges on image edges."""
    return F.interpolate(x, (height, width), mode='bilinear', align_corners=False)


def fraction(image: Tensor, divisor: int) -> tuple[int, int]:
    """Return the size of a map at 1/divisor, rounded up, as the official 1025x2049 grid does."""
    return ceil(image.shape[2] / divisor), ceil(image.shape[3] / divisor)


def deconvolved_norm(w: Weights, name: str, x: Tensor, height: int, width: int) -> Tensor:
    """
    Deconvolve by 2, as a sum over what each pixel gives to its surroundings; normalise.

    Of the doubled map the first ``height`` rows and ``width`` columns are returned.
    """
    kernel = w[f'{name}.0.weight']
    reach = kernel.shape[-1] // 2
    sparse = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    sparse[..., ::2, ::2] = x
    y = F.conv2d(sparse, kernel.transpose(0, 1).flip(2, 3), padding=reach)
    return norm(w, f'{name}.1', y[..., :height, :width])


def icnet(
    w: Weights, image: Tensor, ends: str = 'sub124', deconvolved: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """
    Run ICNet (arXiv 1704.08545).

    :param deconvolved: whether a deconvolution stands for interpolation and conv_sub4, conv_sub2.
    :returns: the logits of the branch ``ends`` at full size, and the auxiliary ones, of sub4 at
        1/16 and of sub24 at 1/8.
    """
    # Trunk, at half resolution.
    x = aligned(image, *fraction(image, 2))
    x = conv_norm_relu(w, 'trunk.0', x, stride=2)  # conv1_1_3x3_s2
    x = conv_norm_relu(w, 'trunk.1', x)  # conv1_2_3x3
    x = conv_norm_relu(w, 'trunk.2', x)  # conv1_3_3x3
    x = F.max_pool2d(x, 3, 2, 1)  # pool1_3x3_s2
    x = bottleneck(w, 'trunk.4.0', x)  # conv2_1
    x = bottleneck(w, 'trunk.4.1', x)  # conv2_2
    x = bottleneck(w, 'trunk.4.2', x)  # conv2_3
    conv3_1 = bottleneck(w, 'trunk.5.0', x, stride=2)

    # sub4
    x = aligned(conv3_1, *fraction(image, 32))
    for name in ('deep.0.0', 'deep.0.1', 'deep.0.2'):  # conv3_2 to conv3_4
        x = bottleneck(w, name, x)
    for i in range(6):  # conv4_1 to conv4_6
        x = bottleneck(w, f'deep.1.{i}', x, dilation=2)
    for i in range(3):  # conv5_1 to conv5_3
        x = bottleneck(w, f'deep.2.{i}', x, dilation=4)
    conv5_3 = x
    for bins in (1, 2, 3, 6):
        x = x + aligned(F.adaptive_avg_pool2d(conv5_3, bins), *fraction(image, 32))
    x = conv_norm_relu(w, 'squeeze', x)  # conv5_4_k1

    # CFF24
    if deconvolved:
        x = deconvolved_norm(w, 'fusion24.refine', x, *fraction(image, 16))
        sub4 = conv(w, 'fusion24.guide', x)
    else:
        x = aligned(x, *fraction(image, 16))
        sub4 = conv(w, 'fusion24.guide', x)
        x = conv_norm(w, 'fusion24.refine', x, dilation=2)  # conv_sub4
    x = F.relu(x + conv_norm(w, 'fusion24.project', conv3_1))  # conv3_1_sub2_proj

    # sub1
    fine = conv_norm_relu(w, 'shallow.0', image, stride=2)  # conv1_sub1
    fine = conv_norm_relu(w, 'shallow.1', fine, stride=2)  # conv2_sub1
    fine = conv_norm_relu(w, 'shallow.2', fine, stride=2)  # conv3_sub1

    # CFF12
    if deconvolved:
        x = deconvolved_norm(w, 'fusion12.refine', x, *fraction(image, 8))
        sub24 = conv(w, 'fusion12.guide', x)
    else:
        x = aligned(x, *fraction(image, 8))
        sub24 = conv(w, 'fusion12.guide', x)
        x = conv_norm(w, 'fusion12.refine', x, dilation=2)  # conv_sub2
    x = F.relu(x + conv_norm(w, 'fusion12.project', fine))  # conv3_sub1_proj

    sub124 = conv(w, 'head', aligned(x, *fraction(image, 4)))  # conv6_cls
    logits = {'sub4': sub4, 'sub24': sub24, 'sub124': sub124}[ends]
    return aligned(logits, *fraction(image, 1)), [sub4, sub24]


def pspnet50(w: Weights, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    """
    Run PSPNet50 (arXiv 1612.01105) at output stride 8.

    :returns: logits at full size, and the auxiliary ones at 1/8.
    """
    x = conv_norm_relu(w, 'body.0', image, stride=2)
    x = conv_norm_relu(w, 'body.1', x)
    x = conv_norm_relu(w, 'body.2', x)
    x = F.max_pool2d(x, 3, 2, 1)
    for i in range(3):
        x = bottleneck(w, f'body.4.{i}', x)
    for i in range(4):
        x = bottleneck(w, f'body.5.{i}', x, stride=2 if i == 0 else 1)
    for i in range(6):
        x = bottleneck(w, f'body.6.{i}', x, dilation=2)
    third = x
    for i in range(3):
        x = bottleneck(w, f'last_stage.{i}', x, dilation=4)
    parts = [x]
    for i, bins in enumerate((1, 2, 3, 6)):
        pooled = conv_norm_relu(w, f'pyramid.branches.{i}', F.adaptive_avg_pool2d(x, bins))
        parts.append(aligned(pooled, *fraction(image, 8)))
    main = conv(w, 'head.1', conv_norm_relu(w, 'head.0', torch.cat(parts, 1)))
    auxiliary = conv(w, 'auxiliary_head.1', conv_norm_relu(w, 'auxiliary_head.0', third))
    return aligned(main, *fraction(image, 1)), [auxiliary]


def gather_expansion(w: Weights, name: str, x: Tensor) -> Tensor:
    """Run a gather-and-expansion layer of stride 1."""
    y = conv_norm_relu(w, f'{name}.body.0', x)
    y = depthwise(w, f'{name}.body.1', y)
    return F.relu(conv_norm(w, f'{name}.body.2', y) + x)


def gather_expansion_down(w: Weights, name: str, x: Tensor) -> Tensor:
    """Run a gather-and-expansion layer of stride 2."""
    y = conv_norm_relu(w, f'{name}.body.0', x)
    y = depthwise(w, f'{name}.body.1', y, stride=2)
    y = depthwise(w, f'{name}.body.2', y)
    y = conv_norm(w, f'{name}.body.3', y)
    x = depthwise(w, f'{name}.shortcut.0', x, stride=2)
    return F.relu(y + conv_norm(w, f'{name}.shortcut.1', x))


def detail_branch(w: Weights, image: Tensor) -> Tensor:
    x = image
    for i, stride in enumerate((2, 1, 2, 1, 1, 2, 1, 1)):
        x = conv_norm_relu(w, f'detail.{i}', x, stride)
    return x


def semantic_branch(w: Weights, image: Tensor, depth: int) -> tuple[Tensor, list[Tensor]]:
    """Return the branch's map at 1/32, and those that boosters are attached to."""
    x = conv_norm_relu(w, 'semantic.0.conv', image, stride=2)
    left = conv_norm_relu(w, 'semantic.0.convolved.0', x)
    left = conv_norm_relu(w, 'semantic.0.convolved.1', left, stride=2)
    x = torch.cat([left, F.max_pool2d(x, 3, 2, 1)], 1)
    stem = conv_norm_relu(w, 'semantic.0.fuse', x)
    stages = [stem]  # then S3, S4 and S5
    for stage, repeats in ((1, 1), (2, 1), (3, 3)):
        x = gather_expansion_down(w, f'semantic.{stage}.0', stages[-1])
        for i in range(repeats * depth):
            x = gather_expansion(w, f'semantic.{stage}.{i + 1}', x)
        stages.append(x)
    s5 = stages[-1]
    y = norm(w, 'context.norm', s5.mean((2, 3), keepdim=True))
    return conv(w, 'context.fuse', conv_norm_relu(w, 'context.conv', y) + s5), stages


def guided(
    w: Weights, detail: Tensor, semantic: Tensor, up4: Callable[[Tensor], Tensor]
) -> Tensor:
    """Merge the branches bilaterally; the padding of the average pool counts as zeros."""
    name = 'aggregation.detail_keep'
    detail_a = conv(w, f'{name}.1', depthwise(w, f'{name}.0', detail))
    detail_b = conv_norm(w, 'aggregation.detail_down.0', detail, stride=2)
    detail_b = F.avg_pool2d(detail_b, 3, 2, 1)
    semantic_a = torch.sigmoid(up4(conv_norm(w, 'aggregation.semantic_up', semantic)))
    name = 'aggregation.semantic_keep'
    semantic_b = torch.sigmoid(conv(w, f'{name}.1', depthwise(w, f'{name}.0', semantic)))
    return detail_a * semantic_a + up4(detail_b * semantic_b)


def bisenetv2(
    w: Weights, image: Tensor, depth: int = 1, aggregation: str = 'guided'
) -> tuple[Tensor, list[Tensor]]:
    """
    Run BiSeNetV2 (arXiv 2004.02147).

    :param depth: stride-1 gather-and-expansion layers for each one of Table 1. How the paper's
        Large deepens the network is nowhere said; this is the reading that the package chose.
    :param aggregation: what comes of the two branches; those of the paper's ablation have the
        last convolution of the guided one, and a branch alone has none.
    :returns: logits at full size, and those of the boosters at 1/4, 1/8, 1/16 and 1/32.
    """

    def up4(x: Tensor) -> Tensor:
        return bilinear(x, *fraction(image, 8))

    def head(name: str, x: Tensor) -> Tensor:
        return conv(w, f'{name}.1', conv_norm_relu(w, f'{name}.0', x))

    if aggregation == 'detail':
        return bilinear(head('head', detail_branch(w, image)), *fraction(image, 1)), []
    semantic, stages = semantic_branch(w, image, depth)
    boosters = [head(f'boosters.{i}', stage) for i, stage in enumerate(stages)]
    if aggregation == 'semantic':
        return bilinear(head('head', semantic), *fraction(image, 1)), boosters
    detail = detail_branch(w, image)
    x = {
        'guided': lambda: guided(w, detail, semantic, up4),
        'sum': lambda: detail + up4(semantic),
        'concatenation': lambda: torch.cat([detail, up4(semantic)], 1),
    }[aggregation]()
    x = head('head', conv_norm(w, 'aggregation.fuse', x))
    return bilinear(x, *fraction(image, 1)), boosters
