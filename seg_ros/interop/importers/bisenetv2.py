# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Importers of BiSeNetV2: the names of each project's tensors, and its preprocessing.

The differences between their networks and the paper's are in
:mod:`seg_ros.models.bisenetv2_variants`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...inference.preprocessing import Preprocessing
from ...models import build_model
from . import Conversion, COUNTER, Importer, UnsupportedError

Names = dict[str, str]
"""The project's name by our name, for layers or for blocks of a convolution and a norm."""

STEM_WIDTH = 16
"""The channels of the semantic branch's first layer in the published networks of all projects."""

STAGES = {1: 2, 2: 2, 3: 4}
"""The number of gather-and-expansion layers in each stage after the stem; the first of a stage has
stride 2."""

CITYSCAPES_SIZE = (1024, 2048)
"""The input size for Cityscapes, whose images all three projects evaluate as a whole."""

Three = tuple[float, float, float]


def _of_fractions(mean: Three, std: Three) -> Preprocessing:
    """Return our preprocessing for a project that divides RGB by 255 before it normalises."""
    r, g, b = (255 * value for value in mean)
    return Preprocessing((r, g, b), (255 * std[0], 255 * std[1], 255 * std[2]))


# Preprocessing and input size from the project's lib/data and configs, by the number of classes:
# Cityscapes, ADE20K and COCO-Stuff.
COINCHEUNG_DATA = {
    19: (_of_fractions((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)), CITYSCAPES_SIZE),
    150: (
        _of_fractions((0.49343230, 0.46819794, 0.43106043), (0.25680755, 0.25506608, 0.27422913)),
        (640, 640),
    ),
    171: (
        _of_fractions((0.46962251, 0.4464104, 0.40718787), (0.27469736, 0.27012361, 0.28515933)),
        (640, 640),
    ),
}
COINCHEUNG_OWN_DATA = (_of_fractions((0.4, 0.4, 0.4), (0.2, 0.2, 0.2)), (512, 512))
"""Preprocessing and input size for any other number of classes, from the project's example for
custom data."""


def _pairs(blocks: Names, conv: str, norm: str) -> Names:
    """
    Return the names of the two layers of each block, which are ``0`` and ``1`` in our blocks.

    :param blocks: the project's name of each of our blocks.
    :param conv: the project's name of the convolution within a block.
    :param norm: the project's name of the norm within a block.
    """
    names = {}
    for ours, theirs in blocks.items():
        names[f'{ours}.0'] = f'{theirs}.{conv}'
        names[f'{ours}.1'] = f'{theirs}.{norm}'
    return names


def _coincheung_names() -> Names:
    detail = ('S1.0', 'S1.1', 'S2.0', 'S2.1', 'S2.2', 'S3.0', 'S3.1', 'S3.2')
    blocks = {f'detail.{i}': f'detail.{theirs}' for i, theirs in enumerate(detail)}
    blocks |= {
        'semantic.0.conv': 'segment.S1S2.conv',
        'semantic.0.convolved.0': 'segment.S1S2.left.0',
        'semantic.0.convolved.1': 'segment.S1S2.left.1',
        'semantic.0.fuse': 'segment.S1S2.fuse',
        'context.conv': 'segment.S5_5.conv_gap',
        'context.fuse': 'segment.S5_5.conv_last',
        'head.0': 'head.conv',
    }
    names = {'context.norm': 'segment.S5_5.bn', 'head.1': 'head.conv_out.1'}
    bare = {  # blocks that are sequences, as ours are
        'aggregation.detail_keep.0': 'bga.left1',
        'aggregation.detail_down.0': 'bga.left2',
        'aggregation.semantic_up': 'bga.right1',
        'aggregation.semantic_keep.0': 'bga.right2',
        'aggregation.fuse': 'bga.conv',
    }
    names |= {
        'aggregation.detail_keep.1': 'bga.left1.2',
        'aggregation.semantic_keep.1': 'bga.right2.2',
    }
    for stage, name in ((1, 'S3'), (2, 'S4'), (3, 'S5_4')):
        for i in range(STAGES[stage]):
            ours, theirs = f'semantic.{stage}.{i}', f'segment.{name}.{i}'
            blocks[f'{ours}.body.0'] = f'{theirs}.conv1'
            if i > 0:
                bare[f'{ours}.body.1'] = f'{theirs}.dwconv'
                bare[f'{ours}.body.2'] = f'{theirs}.conv2'
            else:
                bare[f'{ours}.body.1'] = f'{theirs}.dwconv1'
                bare[f'{ours}.body.2'] = f'{theirs}.dwconv2'
                bare[f'{ours}.body.3'] = f'{theirs}.conv2'
                bare[f'{ours}.shortcut.0'] = f'{theirs}.shortcut'
                names[f'{ours}.shortcut.1.0'] = f'{theirs}.shortcut.2'
                names[f'{ours}.shortcut.1.1'] = f'{theirs}.shortcut.3'
    for i, theirs in enumerate(('aux2', 'aux3', 'aux4', 'aux5_4')):
        blocks[f'boosters.{i}.0'] = f'{theirs}.conv'
        blocks[f'boosters.{i}.2'] = f'{theirs}.conv_out.0.1'
        names[f'boosters.{i}.3'] = f'{theirs}.conv_out.1'
    return names | _pairs(blocks, 'conv', 'bn') | _pairs(bare, '0', '1')


