# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Initial weights: every tensor gets to its place, and unsuitable files are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import pickle
from tempfile import TemporaryDirectory

from published_resnets import belongs, check_places, check_results, copies, norm, resnet
import pytest
from safetensors.torch import save_file
import torch
from torch import Tensor

from seg_ros.images.labels import LabelSet
from seg_ros.inference.checkpoint import Checkpoint, save_checkpoint
from seg_ros.models import build_model, SegmentationNetwork
from seg_ros.training.pretrained import load_pretrained

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that is removed after the test, unlike pytest's, as its files are large."""
    with TemporaryDirectory() as path:
        yield Path(path)


@pytest.mark.parametrize(
    ('name', 'form'),
    [
        ('icnet', 'torchvision'),
        ('pspnet50', 'timm'),
        ('icnet_liminn', 'semseg'),
    ],
)
def test_each_tensor_of_a_resnet_lands_where_it_belongs(
    name: str, form: str, folder: Path
) -> None:
    check_places(name, form, folder / 'resnet.pth')


@pytest.mark.parametrize(
    ('name', 'form'), [('pspnet50', 'semseg'), ('icnet_mmsegmentation', 'mmsegmentation')]
)
def test_a_filled_network_computes_what_the_resnet_does(
    name: str, form: str, folder: Path
) -> None:
    check_results(name, form, folder / 'nested.pt')


def test_safetensors_and_deeper_resnets_are_read(folder: Path) -> None:
    tensors = {n: t.float() for n, t in resnet('mmsegmentation').items()}
    # ResNet-101 has more blocks in the third stage.
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
    """Return the error, which must name the file, and check that the network is unchanged."""
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
    # ResNet-18 has two 3x3 convolutions; the second one has the shape of our only one.
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
