# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The network of doc/new_network.md, taken from there, keeps to all that the page promises."""

from __future__ import annotations

from collections.abc import Iterator
import importlib.util
from io import BytesIO
import json
from pathlib import Path
import re
import sys
from typing import Any

from dataset_layouts import write_folder
import numpy as np
import pytest
import reference_networks as reference
import test_networks as contract
import torch
from torch import nn, Tensor
import yaml

from seg_ros import models
from seg_ros.__main__ import main
from seg_ros.datasets.catalog import open_dataset
from seg_ros.inference.backends.onnxruntime_engine import OnnxRuntimeEngine
from seg_ros.inference.backends.openvino_engine import OpenVinoEngine
from seg_ros.inference.backends.torch_engine import TorchEngine
from seg_ros.inference.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.export import export_program
from seg_ros.inference.labels import LabelSet
from seg_ros.inference.segmenter import Segmenter
from seg_ros.models import build_model
from seg_ros.models.cascade import EXITS
from seg_ros.training.compression import prune

pytestmark = pytest.mark.usefixtures('one_thread')

PAGE = (Path(__file__).parents[2] / 'doc' / 'new_network.md').read_text()
FILE, ENTRY = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
NAME = 'icnet_vgg16'
SPEC = {'name': NAME, 'num_classes': 17, 'width': 0.0625}
SIZE = (65, 97)


