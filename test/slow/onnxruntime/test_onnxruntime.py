# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime as an engine: every network, and the shipped ones in 8 bits too."""

from __future__ import annotations

from dataclasses import replace

from onnxruntime_fixtures import check_float32, check_what_a_gpu_is_given, engine, small_checkpoint
import pytest
import torch
from torch import Tensor

from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.inference.backends.onnxruntime_engine import OnnxRuntimeEngine
from seg_ros.inference.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    shipped_models,
)
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.quantization import calibrate, quantize
from seg_ros.inference.segmenter import Segmenter

pytestmark = [
    pytest.mark.usefixtures('one_thread'),
    # Not importorskip: where launch_testing is installed, it stops over that in any file.
    pytest.mark.skipif(
        not OnnxRuntimeEngine.installed(),
        reason=f'not all of {", ".join(OnnxRuntimeEngine.packages)} are installed',
    ),
]


def frames(checkpoint: Checkpoint, indices: range) -> list[Tensor]:
    height, width = checkpoint.input_size
    drive = SampleDrive(seed=1, frames=50, size=(width, height))
    return [torch.from_numpy(drive[i][0]).unsqueeze(0) for i in indices]


@pytest.mark.parametrize(
    ('name', 'changes'),
    [('bisenetv2', {}), ('icnet', {}), ('icnet', {'exit': 'sub4'}), ('pspnet50', {})],
)
def test_float32_is_pytorchs(name: str, changes: dict) -> None:
    check_float32(name, **changes)


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
def test_what_a_gpu_is_given(precision: str) -> None:
    check_what_a_gpu_is_given(small_checkpoint('bisenetv2'), precision)


def test_the_segmenter_runs_it() -> None:
    image = SampleDrive(seed=1, frames=1, size=(320, 240))[0][0]
    options = {'device': 'cpu', 'precision': 'fp32'}
    expected = Segmenter(backend='torch', **options).predict(image).labels
    segmenter = Segmenter(backend='onnxruntime', **options)
    assert (segmenter.backend, segmenter.precision) == ('onnxruntime', 'fp32')
    assert (segmenter.predict(image).labels == expected).mean() > 0.999
