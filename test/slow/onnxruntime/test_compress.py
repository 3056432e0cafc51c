# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A compressed network in ONNX Runtime, and exported for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_compressions import compress, Inputs, write_inputs

from seg_ros.__main__ import main
from seg_ros.datasets.camvid import camvid
from seg_ros.inference.segmenter import Segmenter

pytest.importorskip('onnxruntime')
pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return write_inputs(tmp_path_factory.mktemp('inputs'))


@pytest.fixture(scope='module')
def compressed(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compress(inputs, tmp_path_factory.mktemp('compressed'))


def test_a_compressed_network_runs_in_every_engine(
    compressed: dict[str, Any], inputs: Inputs
) -> None:
    image, _ = camvid(inputs.root, 'val')[0]
    labels = [
        Segmenter(compressed['checkpoint'], device='cpu', backend=b, precision='fp32')
        .predict(image)
        .labels
        for b in ('torch', 'onnxruntime')
    ]
    assert len(np.unique(labels[0])) > 1
    assert (labels[0] == labels[1]).mean() >= 0.999


def test_a_compressed_network_is_exported(compressed: dict[str, Any], tmp_path: Path) -> None:
    for module in ('onnx', 'onnxscript'):
        pytest.importorskip(module)
    out = tmp_path / 'network.onnx'
    assert main(['export', compressed['checkpoint'], '--out', str(out)]) == 0
    assert out.stat().st_size > 4 * compressed['results'][-2]['parameters'] / 2
