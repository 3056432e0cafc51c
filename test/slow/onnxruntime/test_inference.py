# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The segmenter with every choice left to it."""

from pathlib import Path

from engine_fixtures import LABELS, small_checkpoint
import numpy as np
import pytest
import torch

from seg_ros.inference.checkpoint import save_checkpoint, shipped_models
from seg_ros.inference.segmenter import Segmenter


def test_attributes_say_what_runs(tmp_path: Path) -> None:
    path = tmp_path / 'small.safetensors'
    save_checkpoint(path, small_checkpoint())
    chosen = Segmenter(str(path))
    assert chosen.device == ('cuda' if torch.cuda.is_available() else 'cpu')
    assert chosen.precision in ('fp32', 'bf16', 'fp16')
    assert chosen.labels == LABELS
    assert chosen.input_size == (64, 96)
    assert chosen.model == str(path)
    chosen.warm_up()
    chosen.warm_up([(31, 40), (30, 50)])


@pytest.mark.parametrize('name', shipped_models())
def test_shipped_networks_run_and_say_where_they_are_from(name: str) -> None:
    segmenter = Segmenter(name, input_height=96, input_width=128)
    assert segmenter.checkpoint.training['data']
    image = np.random.default_rng(8).integers(0, 256, (120, 160, 3), np.uint8)
    labels = segmenter.predict(image).labels
    assert labels.shape == (120, 160)
    assert labels.max() < len(segmenter.labels)
