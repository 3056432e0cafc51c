# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines that fail under the real node: every kind of fault, and a network's own."""

from engine_faults import check_fallback, check_silence_and_recovery, KINDS
from fault_fixtures import (  # noqa: F401
    front_fixture,
    long_lived_fixture,
    models_fixture,
    rear_fixture,
    rig_fixture,
    SMALL,
)
from node_fixtures import ERROR, picture
import numpy as np
import pytest

from seg_ros.inference.checkpoint import load_checkpoint, save_checkpoint
from seg_ros.inference.preprocessing import Preprocessing
from seg_ros.inference.segmenter import Segmenter


@pytest.mark.parametrize('kind', ['throw', 'nan', 'memory'])
def test_one_that_always_fails_is_silent_and_loud_and_recovers(rig, kind):
    check_silence_and_recovery(rig, kind)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('build', [False, True])
def test_a_gpu_that_fails_is_replaced_by_the_cpu_until_it_works_again(rig, kind, build):
    check_fallback(rig, kind, build)


def test_an_overflow_in_half_precision(tmp_path, rig, front, rear):
    """No pretence: logits beyond 65504, of bright images and of no others."""
    checkpoint = load_checkpoint(rig.model)
    checkpoint.preprocessing = Preprocessing(mean=(0.0,) * 3)  # black is nothing to this one
    own = Segmenter(checkpoint, **SMALL)

    def largest(image):
        return float(own.logits([image])[0].abs().max())

    bad = max((picture(seed, 40, 60) for seed in range(20)), key=largest)
    good = min((picture(seed, 40, 60) // 4 for seed in range(20)), key=largest)
    black = np.zeros_like(good)  # what networks are warmed up with
    fine = max(largest(good), largest(black))
    assert fine < 0.8 * largest(bad)
    layer = checkpoint.network.head[-1]
    scale = 65504 / (fine * largest(bad)) ** 0.5
    layer.weight.data *= scale
    layer.bias.data *= scale
    path = tmp_path / 'overflows.safetensors'
    save_checkpoint(path, checkpoint)
    assert not rig.set(model=str(path), precision='fp16')
    overflowing = Segmenter(path, **{**SMALL, 'precision': 'fp16'})
    with pytest.raises(ValueError, match='overflows'):
        overflowing.predict(bad)
    for _ in range(2):
        rear.lose(bad)
        front.ask(good, overflowing)
    rig.diagnostics.wait_for('camera rear', ERROR, 'Choose another precision')
