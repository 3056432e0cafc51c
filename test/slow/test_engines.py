# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch and OpenVINO: the shipped networks at full size, and the choice by the clock."""

from pathlib import Path
import re
from threading import Thread

from engine_fixtures import (
    Broken,
    check_damage,
    check_deployed,
    check_labels,
    check_pipeline,
    compiled,
    NotANumber,
    SHIPPED,
    Slow,
    small_checkpoint,
    two_frames,
    Wrong,
)
import pytest

from seg_ros.inference.backends import engine_choice
from seg_ros.inference.backends.openvino_engine import OpenVinoEngine
from seg_ros.inference.backends.torch_engine import TorchEngine
from seg_ros.inference.segmenter import Segmenter

NETWORKS = [
    {'name': 'bisenetv2', 'head_width': 16},
    {'name': 'icnet', 'width': 0.5},
    {'name': 'icnet', 'width': 0.5, 'exit': 'sub4'},
    {'name': 'icnet', 'width': 0.5, 'exit': 'sub24'},
    {'name': 'pspnet50', 'width': 0.25},
]


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv('SEG_ROS_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.mark.parametrize('architecture', NETWORKS, ids=str)
def test_a_deployed_network_computes_what_the_checkpoint_does(architecture: dict) -> None:
    check_deployed(**architecture)


@pytest.mark.parametrize('model', SHIPPED)
@pytest.mark.parametrize(
    ('backend', 'precision'),
    [('torch', 'bf16'), ('torch', 'fp16'), ('openvino', 'fp32'), ('openvino', 'auto')],
)
def test_labels_are_those_of_plain_pytorch(model, backend, precision) -> None:
    check_labels(model, backend, precision)


def test_engines_answer_several_threads() -> None:
    pytest.importorskip('openvino')
    frames = two_frames()
    segmenter = Segmenter(device='cpu', backend='openvino')
    expected = [segmenter.predict(frame).labels for frame in frames]
    wrong = []

    def work(i: int) -> None:
        for _ in range(5):
            if (segmenter.predict(frames[i]).labels != expected[i]).any():
                wrong.append(i)

    threads = [Thread(target=work, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize('model', SHIPPED)
def test_the_devices_pipeline_computes_what_the_cpu_does(model) -> None:
    check_pipeline(model)


def test_auto_passes_over_what_is_wrong_broken_or_slow(cache_folder: Path, monkeypatch) -> None:
    pytest.importorskip('openvino')
    said: list[str] = []
    monkeypatch.setattr(engine_choice, 'ENGINES', (Wrong, NotANumber, Broken, Slow, TorchEngine))
    chosen = Segmenter(small_checkpoint(), device='cpu', report=said.append)
    assert chosen.backend == 'torch'
    for remark in (
        r'wrong \w+ is wrong, its logits are off by 200%',
        r'nan \w+ is wrong, its logits are off by nan%',
        r'broken \w+ fails: its library says no',
        r'slow \w+ takes',
    ):
        assert any(re.search(remark, line) for line in said), remark
    monkeypatch.setattr(engine_choice, 'ENGINES', (Wrong, OpenVinoEngine, TorchEngine))
    assert Segmenter(small_checkpoint(), device='cpu').backend == 'openvino'


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'empty', 'other'])
def test_a_damaged_engine_is_built_anew(cache_folder: Path, damage: str) -> None:
    compiled()
    (path,) = cache_folder.iterdir()
    check_damage(path, damage)
