# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ICNet on EfficientNet-Lite0 as other programs get it, and in the slowest engine to start."""

from __future__ import annotations

from io import BytesIO

from icnet_lite_checkpoint import check_engine, make_checkpoint, noise, normalised, SIZES
import numpy as np
import pytest
import torch

from seg_ros.inference.backends.onnxruntime_engine import OnnxRuntimeEngine
from seg_ros.inference.checkpoint import Checkpoint
from seg_ros.inference.export import export_onnx, export_program
from seg_ros.models.cascade import EXITS

pytestmark = pytest.mark.usefixtures('one_thread')

needs_onnxruntime = pytest.mark.skipif(
    not OnnxRuntimeEngine.installed(),
    reason=f'not all of {", ".join(OnnxRuntimeEngine.packages)} are installed',
)


@pytest.fixture(scope='module')
def checkpoint() -> Checkpoint:
    return make_checkpoint()


@needs_onnxruntime
@pytest.mark.parametrize('last', EXITS)
def test_onnxruntime_runs_every_exit(checkpoint: Checkpoint, last: str) -> None:
    check_engine(checkpoint, OnnxRuntimeEngine, last)


def test_pytorch_exports_it_for_any_size(checkpoint: Checkpoint) -> None:
    program = torch.export.load(BytesIO(export_program(checkpoint, 'logits'))).module()
    for size in SIZES:
        pixels = noise(size)
        with torch.inference_mode():
            expected = checkpoint.network(normalised(pixels))
            assert (program(pixels) - expected).norm() < 1e-4 * expected.norm()


@needs_onnxruntime
def test_it_is_exported_to_onnx_for_any_size(checkpoint: Checkpoint) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(export_onnx(checkpoint, 'logits'))
    for size in SIZES:
        pixels = noise(size)
        (found,) = session.run(None, {'pixels': pixels.numpy()})
        with torch.inference_mode():
            expected = checkpoint.network(normalised(pixels))
        assert np.linalg.norm(found - expected.numpy()) < 1e-3 * expected.norm()
