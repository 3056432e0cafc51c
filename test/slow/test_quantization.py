# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""8-bit networks that were trained: what rounding costs them, and OpenVINO's integers."""

from __future__ import annotations

from dataclasses import replace
import os

import numpy as np
import pytest
from quantization_fixtures import calibrated, check_rounding, frames, same_labels
import torch

from seg_ros.datasets.camvid import camvid
from seg_ros.images.labels import CAMVID as CAMVID_LABELS
from seg_ros.inference.backends.openvino_engine import core
from seg_ros.inference.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    shipped_models,
)
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.preprocessing import resize
from seg_ros.inference.quantization import calibrate, quantize
from seg_ros.inference.segmenter import Segmenter
from seg_ros.metrics.confusion_matrix import ConfusionMatrix

CAMVID = os.environ.get('SEG_ROS_CAMVID')

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module', params=shipped_models())
def shipped(request: pytest.FixtureRequest) -> Checkpoint:
    return calibrated(request.param)


def test_rounding_keeps_the_labels(shipped: Checkpoint) -> None:
    check_rounding(shipped)


@pytest.mark.filterwarnings('ignore')  # tracing warns of sizes that become constants
def test_openvino_computes_it_in_integers(shipped: Checkpoint) -> None:
    openvino = pytest.importorskip('openvino', reason='OpenVINO is not installed')
    quantized = quantize(Deployed(shipped), shipped.activation_ranges)
    (image,) = frames(shipped, range(30, 31))
    model = openvino.convert_model(
        quantized, example_input=image, input=[(tuple(image.shape), np.uint8)]
    )
    settings = {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': 1}
    compiled = core().compile_model(model, 'CPU', settings)
    with torch.inference_mode():
        expected = quantized(image)
    found = torch.from_numpy(next(iter(compiled(image.numpy()).values())))
    assert same_labels(found, expected) > 0.98
    assert (found - expected).norm() < 0.05 * expected.norm()
    types = [
        node.get_rt_info()['runtimePrecision'].astype(str)
        for node in compiled.get_runtime_model().get_ops()
        if 'Convolution' in node.get_rt_info()['layerType'].astype(str)
    ]
    integers = [name for name in types if name in ('i8', 'u8')]
    assert len(integers) == len(shipped.activation_ranges)
    assert len(types) - len(integers) == 2  # those that see the image


@pytest.mark.skipif(CAMVID is None, reason='SEG_ROS_CAMVID does not name the folder of CamVid')
@pytest.mark.parametrize('model', shipped_models())
def test_scores_on_camvid_stay(model: str) -> None:
    pytest.importorskip('openvino', reason='OpenVINO is not installed')
    checkpoint = load_checkpoint(find_checkpoint(model))
    train, val = camvid(CAMVID, 'train'), camvid(CAMVID, 'val')
    seen = [
        resize(torch.from_numpy(train[i][0]).unsqueeze(0), checkpoint.input_size)
        for i in range(0, len(train), 16)
    ]
    checkpoint = replace(checkpoint, activation_ranges=calibrate(checkpoint, seen))
    options = {'device': 'cpu', 'backend': 'openvino'}
    segmenters = [Segmenter(checkpoint, precision=p, **options) for p in ('fp32', 'int8')]
    matrices = [ConfusionMatrix(len(CAMVID_LABELS)) for _ in segmenters]
    same = []
    for image, truth in (val[i] for i in range(len(val))):
        predicted = [segmenter.predict(image).labels for segmenter in segmenters]
        same.append((predicted[0] == predicted[1]).mean())
        for matrix, labels in zip(matrices, predicted):
            matrix.update(labels, truth)
    assert np.mean(same) > 0.99
    assert matrices[1].miou() == pytest.approx(matrices[0].miou(), abs=0.005)