@pytest.fixture(scope='module', autouse=True)
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Do what the page says: the file among the networks, the entry in their list."""
    path = tmp_path_factory.mktemp('models') / f'{NAME}.py'
    path.write_text(FILE)
    spec = importlib.util.spec_from_file_location(f'{models.__name__}.{NAME}', path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        entry = eval(f'{{{ENTRY}}}', vars(module))  # our own page
        for name, network in entry.items():
            patch.setitem(models.NETWORKS, name, network)
        case = contract.Case({'name': NAME, 'width': 0.25}, None, {}, (16, 8))
        patch.setitem(contract.CASES, NAME, case)
        yield


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp('data'), classes=17)


@pytest.fixture(scope='module')
def checkpoint() -> Checkpoint:
    """Build a small one whose batch norms have seen images."""
    torch.manual_seed(1)
    network = build_model(SPEC)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train().forward_train(torch.randn(2, 3, 192, 256) + torch.randn(2, 3, 1, 1))
    names = tuple(f'class {i}' for i in range(17))
    labels = LabelSet(names, tuple((i, 2 * i, 3 * i) for i in range(17)))
    return Checkpoint(network.eval(), SPEC, labels, SIZE)


def noise(size: tuple[int, int] = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8, generator=generator)


def test_the_page_holds_one_file_and_one_entry() -> None:
    assert len(FILE.splitlines()) <= 120 and len(ENTRY.splitlines()) == 1
    assert set(models.NETWORKS) > {NAME, 'icnet', 'bisenetv2'}


def test_it_has_the_layers_of_vgg16() -> None:
    """Thirteen 3x3 convolutions of VGG16's widths, and a 2x2 pooling after each early block."""
    network = build_model({'name': NAME, 'num_classes': 17})
    layers = [*network.trunk.modules(), *network.deep.modules()]
    widths = [m.out_channels for m in layers if isinstance(m, nn.Conv2d)]
    assert widths == [64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    pools = [m for m in layers if isinstance(m, nn.MaxPool2d)]
    assert [(p.kernel_size, p.stride) for p in pools] == [(2, 2)] * 3


@pytest.mark.parametrize('size', [(360, 480), (212, 87), (33, 47), (1, 1)], ids=str)
def test_any_size_of_image(size: tuple[int, int]) -> None:
    network = contract.on_meta(NAME, 17)
    for batch in (1, 2):
        images = torch.empty(batch, 3, *size, device='meta')
        assert network(images).shape == (batch, 17, *size)
        main_logits, auxiliary = network.forward_train(images)
        found = [tuple(logits.shape[2:]) for logits in (main_logits, *auxiliary)]
        assert found == [reference.fraction(images, stride) for stride in (4, 16, 8)]
    assert len(network.auxiliary_weights) == 2


def test_every_parameter_learns() -> None:
    contract.test_every_parameter_learns(NAME)


@pytest.mark.parametrize('last', EXITS)
def test_the_exits_are_those_that_were_trained(checkpoint: Checkpoint, last: str) -> None:
    network = checkpoint.network.ending(last)
    images = torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        main_logits, (sub4, sub24) = network.forward_train(images)
        expected = {'sub4': sub4, 'sub24': sub24, 'sub124': main_logits}[last]
        torch.testing.assert_close(network.coarse_logits(images), expected)
        whole = network.upsample(expected, SIZE)
        torch.testing.assert_close(network(images), whole)


@pytest.mark.parametrize('last', EXITS)
def test_deployed_it_computes_the_same_without_its_batch_norms(
    checkpoint: Checkpoint, last: str
) -> None:
    network = checkpoint.network.ending(last)
    short = Checkpoint(network, checkpoint.architecture, checkpoint.labels, SIZE)
    deployed = Deployed(short)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in deployed.modules())
    pixels = noise()
    images = checkpoint.preprocessing.normalise(pixels.permute(0, 3, 1, 2).float())
    with torch.inference_mode():
        expected = network.coarse_logits(images)
        assert (deployed(pixels) - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize('engine', [TorchEngine, OpenVinoEngine, OnnxRuntimeEngine])
def test_every_engine_runs_it(checkpoint: Checkpoint, engine: Any) -> None:
    if not engine.installed():
        pytest.skip(f'not all of {", ".join(engine.packages)} are installed')
    pixels = noise()
    with torch.inference_mode():
        expected = Deployed(checkpoint)(pixels)
        found = engine(checkpoint, SIZE, 'cpu', 'fp32', lambda line: None).logits(pixels)
    assert (found - expected).norm() < 1e-3 * expected.norm()


@pytest.mark.skipif(
    not OnnxRuntimeEngine.installed(),
    reason=f'not all of {", ".join(OnnxRuntimeEngine.packages)} are installed',
)
def test_it_is_exported_for_any_size(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / 'net.safetensors', checkpoint)
    arguments = ['export', str(tmp_path / 'net.safetensors'), '--output', 'logits']
    arguments += ['--out', str(tmp_path / 'net.onnx'), '--json', str(tmp_path / 'r.json')]
    assert main(arguments) == 0
    result = json.loads((tmp_path / 'r.json').read_text())
    assert len(result['sizes']) >= 3
    for rows in result['parity'].values():
        assert all(row['same_labels'] >= 0.999 for row in rows)


def test_pytorch_exports_it_for_any_size(checkpoint: Checkpoint) -> None:
    program = torch.export.load(BytesIO(export_program(checkpoint, 'logits'))).module()
    for size in (SIZE, (64, 128), (77, 66)):
        pixels = noise(size)
        images = checkpoint.preprocessing.normalise(pixels.permute(0, 3, 1, 2).float())
        with torch.inference_mode():
            expected = checkpoint.network(images)
            assert (program(pixels) - expected).norm() < 1e-4 * expected.norm()


def test_it_is_pruned_along_its_own_graph(checkpoint: Checkpoint) -> None:
    smaller = prune(checkpoint, {**SPEC, 'width': SPEC['width'] / 2})
    assert smaller.network.trunk[0][0][0].out_channels == 2
    pixels = noise()
    with torch.inference_mode():
        assert Deployed(smaller)(pixels).shape == Deployed(checkpoint)(pixels).shape


def test_it_trains_and_runs(data: Path, tmp_path: Path) -> None:
    """By the commands of the page, on a folder of 17 classes, until it has learnt something."""
    network = {key: value for key, value in SPEC.items() if key != 'num_classes'}
    recipe = {
        'network': network,
        'dataset': 'folder',
        'crop': [65, 97],
        'scale': [1.0, 1.0],
        'jitter': 0,
        'batch': 2,
        'epochs': 20,
        'learning_rate': 3e-3,
        'precision': 'fp32',
        'validate_every': 20,
    }
    path, out = tmp_path / 'recipe.yaml', tmp_path / 'runs'
    path.write_text(yaml.safe_dump(recipe))
    arguments = ['--config', str(path), '--root', str(data), '--out', str(out), '--device', 'cpu']
    assert main(['train', *arguments]) == 0
    best = out / 'best.safetensors'
    found = load_checkpoint(best)
    assert found.architecture == {**network, 'num_classes': 17}
    assert found.labels.names[0] == 'class 1' and len(found.labels) == 17
    report = tmp_path / 'r.json'
    where = ['--dataset', 'folder', '--root', str(data), '--json', str(report)]
    options = ['--device', 'cpu', '--backend', 'torch', '--precision', 'fp32']
    scores = {}
    for split in ('train', 'val'):
        assert main(['evaluate', '--model', str(best), '--split', split, *where, *options]) == 0
        scores[split] = json.loads(report.read_text())
    assert scores['train']['images'] == 4 and len(scores['val']['iou']) == 17
    assert scores['train']['pixel_accuracy'] > 2 / 17, 'it has learnt nothing'
    image = open_dataset('folder', data, 'val')[0][0]
    segmenter = Segmenter(best, device='cpu', backend='torch', precision='fp32')
    labels = segmenter.predict(image).labels
    assert labels.shape == image.shape[:2] and labels.dtype == np.uint8
    assert set(np.unique(labels)) <= set(range(17))
