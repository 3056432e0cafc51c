# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`evaluate` in several processes."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest
from small_evaluations import evaluate, floats, pictures, result_of, write_data, write_network

from seg_ros.images.labels import CITYSCAPES


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp('cityscapes'))


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp('weights') / 'random.safetensors', CITYSCAPES)


@pytest.fixture(scope='module')
def evaluated(root: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluate(root, model, tmp_path_factory.mktemp('evaluated'))


def test_two_processes_find_what_one_does(root, model, evaluated, tmp_path) -> None:
    files = ['--json', 'result.json', '--report', 'report.html', '--submission', 'submission']
    command = ['--dataset', 'cityscapes', '--root', root, '--model', model, *files]
    project = str(Path(__file__).parents[2])
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
         '-m', 'seg_ros', 'evaluate', *map(str, command), '--device', 'cpu',
         '--precision', 'fp32'],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': project, 'OMP_NUM_THREADS': '1'},
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('mIoU') == 1
    found, expected = result_of(tmp_path), result_of(evaluated)
    assert found['confusion_matrix'] == expected['confusion_matrix']
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, dict):
            assert found[name].keys() == value.keys()
            np.testing.assert_allclose(floats(found[name]), floats(value), rtol=1e-12)
        elif isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=1e-12), name
        else:
            assert found[name] == value, name
    for path in (evaluated / 'submission').iterdir():
        assert (tmp_path / 'submission' / path.name).read_bytes() == path.read_bytes()
    assert pictures(tmp_path / 'report.html') == pictures(evaluated / 'report.html')
