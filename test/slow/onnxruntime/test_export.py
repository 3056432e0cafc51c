# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exports of every variant, exit and precision, checked in both runtimes."""

from __future__ import annotations

import json
from pathlib import Path

from export_fixtures import (
    by_onnxruntime,
    by_openvino,
    by_torch,
    check_bin_means,
    check_command,
    check_onnx,
    check_pt2,
    check_pt2_command,
    checkpoint_of,
    frames,
    run,
    sabotaged,
    SIZE,
    SPECS,
)
import numpy as np
import pytest
import torch

from seg_ros.inference import export
from seg_ros.inference.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from seg_ros.inference.export import export_onnx, export_program, Portable
from seg_ros.interop import parity

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')
pytest.importorskip('openvino')

pytestmark = pytest.mark.usefixtures('one_thread')

BOTH = [by_onnxruntime, by_openvino]


@pytest.fixture(scope='module')
def small() -> Checkpoint:
    return checkpoint_of('bisenetv2')


@pytest.fixture(scope='module')
def file(small: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'small.safetensors'
    save_checkpoint(path, small)
    return path


@pytest.mark.parametrize('bins', [1, 2, 3, 6])
def test_bin_means_are_adaptive_average_pooling(bins: int) -> None:
    check_bin_means(bins)


@pytest.mark.parametrize('name', SPECS)
def test_an_onnx_file_computes_what_pytorch_does(name: str) -> None:
    checkpoint = checkpoint_of(name)
    check_onnx(checkpoint, export_onnx(checkpoint), BOTH)


@pytest.mark.parametrize('name', ['icnet', 'pspnet50', 'paddleseg', 'icnet_mmsegmentation'])
def test_a_pt2_file_computes_what_pytorch_does(name: str) -> None:
    checkpoint = checkpoint_of(name)
    check_pt2(checkpoint, export_program(checkpoint, 'logits'))


@pytest.mark.parametrize('model', ['bisenetv2_camvid', 'icnet_camvid'])
@pytest.mark.parametrize('precision', ['fp32', 'int8'])
def test_shipped_networks(model: str, precision: str) -> None:
    checkpoint = load_checkpoint(find_checkpoint(model))
    content = export_onnx(checkpoint, 'labels', precision)
    runs = {runtime.__name__: runtime(content) for runtime in BOTH}
    network = Portable(checkpoint, 'labels', precision)
    for size in [(96, 128), (121, 163), (150, 97)]:
        pixels = frames(size)[0]
        with torch.inference_mode():
            expected = network(torch.from_numpy(pixels)).numpy()
            trained = by_torch(checkpoint, pixels).argmax(1).numpy()
        for runtime, compute in runs.items():
            (found,) = compute(pixels)
            same = (found == expected).mean()
            assert same >= parity.SAME_LABELS[precision], f'{runtime} at {size}'
            assert (found == trained).mean() > {'fp32': 0.999, 'int8': 0.97}[precision]


def test_half_precision_is_stored_as_such(small: Checkpoint) -> None:
    content = export_onnx(small, 'logits', 'fp16')
    constants = onnx.load_from_string(content).graph.initializer
    weights = [t for t in constants if len(t.dims) == 4 and t.dims[0] > 1]
    assert {t.data_type for t in weights} == {onnx.TensorProto.FLOAT16}
    pixels = frames(SIZE)[0]
    expected = by_torch(small, pixels)
    for runtime in BOTH:
        (logits,) = runtime(content)(pixels)
        assert np.linalg.norm(logits - expected.numpy()) < 0.01 * expected.norm()


def test_symmetric_int8_has_zero_points_of_zero(tmp_path: Path) -> None:
    out = tmp_path / 'net.onnx'
    options = ('--precision', 'int8', '--symmetric', '--json', tmp_path / 'r.json')
    assert run('bisenetv2_camvid', '--out', out, *options) == 0
    graph = onnx.load(out).graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    zeros = [constants[n.input[2]] for n in graph.node if n.op_type == 'QuantizeLinear']
    assert len(zeros) > 50
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    assert list(json.loads((tmp_path / 'r.json').read_text())['parity']) == ['onnxruntime']


@pytest.mark.parametrize('opset', [18, 20])
def test_the_opset_asked_for(small: Checkpoint, opset: int) -> None:
    content = export_onnx(small, opset=opset)
    assert onnx.load_from_string(content).opset_import[0].version == opset
    pixels = frames(SIZE)[0]
    expected = by_torch(small, pixels).argmax(1).numpy()
    for runtime in BOTH:
        assert (runtime(content)(pixels)[0] == expected).mean() >= 0.999


def test_the_command_writes_what_it_says(file: Path, tmp_path: Path) -> None:
    check_command(file, tmp_path, {'onnxruntime', 'openvino'})


def test_a_pt2_file_says_the_same(file: Path, tmp_path: Path) -> None:
    check_pt2_command(file, tmp_path)


def test_a_file_that_computes_something_else_is_not_written(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    right = export.export_onnx
    monkeypatch.setattr(export, 'export_onnx', lambda *a, **k: sabotaged(right(*a, **k)))
    report = tmp_path / 'r.json'
    assert run(file, '--out', tmp_path / 'net.onnx', '--json', report) == 1
    error = capsys.readouterr().err
    assert 'onnxruntime at 96x64' in error and 'openvino at 96x64' in error
    assert '% of the labels are the same' in error
    assert list(tmp_path.iterdir()) == [report]
    result = json.loads(report.read_text())
    assert result['path'] is None
    assert min(row['same_labels'] for row in result['parity']['onnxruntime']) < 0.999


def test_a_runtime_that_cannot_run_the_file_refuses_it(small: Checkpoint) -> None:
    makers = parity.runtimes('.onnx', False)
    found = parity.compare(b'no network', makers, small, 'labels', 'fp32', False, frames(SIZE))
    wrong = parity.mismatches(found, 'fp32')
    assert [line.split()[0] for line in wrong] == ['onnxruntime', 'openvino']
