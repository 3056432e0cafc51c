# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The choice between all engines that there are, by the clock."""

from pathlib import Path

from engine_fixtures import small_checkpoint
import pytest

from seg_ros.inference.segmenter import Segmenter


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv('SEG_ROS_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def test_auto_takes_openvino_and_says_why(cache_folder: Path) -> None:
    pytest.importorskip('openvino')
    said: list[str] = []
    first = Segmenter(small_checkpoint(), device='cpu', report=said.append)
    assert first.backend == 'openvino'
    (why,) = [line for line in said if line.startswith('openvino')]
    assert f'{first.precision} takes' in why and 'torch' in why
    again: list[str] = []
    second = Segmenter(small_checkpoint(), device='cpu', report=again.append)
    assert (second.backend, second.precision) == (first.backend, first.precision)
    assert again == [why], 'measured or built anew'
