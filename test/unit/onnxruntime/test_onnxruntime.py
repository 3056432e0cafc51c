# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime as an engine, against plain float32 PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import threading

from onnxruntime_fixtures import (
    check_float32,
    check_what_a_gpu_is_given,
    engine,
    noise,
    small_checkpoint,
)
import pytest
import torch
from torch import Tensor

from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.inference.backends.engine import EngineError
from seg_ros.inference.backends.onnxruntime_engine import OnnxRuntimeEngine
from seg_ros.inference.checkpoint import Checkpoint, CheckpointError
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.quantization import calibrate
from seg_ros.inference.segmenter import Segmenter

pytestmark = [
    pytest.mark.usefixtures('one_thread'),
    # Not importorskip: if launch_testing is installed, its plugin fails on a module that skips
    # itself.
    pytest.mark.skipif(
        not OnnxRuntimeEngine.installed(),
        reason=f'not all of {", ".join(OnnxRuntimeEngine.packages)} are installed',
    ),
]


@pytest.fixture(scope='module')
def small() -> Checkpoint:
    """Return a network of few layers, whose export is fast."""
    return small_checkpoint('bisenetv2', aggregation='detail')


def test_float32_is_pytorchs() -> None:
    check_float32('bisenetv2')


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_what_a_gpu_is_given(small: Checkpoint, precision: str) -> None:
    check_what_a_gpu_is_given(small, precision)


def test_each_thread_gets_its_own_result(small: Checkpoint) -> None:
    made = engine(small)
    inputs = [noise(seed) for seed in range(4)]
    expected = [made.logits(pixels).clone() for pixels in inputs]
    found: dict[int, Tensor] = {}

    def work(i: int) -> None:
        for _ in range(20):
            found[i] = made.logits(inputs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        assert torch.equal(found[i], expected[i])


def test_nothing_is_copied(small: Checkpoint) -> None:
    """The result is the memory that it was computed in, which all calls of a thread share."""
    made = engine(small)
    first = made.logits(noise(1))
    address, copy = first.data_ptr(), first.clone()
    second = made.logits(noise(2))
    assert second.data_ptr() == address
    assert not torch.equal(second, copy)
    assert torch.equal(made.logits(noise(1)), copy)


def test_a_batch_is_its_images(small: Checkpoint) -> None:
    made = engine(small)
    pixels = noise(3, count=2)
    expected = torch.cat([made.logits(image.unsqueeze(0)).clone() for image in pixels])
    torch.testing.assert_close(made.logits(pixels), expected, rtol=1e-4, atol=1e-4)


def test_the_network_is_exported_once(
    small: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is exported again only for a damaged file, other weights or another precision."""
    monkeypatch.setenv('SEG_ROS_CACHE', str(tmp_path))
    lines: list[str] = []
    expected = engine(small, lines=lines).logits(noise(1))
    assert 'building ONNX network, 1x97x65, fp32' in lines[0]
    lines.clear()
    assert torch.equal(engine(small, lines=lines).logits(noise(1)), expected)
    assert lines == []
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert torch.equal(engine(small, lines=lines).logits(noise(1)), expected)
    assert 'is damaged: building anew' in lines[0] and lines[1].startswith('building')
    lines.clear()
    ranges = calibrate(small, [noise(1)])
    assert engine(replace(small, activation_ranges=ranges), 'int8', lines=lines)
    assert lines[0].startswith('building')
    assert len(list(tmp_path.iterdir())) == 2


def test_int8_without_ranges_names_the_remedy(small: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match='int8: expected .* seg_ros calibrate CHECKPOINT'):
        engine(small, 'int8')


@pytest.mark.parametrize('precision', ['fp16', 'bf16'])
def test_what_it_does_not_compute_in_is_refused(small: Checkpoint, precision: str) -> None:
    with pytest.raises(EngineError, match=f"computes in on cpu: fp32, int8; found '{precision}'"):
        engine(small, precision)


@pytest.mark.parametrize('provider', ['tensorrt', 'cuda', 'abacus'])
def test_a_missing_provider_is_answered_with_those_there_are(
    small: Checkpoint, provider: str
) -> None:
    with pytest.raises(EngineError, match=rf"runs on cpu \(cpu.*\); found '{provider}'.*-gpu"):
        engine(small, provider=provider)


def test_the_provider_asked_for_is_used(small: Checkpoint) -> None:
    with torch.inference_mode():
        expected = Deployed(small)(noise(1))
    found = engine(small, provider='cpu').logits(noise(1))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_build_without_cuda_is_not_for_cuda() -> None:
    import onnxruntime

    there = set(onnxruntime.get_available_providers())
    expected = bool(there & {'CUDAExecutionProvider', 'TensorrtExecutionProvider'})
    assert OnnxRuntimeEngine.runs_on('cuda:0') is expected
    assert OnnxRuntimeEngine.runs_on('cpu')


def test_the_segmenter_runs_it() -> None:
    image = SampleDrive(seed=1, frames=1, size=(320, 240))[0][0]
    checkpoint = small_checkpoint('bisenetv2')
    options = {'device': 'cpu', 'precision': 'fp32'}
    expected = Segmenter(checkpoint, backend='torch', **options).predict(image).labels
    segmenter = Segmenter(checkpoint, backend='onnxruntime', **options)
    assert (segmenter.backend, segmenter.precision) == ('onnxruntime', 'fp32')
    assert (segmenter.predict(image).labels == expected).mean() > 0.999
    with pytest.raises(EngineError, match=r"found 'tensorrt'.*onnxruntime-gpu"):
        Segmenter(checkpoint, backend='onnxruntime:tensorrt', **options)