def _mmsegmentation_names() -> Names:
    detail = ('0.0', '0.1', '1.0', '1.1', '1.2', '2.0', '2.1', '2.2')
    blocks = {
        f'detail.{i}': f'backbone.detail.detail_branch.{theirs}' for i, theirs in enumerate(detail)
    }
    stem, context = 'backbone.semantic.stage1', 'backbone.semantic.stage4_CEBlock'
    blocks |= {
        'semantic.0.conv': f'{stem}.conv_first',
        'semantic.0.convolved.0': f'{stem}.convs.0',
        'semantic.0.convolved.1': f'{stem}.convs.1',
        'semantic.0.fuse': f'{stem}.fuse_last',
        'context.conv': f'{context}.conv_gap',
        'context.fuse': f'{context}.conv_last',
        'aggregation.detail_keep.0': 'backbone.bga.detail_dwconv.0.depthwise_conv',
        'aggregation.detail_down.0': 'backbone.bga.detail_down.0',
        'aggregation.semantic_up': 'backbone.bga.semantic_conv.0',
        'aggregation.semantic_keep.0': 'backbone.bga.semantic_dwconv.0.depthwise_conv',
        'aggregation.fuse': 'backbone.bga.conv',
        'head.0': 'decode_head.convs.0',
    }
    names = {
        'context.norm': f'{context}.gap.1',
        'aggregation.detail_keep.1': 'backbone.bga.detail_dwconv.0.pointwise_conv.conv',
        'aggregation.semantic_keep.1': 'backbone.bga.semantic_dwconv.0.pointwise_conv.conv',
        'head.1': 'decode_head.conv_seg',
    }
    for stage, count in STAGES.items():
        for i in range(count):
            ours, theirs = f'semantic.{stage}.{i}', f'backbone.semantic.stage{stage + 1}.{i}'
            blocks[f'{ours}.body.0'] = f'{theirs}.conv1'
            blocks[f'{ours}.body.1'] = f'{theirs}.dwconv.0'
            if i > 0:
                blocks[f'{ours}.body.2'] = f'{theirs}.conv2.0'
            else:
                blocks[f'{ours}.body.2'] = f'{theirs}.dwconv.1'
                blocks[f'{ours}.body.3'] = f'{theirs}.conv2.0'
                blocks[f'{ours}.shortcut.0'] = f'{theirs}.shortcut.0.depthwise_conv'
                blocks[f'{ours}.shortcut.1'] = f'{theirs}.shortcut.0.pointwise_conv'
    for i in range(4):
        for j in range(2):
            blocks[f'boosters.{i}.{j}'] = f'auxiliary_head.{i}.convs.{j}'
        names[f'boosters.{i}.2'] = f'auxiliary_head.{i}.conv_seg'
    return names | _pairs(blocks, 'conv', 'bn')


def _paddleseg_names() -> Names:
    blocks = {f'detail.{i}': f'db.convs.{i}' for i in range(8)}
    blocks |= {
        'semantic.0.conv': 'sb.stem.conv',
        'semantic.0.convolved.0': 'sb.stem.left.0',
        'semantic.0.convolved.1': 'sb.stem.left.1',
        'semantic.0.fuse': 'sb.stem.fuse',
        'context.conv': 'sb.ce.conv_1x1',
        'aggregation.detail_keep.0': 'bga.db_branch_keep.0.depthwise_conv',
        'aggregation.detail_down.0': 'bga.db_branch_down.0',
        'aggregation.semantic_up': 'bga.sb_branch_up',
        'aggregation.semantic_keep.0': 'bga.sb_branch_keep.0.depthwise_conv',
        'aggregation.fuse': 'bga.conv',
        'head.0': 'head.conv_3x3.0',
    }
    names = {
        'context.norm': 'sb.ce.bn',
        'context.fuse': 'sb.ce.conv_3x3',
        'aggregation.detail_keep.1': 'bga.db_branch_keep.1',
        'aggregation.semantic_keep.1': 'bga.sb_branch_keep.1',
        'head.1': 'head.conv_1x1',
    }
    for stage, name in ((1, 'stage3'), (2, 'stage4'), (3, 'stage5_4')):
        for i in range(STAGES[stage]):
            ours, theirs = f'semantic.{stage}.{i}', f'sb.{name}.{i}'
            if i > 0:
                blocks[f'{ours}.body.0'] = f'{theirs}.conv.0'
                blocks[f'{ours}.body.1'] = f'{theirs}.conv.1.depthwise_conv'
                blocks[f'{ours}.body.2'] = f'{theirs}.conv.2'
            else:
                blocks[f'{ours}.body.0'] = f'{theirs}.branch_1.0'
                blocks[f'{ours}.body.1'] = f'{theirs}.branch_1.1.depthwise_conv'
                blocks[f'{ours}.body.2'] = f'{theirs}.branch_1.2.depthwise_conv'
                blocks[f'{ours}.body.3'] = f'{theirs}.branch_1.3'
                blocks[f'{ours}.shortcut.0'] = f'{theirs}.branch_2.0.depthwise_conv'
                blocks[f'{ours}.shortcut.1'] = f'{theirs}.branch_2.1'
    for i in range(4):
        blocks[f'boosters.{i}.0'] = f'aux_head{i + 1}.conv_3x3.0'
        names[f'boosters.{i}.1'] = f'aux_head{i + 1}.conv_1x1'
    return names | _pairs(blocks, '_conv', '_batch_norm')


