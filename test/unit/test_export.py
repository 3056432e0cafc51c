# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Export: PyTorch's own file, and the arguments that the command refuses."""

from __future__ import annotations

from pathlib import Path
import re

from export_fixtures import (
    check_bin_means,
    check_pt2,
    check_pt2_command,
    checkpoint_of,
    run,
)
import pytest

from seg_ros.inference import export
from seg_ros.inference.checkpoint import Checkpoint, save_checkpoint
from seg_ros.interop import parity

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def small() -> Checkpoint:
    """Return a network of few layers, whose export is fast."""
    return checkpoint_of('bisenetv2', aggregation='detail')


@pytest.fixture(scope='module')
def file(small: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'small.safetensors'
    save_checkpoint(path, small)
    return path


@pytest.fixture(scope='module')
def exported(small: Checkpoint) -> bytes:
    return export.export_program(small, 'logits')


@pytest.mark.parametrize('bins', [1, 6])
def test_bin_means_are_adaptive_average_pooling(bins: int) -> None:
    check_bin_means(bins)


def test_a_pt2_file_computes_what_pytorch_does(small: Checkpoint, exported: bytes) -> None:
    check_pt2(small, exported)


def test_a_pt2_file_says_the_same(
    file: Path, exported: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, 'export_program', lambda *_: exported)
    check_pt2_command(file, tmp_path)


def test_logits_that_are_off_are_named() -> None:
    row = {'size': [10, 20], 'batch': 1, 'same_labels': 1.0}
    assert not parity.mismatches({'a': [{**row, 'logit_error': 1e-4}]}, 'fp32')
    for error in (2e-3, float('nan')):
        (line,) = parity.mismatches({'a': [{**row, 'logit_error': error}]}, 'fp32')
        assert line.startswith('a at 20x10 the logits are off by')


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
