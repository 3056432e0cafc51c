# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weights to start from: every tensor where it belongs, and what cannot be used is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import pickle
from tempfile import TemporaryDirectory

import pytest
from safetensors.torch import save_file
import torch
from torch import Tensor
from torch.nn import functional as F

from seg_ros.inference.checkpoint import Checkpoint, save_checkpoint
from seg_ros.inference.labels import LabelSet
from seg_ros.models import build_model, SegmentationNetwork
from seg_ros.training.pretrained import load_pretrained

pytestmark = pytest.mark.usefixtures('one_thread')

# The ResNet-50 of arXiv 1512.03385, Table 1: blocks and width of each stage.
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
# The names of the stem's convolutions and norms as others publish them, and their widths.
STEMS: dict[str, list[tuple[str, str, int]]] = {
    'torchvision': [('conv1', 'bn1', 64)],
    'semseg': [('conv1', 'bn1', 64), ('conv2', 'bn2', 64), ('conv3', 'bn3', 128)],
    'mmsegmentation': [
        ('stem.0', 'stem.1', 32),
        ('stem.3', 'stem.4', 32),
        ('stem.6', 'stem.7', 64),
    ],
    'timm': [('conv1.0', 'conv1.1', 32), ('conv1.3', 'conv1.4', 32), ('conv1.6', 'bn1', 64)],
}
# Where our networks keep a stage: its place, how many of its blocks, and the first of them.
PLACES = {
    'icnet': [
        ('trunk.4', 'layer1', 3, 0),
        ('trunk.5', 'layer2', 1, 0),
        ('deep.0', 'layer2', 3, 1),
        ('deep.1', 'layer3', 6, 0),
        ('deep.2', 'layer4', 3, 0),
    ],
    'pspnet50': [
        ('body.4', 'layer1', 3, 0),
        ('body.5', 'layer2', 4, 0),
        ('body.6', 'layer3', 6, 0),
        ('last_stage', 'layer4', 3, 0),
    ],
}
PLACES['icnet_mmsegmentation'] = PLACES['icnet_liminn'] = [
    ('trunk.4', 'layer1', 3, 0),
    ('trunk.5', 'layer2', 4, 0),
    ('deep.0', 'layer3', 6, 0),
    ('deep.1', 'layer4', 3, 0),
]
ROLES = [('reduce', 'conv1', 'bn1'), ('conv', 'conv2', 'bn2'), ('expand', 'conv3', 'bn3')]
# Networks whose stem is 32, 32 and 64 wide; that of the others is 64, 64 and 128.
NARROW = ('icnet', 'icnet_mmsegmentation')
NORM = ('weight', 'bias', 'running_mean', 'running_var')


def convolution(inputs: int, outputs: int, kernel: int) -> Tensor:
    scale = (2 / (inputs * kernel**2)) ** 0.5
    return scale * torch.randn(outputs, inputs, kernel, kernel)


def norm(name: str, width: int) -> dict[str, Tensor]:
    return {
        f'{name}.weight': 0.4 + 0.2 * torch.rand(width),
        f'{name}.bias': 0.1 * torch.randn(width),
        f'{name}.running_mean': 0.1 * torch.randn(width),
        f'{name}.running_var': 0.5 + torch.rand(width),
        f'{name}.num_batches_tracked': torch.tensor(9),
    }


