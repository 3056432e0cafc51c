# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The network of doc/new_network.md is exported by PyTorch, and trained by the page's commands."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
import json
from pathlib import Path

from dataset_layouts import write_folder
from new_network_page import make_checkpoint, noise, registered, SIZE, SPEC
import numpy as np
import pytest
import torch
import yaml

from seg_ros.__main__ import main
from seg_ros.datasets.catalog import open_dataset
from seg_ros.inference.checkpoint import load_checkpoint
from seg_ros.inference.export import export_program
from seg_ros.inference.segmenter import Segmenter

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module', autouse=True)
def network_of_the_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with registered(tmp_path_factory.mktemp('models')):
        yield


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp('data'), classes=17)


def test_pytorch_exports_it_for_any_size() -> None:
    checkpoint = make_checkpoint()
    program = torch.export.load(BytesIO(export_program(checkpoint, 'logits'))).module()
    for size in (SIZE, (64, 128), (77, 66)):
        pixels = noise(size)
        images = checkpoint.preprocessing.normalise(pixels.permute(0, 3, 1, 2).float())
        with torch.inference_mode():
            expected = checkpoint.network(images)
            assert (program(pixels) - expected).norm() < 1e-4 * expected.norm()


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
