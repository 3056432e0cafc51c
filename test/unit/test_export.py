# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Networks as files for other programs: what is in them, and that nothing wrong is written."""

from __future__ import annotations

from io import BytesIO
import json
from pathlib import Path
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn, Tensor

from seg_ros.__main__ import main
from seg_ros.datasets.sample_drive import SampleDrive
from seg_ros.inference import parity
from seg_ros.inference.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from seg_ros.inference.export import export_onnx, export_program, FACTS, Portable, with_facts
from seg_ros.inference.labels import LabelSet
from seg_ros.inference.preprocessing import Preprocessing
from seg_ros.models import build_model
from seg_ros.models.layers import bin_means

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')
openvino = pytest.importorskip('openvino')

pytestmark = pytest.mark.usefixtures('one_thread')

LABELS = LabelSet(
    ('road', 'car', 'sky'), ((10, 20, 30), (200, 0, 0), (0, 0, 255))
)  # fmt: skip
SIZE = (64, 96)
SIZES = [SIZE, (65, 99), (90, 67), (71, 64)]
SMALL = {'name': 'bisenetv2', 'head_width': 8, 'booster_width': 8, 'alpha': 0.25}
SPECS = {
    'bisenetv2': SMALL,
    'icnet': {'name': 'icnet', 'width': 0.25},
    'icnet_sub24': {'name': 'icnet', 'width': 0.25, 'exit': 'sub24'},
    'icnet_sub4': {'name': 'icnet', 'width': 0.25, 'exit': 'sub4'},
    'pspnet50': {'name': 'pspnet50', 'width': 0.125},
    'coincheung': {**SMALL, 'variant': 'coincheung'},
    'paddleseg': {**SMALL, 'variant': 'paddleseg'},
    'icnet_mmsegmentation': {'name': 'icnet_mmsegmentation', 'depth': 18},
}


def checkpoint_of(name: str) -> Checkpoint:
    """Build a network whose batch norms have seen images, so that its labels differ."""
    torch.manual_seed(1)
    spec = {**SPECS[name], 'num_classes': len(LABELS)}
    network = build_model(spec)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    order = Preprocessing((100.0, 110.0, 120.0), (60.0, 61.0, 62.0), 'bgr')
    with torch.no_grad():
        # Large enough that the deepest map has a variance that says something.
        pixels = torch.from_numpy(np.concatenate(frames((160, 224), 3))).permute(0, 3, 1, 2)
        network.train().forward_train(order.normalise(pixels.float()))
    return Checkpoint(network.eval(), spec, LABELS, SIZE, order)


def frames(size: tuple[int, int], count: int = 1) -> list[np.ndarray]:
    drive = SampleDrive(seed=4, frames=60, size=(size[1], size[0]))
    return [drive[20 * i][0][None] for i in range(count)]


def by_torch(checkpoint: Checkpoint, pixels: np.ndarray) -> Tensor:
    """Return the logits of the network as it was trained."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        return checkpoint.network(checkpoint.preprocessing.normalise(images))


def runs(content: bytes) -> dict[str, Any]:
    """Return what runs an ONNX file, made with the runtimes' own interfaces alone."""
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    core = openvino.Core()
    precise = {'INFERENCE_PRECISION_HINT': 'f32'}
    compiled = core.compile_model(core.read_model(content), 'CPU', precise)
    return {
        'onnxruntime': lambda pixels: session.run(None, {'pixels': pixels}),
        'openvino': lambda pixels: [compiled({'pixels': pixels})[o] for o in compiled.outputs],
    }


def tapped(content: bytes) -> bytes:
    """Let a file that computes labels give the logits behind them, too."""
    model = onnx.load_from_string(content)
    (largest,) = (node for node in model.graph.node if node.op_type == 'ArgMax')
    logits = onnx.helper.make_tensor_value_info(
        largest.input[0], onnx.TensorProto.FLOAT, ['batch', len(LABELS), 'height', 'width']
    )
    model.graph.output.append(logits)
    return model.SerializeToString()


def run(*arguments: object) -> int:
    return main(['export', *map(str, arguments)])


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


# The pooling