def resnet(form: str) -> dict[str, Tensor]:
    """Return a ResNet-50 of random weights, in half precision, under its published names."""
    torch.manual_seed(1)
    tensors = {}
    width = 3
    for conv, bn, outputs in STEMS[form]:
        kernel = 7 if form == 'torchvision' else 3
        tensors[f'{conv}.weight'] = convolution(width, outputs, kernel)
        tensors.update(norm(bn, outputs))
        width = outputs
    # resnet50d has an average pooling, without weights, before the convolution.
    shift = form == 'timm'
    for stage, (blocks, middle) in enumerate(STAGES, 1):
        for block in range(blocks):
            name = f'layer{stage}.{block}'
            tensors[f'{name}.conv1.weight'] = convolution(width, middle, 1)
            tensors[f'{name}.conv2.weight'] = convolution(middle, middle, 3)
            tensors[f'{name}.conv3.weight'] = convolution(middle, 4 * middle, 1)
            for bn, outputs in (('bn1', middle), ('bn2', middle), ('bn3', 4 * middle)):
                tensors.update(norm(f'{name}.{bn}', outputs))
            if block == 0:
                down = f'{name}.downsample'
                tensors[f'{down}.{0 + shift}.weight'] = convolution(width, 4 * middle, 1)
                tensors.update(norm(f'{down}.{1 + shift}', 4 * middle))
            width = 4 * middle
    tensors['fc.weight'], tensors['fc.bias'] = torch.randn(1000, width), torch.randn(1000)
    return {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder that goes at once, as pytest keeps its own and these files are large."""
    with TemporaryDirectory() as path:
        yield Path(path)


@pytest.fixture(scope='module', params=STEMS)
def published(request: pytest.FixtureRequest) -> tuple[str, dict[str, Tensor]]:
    return request.param, resnet(request.param)


def belongs(network: str, form: str) -> dict[str, str]:
    """Return the published name of each of our tensors that the file has something for."""
    pairs = {}
    trunk = 'body' if network == 'pspnet50' else 'trunk'
    if form == 'semseg' if network not in NARROW else form in ('mmsegmentation', 'timm'):
        for i, (conv, bn, _) in enumerate(STEMS[form]):
            pairs[f'{trunk}.{i}'] = (conv, bn)
    for place, stage, count, first in PLACES[network]:
        for i in range(count):
            source = f'{stage}.{first + i}'
            for j, (role, conv, bn) in enumerate(ROLES):
                role = f'body.{j}' if '_' in network else role
                pairs[f'{place}.{i}.{role}'] = (f'{source}.{conv}', f'{source}.{bn}')
        if first == 0:
            down = (1, 2) if form == 'timm' else (0, 1)
            pairs[f'{place}.0.shortcut'] = tuple(f'{stage}.0.downsample.{i}' for i in down)
    if (network in NARROW) == (form == 'semseg'):
        # The first block has another number of inputs.
        reduce = 'body.0' if '_' in network else 'reduce'
        del pairs[f'{trunk}.4.0.{reduce}'], pairs[f'{trunk}.4.0.shortcut']
    names = {}
    for unit, (conv, bn) in pairs.items():
        names[f'{unit}.0.weight'] = f'{conv}.weight'
        names.update({f'{unit}.1.{tensor}': f'{bn}.{tensor}' for tensor in NORM})
    return names


def copies(network: SegmentationNetwork) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def counted(name: str) -> bool:
    return not name.endswith('num_batches_tracked')


@pytest.mark.parametrize('name', PLACES)
def test_each_tensor_of_a_resnet_lands_where_it_belongs(
    published: tuple[str, dict[str, Tensor]], name: str, folder: Path
) -> None:
    form, tensors = published
    path = folder / 'resnet.pth'
    torch.save(tensors, path)
    torch.manual_seed(2)
    network = build_model({'name': name, 'num_classes': 5})
    before = copies(network)
    image = torch.randn(1, 3, 64, 64)
    network.eval()
    with torch.inference_mode():
        logits = network(image)
    left = load_pretrained(network, path)
    names = belongs(name, form)
    for own, tensor in network.state_dict().items():
        expected = tensors[names[own]].float() if own in names else before[own]
        assert torch.equal(tensor, expected), own
    assert left == [n for n in before if n not in names and counted(n)]
    with torch.inference_mode():
        assert (network(image) - logits).abs().max() > 0.1 * logits.abs().max()


def run_resnet(
    w: dict[str, Tensor], form: str, x: Tensor, in_3x3: bool = False, ceil: bool = False
) -> Tensor:
    """
    Run it at an eighth of the size.

    :param in_3x3: whether a stage's stride is in its first 3x3, and its first block has the
        dilation of the stage before; else it is in the first 1x1.
    :param ceil: whether pooling rounds sizes up.
    """

    def layer(x: Tensor, conv: str, bn: str, stride: int = 1, dilation: int = 1) -> Tensor:
        kernel = w[f'{conv}.weight']
        x = F.conv2d(x, kernel, None, stride, dilation * (kernel.shape[-1] // 2), dilation)
        return F.batch_norm(x, *(w[f'{bn}.{n}'] for n in (*NORM[2:], *NORM[:2])))

    for i, (conv, bn, _) in enumerate(STEMS[form]):
        x = layer(x, conv, bn, 2 if i == 0 else 1).relu()
    x = F.max_pool2d(x, 3, 2, 1, ceil_mode=ceil)
    for stage, ((blocks, _), dilation) in enumerate(zip(STAGES, (1, 1, 2, 4)), 1):
        for block in range(blocks):
            name = f'layer{stage}.{block}'
            stride = 2 if (stage, block) == (2, 0) else 1
            own = {0: 1, 3: 1, 4: 2}.get(stage, 1) if in_3x3 and block == 0 else dilation
            strides = (1, stride) if in_3x3 else (stride, 1)
            y = layer(x, f'{name}.conv1', f'{name}.bn1', strides[0]).relu()
            y = layer(y, f'{name}.conv2', f'{name}.bn2', strides[1], own).relu()
            y = layer(y, f'{name}.conv3', f'{name}.bn3')
            if block == 0:
                x = layer(x, f'{name}.downsample.0', f'{name}.downsample.1', stride)
            x = (x + y).relu()
    return x


@pytest.mark.parametrize(
    ('name', 'form'),
    [
        ('icnet', 'mmsegmentation'),
        ('pspnet50', 'semseg'),
        ('icnet_mmsegmentation', 'mmsegmentation'),
        ('icnet_liminn', 'semseg'),
    ],
)
def test_a_filled_network_computes_what_the_resnet_does(
    name: str, form: str, folder: Path
) -> None:
    tensors = resnet(form)
    # As such files often are: nested, prefixed, with other things beside.
    prefixed = {f'module.backbone.{n}': t for n, t in tensors.items()}
    prefixed['decode_head.conv_seg.weight'] = torch.zeros(19, 512, 1, 1)
    torch.save({'state_dict': prefixed, 'meta': {'epoch': 3}}, folder / 'nested.pt')
    network = build_model({'name': name, 'num_classes': 5}).eval()
    load_pretrained(network, folder / 'nested.pt')
    image = torch.randn(1, 3, 72, 88)
    with torch.inference_mode():
        weights = {n: t.float() for n, t in tensors.items()}
        ceil = name == 'icnet_mmsegmentation'
        expected = run_resnet(weights, form, image, in_3x3='_' in name, ceil=ceil)
        if name == 'pspnet50':
            found = network.last_stage(network.body(image))
        else:
            found = network.deep(network.trunk(image))
    assert found.shape == expected.shape == (1, 2048, *((10, 12) if ceil else (9, 11)))
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_safetensors_and_deeper_resnets_are_read(folder: Path) -> None:
    tensors = {n: t.float() for n, t in resnet('mmsegmentation').items()}
    # As ResNet-101 has them: more blocks in the third stage.
    more = {n.replace('layer3.5', 'layer3.6'): t + 1 for n, t in tensors.items() if 'r3.5' in n}
    assert len(more) == 18
    save_file({**tensors, **more}, folder / 'resnet.safetensors', {'format': 'pt'})
    network = build_model({'name': 'icnet', 'num_classes': 5})
    load_pretrained(network, folder / 'resnet.safetensors')
    own = network.state_dict()
    for ours, theirs in belongs('icnet', 'mmsegmentation').items():
        assert torch.equal(own[ours], tensors[theirs]), ours


# Checkpoints of our own

SMALL = {
    'bisenetv2': {'head_width': 8, 'booster_width': 12, 'alpha': 0.25},
    'icnet': {'width': 0.125},
    'pspnet50': {'width': 0.125},
}
CLASSIFIERS = {
    'bisenetv2': ['head.1', *(f'boosters.{i}.1' for i in range(4))],
    'icnet': ['fusion24.guide', 'fusion12.guide', 'head'],
    'pspnet50': ['head.1', 'auxiliary_head.1'],
}


def checkpoint(path: Path, name: str, classes: int, **changes) -> dict[str, Tensor]:
    """Write a checkpoint of a small random network; return its tensors."""
    spec = {'name': name, 'num_classes': classes, **SMALL[name], **changes}
    torch.manual_seed(4)
    network = build_model(spec)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_((tensor + torch.rand_like(tensor)).half())
    labels = LabelSet(
        tuple(f'c{i}' for i in range(classes)), tuple((i, 0, 0) for i in range(classes))
    )
    save_checkpoint(path, Checkpoint(network, spec, labels, (48, 64)), torch.float16)
    return network.state_dict()


@pytest.mark.parametrize('name', SMALL)
@pytest.mark.parametrize('classes', [11, 4])
def test_a_checkpoint_is_taken_over(name: str, classes: int, tmp_path: Path) -> None:
    path = tmp_path / 'first.safetensors'
    tensors = checkpoint(path, name, 4)
    torch.manual_seed(5)
    network = build_model({'name': name, 'num_classes': classes, **SMALL[name]})
    before = copies(network)
    left = load_pretrained(network, path)
    expected = [f'{layer}.{t}' for layer in CLASSIFIERS[name] for t in ('weight', 'bias')]
    assert sorted(left) == (sorted(expected) if classes == 11 else [])
    for own, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[own] if own in left else tensors[own]), own


@pytest.mark.parametrize(
    ('name', 'changes', 'message'),
    [
        ('icnet', {'width': 0.25}, r"found one of .*'width': 0\.25.*network of the recipe"),
        (
            'bisenetv2',
            {'head_width': 16},
            r'in 6 tensors: head\.0\.0\.weight, \(16, 32, 3, 3\) instead of \(8, 32, 3, 3\)',
        ),
        ('bisenetv2', {'depth': 2}, r'semantic\.1\.2\.'),
        ('pspnet50', {}, r"expected a checkpoint of the network to train \(ICNet\).*'pspnet50'"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_network_is_refused(
    name: str, changes: dict, message: str, tmp_path: Path
) -> None:
    path = tmp_path / 'other.safetensors'
    checkpoint(path, name, 4, **changes)
    wanted = name if changes else 'icnet'
    network = build_model({'name': wanted, 'num_classes': 11, **SMALL[wanted]})
    refused(network, path, message)


# What cannot be used


def refused(network: SegmentationNetwork, path: Path, message: str) -> str:
    """Return the error, which must name the file and leave the network alone."""
    before = copies(network)
    with pytest.raises(ValueError, match=message) as error:
        load_pretrained(network, path)
    text = str(error.value)
    assert text.startswith(f'{path}: ')
    assert 'weights_only' not in text
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    return text


@pytest.fixture(scope='module')
def network() -> SegmentationNetwork:
    return build_model({'name': 'icnet', 'num_classes': 5, 'width': 0.125})


class Trap:
    """Leaves a file behind when a pickle of it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize('write', ['pickle', 'torch', 'torch legacy'])
def test_a_pickle_is_refused_and_not_run(
    network: SegmentationNetwork, tmp_path: Path, write: str
) -> None:
    path, marker = tmp_path / 'resnet.pth', tmp_path / 'marker'
    content = {'conv1.weight': torch.ones(1), 'trap': Trap(marker)}
    if write == 'pickle':
        path.write_bytes(pickle.dumps(Trap(marker), protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=write == 'torch')
    refused(network, path, r'expected tensors alone; found other objects.*state_dict\(\)')
    assert not marker.exists()
    torch.load(path, weights_only=False) if write != 'pickle' else pickle.loads(path.read_bytes())
    assert marker.exists(), 'the trap does not work'


@pytest.mark.parametrize('share', [0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize('suffix', ['pth', 'legacy.pth', 'safetensors'])
def test_a_truncated_file_is_refused(
    network: SegmentationNetwork, tmp_path: Path, suffix: str, share: float
) -> None:
    path = tmp_path / f'resnet.{suffix}'
    tensors = {'layer1.0.conv1.weight': torch.randn(64, 64, 1, 1)}
    if suffix == 'safetensors':
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=suffix == 'pth')
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(network, path, r'(cannot be read|damaged).*[Dd]ownload')


def test_a_truncated_checkpoint_is_refused(network: SegmentationNetwork, tmp_path: Path) -> None:
    path = tmp_path / 'first.safetensors'
    checkpoint(path, 'icnet', 5)
    path.write_bytes(path.read_bytes()[:-100])
    refused(network, path, r'cannot be read.*[Dd]ownload')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([torch.ones(1)], r'tensors by name; found list\. Save'),
        ({'state_dict': torch.ones(1)}, 'tensors by name; found Tensor'),
        ({'epoch': 3}, 'found no tensor'),
        ({'a.weight': torch.ones(2, 3)}, r'ResNet-50 .*\(8, 8, 3, 3\).*found a\.weight \(2, 3\)'),
    ],
    ids=['list', 'tensor', 'numbers', 'other names'],
)
def test_other_content_is_refused(
    network: SegmentationNetwork, tmp_path: Path, content: object, message: str
) -> None:
    torch.save(content, tmp_path / 'other.pth')
    refused(network, tmp_path / 'other.pth', message)


@pytest.mark.parametrize('name', ['missing.pth', 'missing.safetensors', ''])
def test_a_missing_file_is_refused(
    network: SegmentationNetwork, tmp_path: Path, name: str
) -> None:
    refused(network, tmp_path / name, 'expected a file of weights; found none. Check the path')


def test_blocks_of_another_kind_are_refused(tmp_path: Path) -> None:
    # As ResNet-18 has them: 3x3 both, of which the second has the shape of our only one.
    tensors = {
        f'layer1.{block}.conv{i}.weight': torch.ones(64, 64, 3, 3)
        for block in (0, 1)
        for i in (1, 2)
    }
    for block in (0, 1):
        tensors.update(norm(f'layer1.{block}.bn2', 64))
    save_file(tensors, tmp_path / 'resnet18.safetensors')
    network = build_model({'name': 'icnet', 'num_classes': 5})
    text = refused(network, tmp_path / 'resnet18.safetensors', 'of which none fits. Take')
    assert 'layer1.1.conv2.weight (64, 64, 3, 3) for ICNet' in text


def test_bisenetv2_has_no_resnet(tmp_path: Path) -> None:
    save_file({'layer1.0.conv1.weight': torch.ones(64, 64, 1, 1)}, tmp_path / 'r.safetensors')
    network = build_model({'name': 'bisenetv2', 'num_classes': 5, **SMALL['bisenetv2']})
    refused(network, tmp_path / 'r.safetensors', 'BiSeNetV2 has no ResNet.*from scratch')
