# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Export as ONNX: one small network, exported once and checked by ONNX Runtime alone."""

from __future__ import annotations

import json
from pathlib import Path

from export_fixtures import (
    by_onnxruntime,
    check_command,
    check_onnx,
    checkpoint_of,
    frames,
    run,
    sabotaged,
    SIZE,
)
import pytest

from seg_ros.inference import export
from seg_ros.inference.checkpoint import Checkpoint, save_checkpoint
from seg_ros.inference.export import export_onnx, with_metadata
from seg_ros.interop import parity

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def small() -> Checkpoint:
    return checkpoint_of('bisenetv2')


@pytest.fixture(scope='module')
def file(small: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'small.safetensors'
    save_checkpoint(path, small)
    return path


@pytest.fixture(scope='module')
def exported(small: Checkpoint) -> bytes:
    return export_onnx(small)


@pytest.fixture
def command(exported: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command use the file that is exported already, and find no OpenVINO."""
    monkeypatch.setattr(export, 'export_onnx', lambda *_, **__: exported)
    monkeypatch.setattr(parity, 'find_spec', lambda name: name == 'onnxruntime')


def test_an_onnx_file_computes_what_pytorch_does(small: Checkpoint, exported: bytes) -> None:
    check_onnx(small, exported, [by_onnxruntime])


def test_the_graph_keeps_to_what_tensorrt_takes(exported: bytes) -> None:
    model = onnx.load_from_string(exported)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [('', 17)]
    (pixels,), (labels,) = model.graph.input, model.graph.output
    for value in (pixels, labels):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    # The input's 8-bit integers become floats first; the output's are made from floats last.
    readers = [n for n in model.graph.node if 'pixels' in n.input and n.op_type != 'Shape']
    assert [n.op_type for n in readers] == ['Cast']
    assert readers[0].attribute[0].i == onnx.TensorProto.FLOAT
    (last,) = (n for n in model.graph.node if 'labels' in n.output)
    (before,) = (n for n in model.graph.node if last.input[0] in n.output)
    assert last.op_type == before.op_type == 'Cast'
    assert before.attribute[0].i == onnx.TensorProto.FLOAT
    for node in model.graph.node:
        assert not node.domain, f'{node.op_type} is not of ONNX itself'
        if node.op_type == 'Resize':
            assert not any(a.name == 'antialias' and a.i for a in node.attribute)


def test_the_command_writes_what_it_says(command: None, file: Path, tmp_path: Path) -> None:
    check_command(file, tmp_path, {'onnxruntime'})


def test_a_file_that_computes_something_else_is_not_written(
    command: None,
    exported: bytes,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(export, 'export_onnx', lambda *_, **__: sabotaged(exported))
    report = tmp_path / 'r.json'
    assert run(file, '--out', tmp_path / 'net.onnx', '--json', report) == 1
    error = capsys.readouterr().err
    assert 'onnxruntime at 96x64' in error
    assert '% of the labels are the same' in error
    assert list(tmp_path.iterdir()) == [report]
    result = json.loads(report.read_text())
    assert result['path'] is None
    assert min(row['same_labels'] for row in result['parity']['onnxruntime']) < 0.999


def test_a_runtime_that_cannot_run_the_file_refuses_it(command: None, small: Checkpoint) -> None:
    makers = parity.runtimes('.onnx', False)
    found = parity.compare(b'no network', makers, small, 'labels', 'fp32', False, frames(SIZE))
    wrong = parity.mismatches(found, 'fp32')
    assert [line.split()[0] for line in wrong] == ['onnxruntime']


def test_facts_do_not_change_what_is_computed(exported: bytes) -> None:
    changed = with_metadata(exported, '.onnx', {'a': 'text', 'b': [1, 2]})
    props = {p.key: p.value for p in onnx.load_from_string(changed).metadata_props}
    assert props == {'a': 'text', 'b': '[1, 2]'}
    assert onnx.load_from_string(changed).graph == onnx.load_from_string(exported).graph