@pytest.mark.parametrize('bins', [1, 2, 3, 6])
def test_bin_means_are_adaptive_average_pooling(bins: int) -> None:
    """To the bit where the size is known, and to rounding where it is not."""

    class Means(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return bin_means(x, bins)

    sides = {0: torch.export.Dim('n'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    program = torch.export.export(
        Means(), (torch.zeros(2, 3, 40, 50),), dynamic_shapes=(sides,), strict=False
    )
    for size in [(1, 1), (5, 7), (6, 12), (13, 31), (33, 2)]:
        x = torch.randn(2, 3, *size)
        expected = nn.functional.adaptive_avg_pool2d(x, bins)
        assert torch.equal(bin_means(x, bins), expected)
        torch.testing.assert_close(program.module()(x), expected, rtol=1e-5, atol=1e-6)


# What the files compute


@pytest.mark.parametrize('name', SPECS)
def test_an_onnx_file_computes_what_pytorch_does(name: str) -> None:
    """At even, odd and tall sizes, one image or two, by runtimes that know nothing of us."""
    checkpoint = checkpoint_of(name)
    seen = set()
    for runtime, compute in runs(tapped(export_onnx(checkpoint))).items():
        for size in SIZES:
            pixels = np.concatenate(frames(size, 2 if size[0] % 2 else 1))
            expected = by_torch(checkpoint, pixels)
            labels, logits = compute(pixels)
            assert logits.dtype == np.float32 and logits.shape == expected.shape
            error = np.linalg.norm(logits - expected.numpy()) / expected.norm()
            assert error < 1e-3, f'{runtime} at {size}'
            ids = expected.argmax(1).numpy()
            seen |= set(np.unique(ids))
            assert labels.dtype == np.uint8 and labels.shape == ids.shape
            assert (labels == ids).mean() >= 0.999, f'{runtime} at {size}'
    assert len(seen) > 1, 'a network that says the same everywhere proves little'


@pytest.mark.parametrize('name', ['icnet', 'pspnet50', 'paddleseg', 'icnet_mmsegmentation'])
def test_a_pt2_file_computes_what_pytorch_does(name: str) -> None:
    checkpoint = checkpoint_of(name)
    program = torch.export.load(BytesIO(export_program(checkpoint, 'logits')))
    for size in SIZES:
        pixels = frames(size)[0]
        expected = by_torch(checkpoint, pixels)
        found = program.module()(torch.from_numpy(pixels))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('model', ['bisenetv2_camvid', 'icnet_camvid'])
@pytest.mark.parametrize('precision', ['fp32', 'int8'])
def test_shipped_networks(model: str, precision: str) -> None:
    checkpoint = load_checkpoint(find_checkpoint(model))
    labels = runs(export_onnx(checkpoint, 'labels', precision))
    network = Portable(checkpoint, 'labels', precision)
    for size in [(96, 128), (121, 163), (150, 97)]:
        pixels = frames(size)[0]
        with torch.inference_mode():
            expected = network(torch.from_numpy(pixels)).numpy()
            trained = by_torch(checkpoint, pixels).argmax(1).numpy()
        for runtime, compute in labels.items():
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
    for compute in runs(content).values():
        (logits,) = compute(pixels)
        assert np.linalg.norm(logits - expected.numpy()) < 0.01 * expected.norm()


# What TensorRT asks for


def test_the_graph_keeps_to_what_tensorrt_takes(exported: bytes) -> None:
    model = onnx.load_from_string(exported)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [('', 17)]
    (pixels,), (labels,) = model.graph.input, model.graph.output
    for value in (pixels, labels):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    # 8-bit integers become floats at once, and come from floats at the very end.
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
    for compute in runs(content).values():
        assert (compute(pixels)[0] == expected).mean() >= 0.999


# What the files say


def test_the_command_writes_what_it_says(small: Checkpoint, file: Path, tmp_path: Path) -> None:
    out, report = tmp_path / 'new' / 'net.onnx', tmp_path / 'r.json'
    assert run(file, '--out', out, '--json', report) == 0
    result = json.loads(report.read_text())
    assert result['path'] == str(out) and result['bytes'] == out.stat().st_size
    assert result['opset'] == 17 and list(result['outputs']) == ['labels']
    assert set(result['parity']) == {'onnxruntime', 'openvino'}
    assert len(result['sizes']) >= 3 and list(SIZE) in result['sizes']
    assert any(h % 2 and w % 2 for h, w in result['sizes'])
    for rows in result['parity'].values():
        assert [row['size'] for row in rows] == result['sizes']
        assert all(row['same_labels'] >= 0.999 for row in rows)
    model = onnx.load(out)
    assert model.producer_name == 'seg_ros'
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts['output'] == 'labels' and facts['precision'] == 'fp32'
    assert json.loads(facts['class_names']) == list(LABELS.names)
    assert json.loads(facts['palette']) == [list(color) for color in LABELS.palette]
    assert json.loads(facts['input_size']) == list(SIZE)
    assert json.loads(facts['preprocessing']) == {
        'inside': True,
        'mean': [100.0, 110.0, 120.0],
        'std': [60.0, 61.0, 62.0],
        'channel_order': 'bgr',
    }
    assert facts['checkpoint_sha256'] == load_checkpoint(file).sha256
    assert json.loads(facts['parity']) == result['parity']
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ['batch', 'height', 'width', 3]
    assert str(Path(__file__).parents[2]).encode() not in out.read_bytes(), (
        'a path of this machine'
    )


def test_a_pt2_file_says_the_same(file: Path, tmp_path: Path) -> None:
    out = tmp_path / 'net.pt2'
    assert run(file, '--out', out, '--output', 'logits', '--json', tmp_path / 'r.json') == 0
    result = json.loads((tmp_path / 'r.json').read_text())
    files = {FACTS: ''}
    program = torch.export.load(out, extra_files=files)
    facts = json.loads(files[FACTS])
    assert facts['class_names'] == list(LABELS.names) and facts['output'] == 'logits'
    assert facts['parity'] == result['parity'] and list(facts['parity']) == ['torch']
    pixels = frames(SIZE)[0]
    expected = by_torch(load_checkpoint(file), pixels)
    torch.testing.assert_close(
        program.module()(torch.from_numpy(pixels)), expected, rtol=1e-3, atol=1e-3
    )


# What is refused


def sabotaged(content: bytes) -> bytes:
    """Turn the sign of the last classifier's weights for one class."""
    model = onnx.load_from_string(content)
    (last,) = (t for t in model.graph.initializer if list(t.dims[2:]) == [1, 1] and t.dims[0] == 3)
    values = onnx.numpy_helper.to_array(last).copy()
    values[0] *= -1
    last.CopyFrom(onnx.numpy_helper.from_array(values, last.name))
    return model.SerializeToString()


def test_a_file_that_computes_something_else_is_not_written(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from seg_ros.inference import export

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


def test_logits_that_are_off_are_named() -> None:
    row = {'size': [10, 20], 'batch': 1, 'same_labels': 1.0}
    assert not parity.mismatches({'a': [{**row, 'logit_error': 1e-4}]}, 'fp32')
    for error in (2e-3, float('nan')):
        (line,) = parity.mismatches({'a': [{**row, 'logit_error': error}]}, 'fp32')
        assert line.startswith('a at 20x10 the logits are off by')


def test_facts_do_not_change_what_is_computed(exported: bytes) -> None:
    changed = with_facts(exported, '.onnx', {'a': 'text', 'b': [1, 2]})
    props = {p.key: p.value for p in onnx.load_from_string(changed).metadata_props}
    assert props == {'a': 'text', 'b': '[1, 2]'}
    assert onnx.load_from_string(changed).graph == onnx.load_from_string(exported).graph


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('{file}', '--out', 'net.tflite'), r'--out: expected .* ending .onnx or .pt2; found net'),
        (('{file}', '--out', '{folder}.onnx'), r'--out: expected a file to write.*; found'),
        (('nothing', '--out', 'net.onnx'), r"expected a shipped network .*; found 'nothing'"),
        (('{file}', '--out', 'net.onnx', '--precision', 'int8'), r'int8: expected .* calibrate'),
        (('{file}', '--out', 'net.onnx', '--opset', '11'), r'expected 17 to 21.*found 11'),
        (('{file}', '--out', 'net.pt2', '--opset', '17'), r'--opset: expected .*ending .onnx'),
        (('{file}', '--out', 'net.onnx', '--symmetric'), r'--symmetric: expected .*int8'),
        (('{file}', '--out', 'net.onnx', '--exit', 'sub4'), r'--exit: expected .*found bisenetv2'),
    ],
)  # fmt: skip
def test_bad_input_says_what_was_expected(
    arguments: tuple[str, ...],
    message: str,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder.onnx').mkdir()
    places = {'file': file, 'folder': tmp_path / 'folder'}
    assert run(*(argument.format(**places) for argument in arguments)) == 2
    error = ' '.join(capsys.readouterr().err.split())
    assert re.search(message, error), error
    assert [path.name for path in tmp_path.iterdir()] == ['folder.onnx']


def test_nothing_to_check_with_is_said(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parity, 'find_spec', lambda name: None)
    assert run(file, '--out', tmp_path / 'net.onnx') == 2
    assert 'found none installed. Install one: pip install onnxruntime' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
