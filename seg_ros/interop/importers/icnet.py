# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Importers of ICNet.

Both projects normalise RGB images with ImageNet's mean and standard deviation, and measure their
mIoU on whole images of Cityscapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from ...inference.preprocessing import Preprocessing
from ...models.resnet import BLOCKS, BOTTLENECKS
from . import class_count, Conversion, Importer, UnsupportedError

NORM = ('weight', 'bias', 'running_mean', 'running_var')
STAGES = ('trunk.4', 'trunk.5', 'deep.0', 'deep.1')
"""The names of a ResNet's four stages in our networks."""

EVALUATED = (1024, 2048)
"""The size (height, width) at which both projects measure their mIoU."""

Unit = tuple[str, str, str]
"""Our name of a pair of convolution and norm, and the file's names of the two."""


def from_mmsegmentation(tensors: Mapping[str, Tensor]) -> Conversion:
    """
    Map the tensors of mmsegmentation's ICNet, including its auxiliary heads, to our network.

    :param tensors: the file's tensors by name.
    :raises UnsupportedError: the backbone is not a ResNet of a known depth.
    """
    resnet = 'backbone.backbone'
    depth = _depth(tensors, resnet)
    units = [
        (f'trunk.{i}', f'{resnet}.stem.{3 * i}', f'{resnet}.stem.{3 * i + 1}') for i in range(3)
    ]
    units += _residual_units(resnet, depth)
    modules = {
        **{f'pools.{i}': f'backbone.psp_modules.{i}.1' for i in range(4)},
        'squeeze.0': 'backbone.psp_bottleneck',
        'squeeze.1': 'backbone.conv_sub4',
        **{f'shallow.{i}': f'backbone.conv_sub1.{i}' for i in range(3)},
        'fusion24.refine': 'neck.cff_24.conv_low',
        'fusion24.project.0': 'backbone.conv_sub2',
        'fusion24.project.1': 'neck.cff_24.conv_high',
        'fusion12.refine': 'neck.cff_12.conv_low',
        'fusion12.project': 'neck.cff_12.conv_high',
    }
    sources: dict[str, str] = {}
    for ours, head in (
        ('head', 'decode_head'),
        ('fusion24.guide', 'auxiliary_head.0'),
        ('fusion12.guide', 'auxiliary_head.1'),
    ):
        modules[f'{ours}.0'] = f'{head}.convs.0'
        sources |= {f'{ours}.1.{part}': f'{head}.conv_seg.{part}' for part in ('weight', 'bias')}
    units += [(ours, f'{module}.conv', f'{module}.bn') for ours, module in modules.items()]
    return Conversion(
        {
            'name': 'icnet_mmsegmentation',
            'num_classes': class_count(tensors, 'decode_head.conv_seg.weight'),
            'depth': depth,
        },
        sources | _tensors_of(units),
        {},
        Preprocessing(),
        EVALUATED,
    )


def from_liminn(tensors: Mapping[str, Tensor]) -> Conversion:
    """
    Map the tensors of liminn/ICNet-pytorch, including its auxiliary classifiers, to our network.

    :param tensors: the file's tensors by name.
    :raises UnsupportedError: the backbone is not a ResNet of a known depth.
    """
    resnet = 'pretrained'
    depth = _depth(tensors, resnet)
    units = [
        ('trunk.0', f'{resnet}.conv1.0', f'{resnet}.conv1.1'),
        ('trunk.1', f'{resnet}.conv1.3', f'{resnet}.conv1.4'),
        ('trunk.2', f'{resnet}.conv1.6', f'{resnet}.bn1'),
    ]
    units += _residual_units(resnet, depth)
    units += [(f'shallow.{i}', f'conv_sub1.{i}.conv', f'conv_sub1.{i}.bn') for i in range(3)]
    sources = {'head.weight': 'head.conv_cls.weight'}
    for ours, fusion in (('fusion24', 'head.cff_24'), ('fusion12', 'head.cff_12')):
        for part, module in (('refine', 'conv_low'), ('project', 'conv_high')):
            units.append((f'{ours}.{part}', f'{fusion}.{module}.0', f'{fusion}.{module}.1'))
        sources[f'{ours}.guide.weight'] = f'{fusion}.conv_low_cls.weight'
    classifier = 'the classifier of ImageNet, which segmentation does not use'
    return Conversion(
        {
            'name': 'icnet_liminn',
            'num_classes': class_count(tensors, 'head.conv_cls.weight'),
            'depth': depth,
        },
        sources | _tensors_of(units),
        {f'{resnet}.fc.{part}': classifier for part in ('weight', 'bias')},
        Preprocessing(),
        EVALUATED,
    )


def _depth(tensors: Mapping[str, Tensor], resnet: str) -> int:
    """
    Return a ResNet's depth, derived from the number of its blocks.

    :param resnet: the name of the module.
    :raises UnsupportedError: no known ResNet has these blocks.
    """
    blocks = []
    for stage in range(1, 5):
        prefix = f'{resnet}.layer{stage}.'
        found = {name[len(prefix) :].split('.')[0] for name in tensors if name.startswith(prefix)}
        blocks.append(len(found))
    wide = f'{resnet}.layer1.0.conv3.weight' in tensors
    for depth, known in BLOCKS.items():
        if list(known) == blocks and wide == (depth >= BOTTLENECKS):
            return depth
    kind = 'three' if wide else 'two'
    raise UnsupportedError(
        f'expected a ResNet of depth {", ".join(map(str, BLOCKS))}; found stages of '
        f'{", ".join(map(str, blocks))} blocks of {kind} convolutions'
    )


def _residual_units(resnet: str, depth: int) -> Iterator[Unit]:
    """Yield all pairs of convolution and norm after a ResNet's stem."""
    convolutions = 3 if depth >= BOTTLENECKS else 2
    for stage, (ours, count) in enumerate(zip(STAGES, BLOCKS[depth]), 1):
        for i in range(count):
            block, source = f'{ours}.{i}', f'{resnet}.layer{stage}.{i}'
            for j in range(convolutions):
                yield f'{block}.body.{j}', f'{source}.conv{j + 1}', f'{source}.bn{j + 1}'
        # The first block of a stage that changes width or stride has a convolution as its
        # shortcut.
        if stage > 1 or depth >= BOTTLENECKS:
            down = f'{resnet}.layer{stage}.0.downsample'
            yield f'{ours}.0.shortcut', f'{down}.0', f'{down}.1'


def _tensors_of(units: Iterable[Unit]) -> dict[str, str]:
    """Return the file's name of each of our tensors in these convolutions and norms."""
    sources = {}
    for ours, conv, norm in units:
        sources[f'{ours}.0.weight'] = f'{conv}.weight'
        sources |= {f'{ours}.1.{part}': f'{norm}.{part}' for part in NORM}
    return sources


IMPORTERS = (
    Importer(
        project='mmsegmentation',
        network='ICNet',
        url='https://github.com/open-mmlab/mmsegmentation',
        mark=('neck.cff_24.conv_low.conv.weight', 'decode_head.conv_seg.weight'),
        variants='ResNetV1c of depth 18, 50 or 101',
        convert=from_mmsegmentation,
    ),
    Importer(
        project='liminn',
        network='ICNet',
        url='https://github.com/liminn/ICNet-pytorch',
        mark=('head.cff_24.conv_low.0.weight', 'head.conv_cls.weight'),
        variants='ResNet of depth 50, 101 or 152',
        convert=from_liminn,
    ),
)