def _place(
    tensors: Mapping[str, Tensor], variant: str, names: Names, renamed: Mapping[str, str]
) -> tuple[dict[str, Any], Names]:
    """
    Return the architecture for a project's tensors, and the source of each tensor of our network.

    :param names: the project's name of each of our layers.
    :param renamed: the project's names of a layer's tensors where they differ from PyTorch's.
    :raises UnsupportedError: the head's or the first layer's kernel is missing, or the first layer
        has another width than published.
    """
    classifier, stem = f'{names["head.1"]}.weight', f'{names["semantic.0.conv.0"]}.weight'
    for name in (classifier, stem):
        if name not in tensors or tensors[name].ndim != 4:
            found = tuple(tensors[name].shape) if name in tensors else 'none'
            raise UnsupportedError(
                f'expected the kernel of a convolution named {name}; found {found}. Older '
                'releases of the project, whose heads differ, are not supported'
            )
    if len(tensors[stem]) != STEM_WIDTH:
        raise UnsupportedError(
            f'expected a semantic branch of the published widths, which starts with {STEM_WIDTH} '
            f'channels; found {len(tensors[stem])} in {stem}'
        )
    num_classes, head_width = tensors[classifier].shape[:2]
    architecture = {
        'name': 'bisenetv2',
        'variant': variant,
        'num_classes': num_classes,
        'head_width': head_width,
    }
    with torch.device('meta'):
        ours = [name.rpartition('.') for name in build_model(architecture).state_dict()]
    sources = {
        f'{layer}.{kind}': f'{names[layer]}.{renamed.get(kind, kind)}'
        for layer, _, kind in ours
        if kind != COUNTER
    }
    return architecture, sources


def _convert_coincheung(tensors: Mapping[str, Tensor]) -> Conversion:
    architecture, sources = _place(tensors, 'coincheung', _coincheung_names(), {})
    data = COINCHEUNG_DATA.get(architecture['num_classes'], COINCHEUNG_OWN_DATA)
    return Conversion(architecture, sources, {}, *data)


def _convert_mmsegmentation(tensors: Mapping[str, Tensor]) -> Conversion:
    architecture, sources = _place(tensors, 'mmsegmentation', _mmsegmentation_names(), {})
    return Conversion(architecture, sources, {}, Preprocessing(), CITYSCAPES_SIZE)


def _convert_paddleseg(tensors: Mapping[str, Tensor]) -> Conversion:
    renamed = {'running_mean': '_mean', 'running_var': '_variance'}
    architecture, sources = _place(tensors, 'paddleseg', _paddleseg_names(), renamed)
    half = (0.5, 0.5, 0.5)
    return Conversion(architecture, sources, {}, _of_fractions(half, half), CITYSCAPES_SIZE)


IMPORTERS = (
    Importer(
        'coincheung',
        'BiSeNetV2',
        'https://github.com/CoinCheung/BiSeNet',
        ('detail.S1.0.conv.weight', 'segment.S1S2.conv.conv.weight', 'bga.left1.0.weight'),
        'its releases since July 2021',
        _convert_coincheung,
    ),
    Importer(
        'mmsegmentation',
        'BiSeNetV2',
        'https://github.com/open-mmlab/mmsegmentation',
        ('backbone.detail.detail_branch.0.0.conv.weight', 'decode_head.conv_seg.weight'),
        'the published widths, with any width of the FCN head',
        _convert_mmsegmentation,
    ),
    Importer(
        'paddleseg',
        'BiSeNetV2',
        'https://github.com/PaddlePaddle/PaddleSeg',
        ('db.convs.0._conv.weight', 'sb.stem.conv._conv.weight'),
        'lambd 0.25',
        _convert_paddleseg,
    ),
)
