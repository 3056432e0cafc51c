# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime as an engine, against plain float32 PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import threading

import pytest
import torch
from torch import Tensor

from seg_ros.datasets.sample_drive import SampleDrive
from seg_ros.inference.backends.engine import EngineError
from seg_ros.inference.backends.onnxruntime_engine import OnnxRuntimeEngine
from seg_ros.inference.checkpoint import (
    Checkpoint,
    CheckpointError,
    find_checkpoint,
    load_checkpoint,
    shipped_models,
)
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.export import export_onnx
from seg_ros.inference.labels import LabelSet
from seg_ros.inference.quantization import calibrate, quantize
from seg_ros.inference.segmenter import Segmenter
from seg_ros.models import build_model

LABELS = LabelSet(('road', 'car'), ((10, 20, 30), (200, 0, 0)))
SMALL = {
    'bisenetv2': {'num_classes': 2, 'head_width': 8, 'booster_width': 8, 'alpha': 0.25},
    'icnet': {'num_classes': 2, 'width': 0.25},
    'pspnet50': {'num_classes': 2, 'width': 0.25},
}
SIZE = (65, 97)

pytestmark = [
    pytest.mark.usefixtures('one_thread'),
    # Not importorskip: where launch_testing is installed, it stops over that in any file.
    pytest.mark.skipif(
        not OnnxRuntimeEngine.installed(),
        reason=f'not all of {", ".join(OnnxRuntimeEngine.packages)} are installed',
    ),
]


def small_checkpoint(name: str, **changes) -> Checkpoint:
    torch.manual_seed(1)
    spec = {'name': name, **SMALL[name], **changes}
    return Checkpoint(build_model(spec).eval(), spec, LABELS, SIZE)


def noise(seed: int, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *SIZE, 3), dtype=torch.uint8, generator=generator)


def frames(checkpoint: Checkpoint, indices: range) -> list[Tensor]:
    height, width = checkpoint.input_size
    drive = SampleDrive(seed=1, frames=50, size=(width, height))
    return [torch.from_numpy(drive[i][0]).unsqueeze(0) for i in indices]


def engine(checkpoint: Checkpoint, precision: str = 'fp32', **options) -> OnnxRuntimeEngine:
    lines: list[str] = options.pop('lines', [])
    return OnnxRuntimeEngine(
        checkpoint, checkpoint.input_size, 'cpu', precision, lines.append, **options
    )


@pytest.fixture(scope='module')
def small() -> Checkpoint:
    return small_checkpoint('bisenetv2')


@pytest.mark.parametrize(
    ('name', 'changes'),
    [('bisenetv2', {}), ('icnet', {}), ('icnet', {'exit': 'sub4'}), ('pspnet50', {})],
)
def test_float32_is_pytorchs(name: str, changes: dict) -> None:
    """At an odd size, of which strided layers round up and pyramids of means take uneven bins."""
    checkpoint = small_checkpoint(name, **changes)
    pixels = noise(2)
    with torch.inference_mode():
        expected = Deployed(checkpoint)(pixels)
    found = engine(checkpoint).logits(pixels)
    assert found.dtype == torch.float32 and found.shape == expected.shape
    assert (found - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize('model', shipped_models())
def test_labels_on_a_drive(model: str) -> None:
    """Calibrated on other frames of the drive than are judged."""
    checkpoint = load_checkpoint(find_checkpoint(model))
    ranges = calibrate(checkpoint, frames(checkpoint, range(0, 20, 5)))
    checkpoint = replace(checkpoint, activation_ranges=ranges)
    (image,) = frames(checkpoint, range(30, 31))
    quantized = quantize(Deployed(checkpoint), ranges)

    def labels(logits: Tensor) -> Tensor:
        return checkpoint.network.upsample(logits, checkpoint.input_size).argmax(1)

    with torch.inference_mode():
        expected = labels(Deployed(checkpoint)(image))
        by_torch = quantized(image)
    found = labels(engine(checkpoint).logits(image))
    assert (found == expected).float().mean() > 0.999
    logits = engine(checkpoint, 'int8').logits(image)
    assert (labels(logits) == expected).float().mean() > 0.98
    # Rounded where, and as, plain PyTorch rounds.
    assert (logits - by_torch).norm() < 0.05 * by_torch.norm()


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_what_a_gpu_is_given(small: Checkpoint, precision: str) -> None:
    """Half precision, or int8 around 0 as TensorRT demands; a CPU runs both, slowly."""
    import onnx
    import onnxruntime

    checkpoint = replace(small, activation_ranges=calibrate(small, [noise(1)]))
    pixels = noise(2)
    shape = tuple(pixels.shape)
    content = export_onnx(checkpoint, 'coarse', precision, shape=shape, symmetric=True)
    graph = onnx.load_from_string(content).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    network: torch.nn.Module = Deployed(checkpoint)
    if precision == 'int8':
        network = quantize(network, checkpoint.activation_ranges, symmetric=True)
        zeros = [constants[n.input[2]] for n in graph.node if n.op_type == 'QuantizeLinear']
        # Of the weights of all, and of their inputs, some of which are the same.
        assert sum(zero.ndim for zero in zeros) == len(checkpoint.activation_ranges) < len(zeros)
        assert all(zero.dtype == 'int8' and not zero.any() for zero in zeros)
    else:
        assert constants['deployed.network.head.1.weight'].dtype == 'float16'
    with torch.inference_mode():
        expected = network(pixels)
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    found = torch.from_numpy(session.run(None, {'pixels': pixels.numpy()})[0])
    assert found.dtype == torch.float32
    assert (found - expected).norm() < 0.02 * expected.norm()


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
    """The result is the memory it was computed in, the same for each call of a thread."""
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
    """And anew where the file is damaged, the weights differ or the precision does."""
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
    options = {'device': 'cpu', 'precision': 'fp32'}
    expected = Segmenter(backend='torch', **options).predict(image).labels
    segmenter = Segmenter(backend='onnxruntime', **options)
    assert (segmenter.backend, segmenter.precision) == ('onnxruntime', 'fp32')
    assert (segmenter.predict(image).labels == expected).mean() > 0.999
