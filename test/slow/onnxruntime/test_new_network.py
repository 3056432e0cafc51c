# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The network of doc/new_network.md in ONNX Runtime, and as ONNX for any size."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path

from new_network_page import check_engine, make_checkpoint, registered
import pytest

from seg_ros.__main__ import main
from seg_ros.inference.backends.onnxruntime_engine import OnnxRuntimeEngine
from seg_ros.inference.checkpoint import Checkpoint, save_checkpoint

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module', autouse=True)
def network_of_the_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with registered(tmp_path_factory.mktemp('models')):
        yield


@pytest.fixture(scope='module')
def checkpoint() -> Checkpoint:
    return make_checkpoint()


def test_every_engine_runs_it(checkpoint: Checkpoint) -> None:
    check_engine(checkpoint, OnnxRuntimeEngine)


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
