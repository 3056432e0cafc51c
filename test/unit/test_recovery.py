# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a network that fails, without a graph and without a network."""

from functools import partial
from threading import Event
from time import monotonic
from types import SimpleNamespace

from node_fixtures import wait_until
import numpy as np
import pytest
from rclpy.logging import get_logger
import torch

from seg_ros.node import recovery as recovery_module
from seg_ros.node.device_errors import ErrorKind, kind_of, LOST_MESSAGES
from seg_ros.node.recovery import FAILURES, Recovery

ASKED = {
    'model': 'm', 'device': 'cuda:0', 'backend': 'auto', 'precision': 'fp16',
    'on_device_lost': 'cpu',
}  # fmt: skip
ON_CPU = {**ASKED, 'device': 'cpu', 'precision': 'auto'}
SAFE = {**ASKED, 'device': 'cpu', 'backend': 'torch', 'precision': 'fp32'}


class Node:
    """As much of the node as a recovery sees: it loads what works, and puts it in force."""

    def __init__(self):
        self.broken = []
        self.tried = []
        self.in_force = ASKED
        self.gate = Event()
        self.gate.set()
        self.left = []
        leave = partial(self.left.append, 'the node')
        self.recovery = Recovery(self.load, self.install, leave, get_logger('test'))

    def load(self, values, checkpoint):
        assert checkpoint == 'in memory'
        self.tried.append(values)
        assert self.gate.wait(60)
        if values in self.broken:
            raise RuntimeError(f'no {values["device"]} today')
        return values

    def install(self, values, cancelled):
        if not cancelled.is_set():
            self.in_force = values

    def fail(self, times=FAILURES, values=ASKED, cameras=('front',), error='boom'):
        segmenter = SimpleNamespace(device=values['device'], checkpoint='in memory')
        scheduler = SimpleNamespace(points=[SimpleNamespace(segmenter=segmenter)])
        for _ in range(times):
            errors = dict.fromkeys(cameras, RuntimeError(error))
            self.recovery.failing(values, scheduler, errors)


@pytest.fixture
def node(monkeypatch):
    monkeypatch.setattr(recovery_module, 'PAUSES', (0.02, 0.08))
    monkeypatch.setattr(recovery_module, 'RETURN_PAUSES', (0.05, 0.2))
    node = Node()
    yield node
    node.recovery.stop(60)


def healthy(node):
    return not node.recovery.problem and not node.recovery.failed


def test_failures_that_are_not_in_a_row_change_nothing(node):
    for _ in range(10):
        node.fail(FAILURES - 1)
        node.recovery.succeeded(['front'])
    assert node.tried == []
    assert healthy(node)


def test_as_long_as_one_camera_is_answered_the_others_images_are_at_fault(node, monkeypatch):
    monkeypatch.setattr(recovery_module, 'LATELY', 60.0)
    for _ in range(10):
        node.recovery.succeeded(['rear'])
        node.fail(10)
    assert node.tried == []
    assert healthy(node)
    node.fail(1, cameras=['rear'])  # now it fails on both
    assert wait_until(lambda: node.tried == [ASKED] and healthy(node))
    node.recovery.succeeded(['rear'])
    monkeypatch.setattr(recovery_module, 'LATELY', 0.0)  # nothing is known of it for long
    assert wait_until(lambda: node.fail(1) or len(node.tried) > 1)


def test_a_network_that_answers_again_by_itself_is_left_alone(node, monkeypatch):
    """Its images were at fault, as after the last fallback they no longer are."""
    monkeypatch.setattr(recovery_module, 'PAUSES', (60.0, 60.0))
    monkeypatch.setattr(recovery_module, 'RETURN_PAUSES', (60.0, 60.0))
    for count in range(1, 4):
        node.fail()
        assert wait_until(lambda: len(node.tried) == count and not node.recovery.failed)  # noqa: B023
    monkeypatch.setattr(recovery_module, 'LATELY', 0.0)
    node.recovery.succeeded(['rear'])  # which then says no more
    node.fail()
    assert wait_until(lambda: 'next attempt' in node.recovery.problem)
    looks = []
    monkeypatch.setattr(recovery_module, 'monotonic', lambda: looks.append(1) or monotonic())
    assert wait_until(lambda: len(looks) > 2)
    assert node.recovery.failed, 'an answer from before was taken for one'
    assert node.in_force == SAFE, 'what might answer was taken away'
    node.recovery.succeeded(['front'])
    assert wait_until(lambda: not node.recovery.failed)
    assert node.tried == [ASKED, ON_CPU, SAFE]
    assert 'Trying again in 60 s' in node.recovery.problem


def test_after_several_in_a_row_it_is_built_anew_and_meanwhile_there_is_none(node):
    node.gate.clear()
    node.fail()
    assert wait_until(lambda: node.tried == [ASKED])
    assert node.in_force is None
    assert node.recovery.failed
    assert 'boom: the network is built anew' in node.recovery.problem
    node.fail(10)  # of frames that come meanwhile
    node.gate.set()
    assert wait_until(lambda: node.in_force is ASKED and healthy(node))
    assert node.tried == [ASKED]


def test_a_device_that_is_gone_is_left_for_the_cpu_and_tried_again(node):
    node.broken = [ASKED]
    node.fail()
    assert wait_until(lambda: node.in_force == ON_CPU)
    assert wait_until(lambda: 'Trying again' in node.recovery.problem)
    assert not node.recovery.failed
    assert 'no cuda:0 today: falling back to the CPU' in node.recovery.problem
    assert wait_until(lambda: node.tried.count(ASKED) >= 3)
    assert node.in_force == ON_CPU
    node.broken = []
    assert wait_until(lambda: node.in_force is ASKED and healthy(node))


def test_what_works_on_no_frame_falls_back_step_by_step(node):
    node.fail()
    assert wait_until(lambda: node.in_force is ASKED and healthy(node))
    node.broken = [ASKED]
    node.fail()
    assert wait_until(lambda: node.in_force == ON_CPU)
    assert wait_until(lambda: 'Trying again' in node.recovery.problem)
    node.fail(values=ASKED)
    assert wait_until(lambda: node.in_force == SAFE)
    assert not node.recovery.failed or wait_until(lambda: not node.recovery.failed)


def test_where_nothing_works_it_is_an_error_and_tried_ever_more_rarely(node):
    node.broken = [ASKED, ON_CPU, SAFE]
    node.fail()
    assert wait_until(lambda: node.tried[2:].count(SAFE) >= 4)
    assert node.tried[:3] == [ASKED, ON_CPU, SAFE]
    assert node.in_force is None
    assert node.recovery.failed
    node.broken = [ASKED]
    assert wait_until(lambda: node.in_force == SAFE)
    assert wait_until(lambda: not node.recovery.failed)


def test_on_a_cpu_there_is_only_pytorch_to_fall_back_to(node):
    asked = {**ASKED, 'device': 'cpu', 'precision': 'bf16'}
    safe = {**asked, 'backend': 'torch', 'precision': 'fp32'}
    node.broken = [asked]
    node.fail(values=asked)
    assert wait_until(lambda: node.in_force == safe)
    assert node.tried[:2] == [asked, safe]


def test_what_can_be_built_but_answers_nothing_is_tried_ever_more_rarely(node, monkeypatch):
    """Each attempt is a new recovery, but they know of each other."""
    monkeypatch.setattr(recovery_module, 'PAUSES', (0.05, 10.0))
    monkeypatch.setattr(recovery_module, 'RETURN_PAUSES', (60.0, 60.0))
    moments = []
    for count in range(1, 6):
        node.fail()
        assert wait_until(lambda: len(node.tried) == count and not node.recovery.failed)  # noqa: B023
        moments.append(monotonic())
    assert node.tried == [ASKED, ON_CPU, SAFE, SAFE, SAFE]
    pauses = np.diff(moments)
    assert pauses[2] >= 0.05
    assert pauses[3] >= 0.1


def test_who_takes_another_network_meanwhile_wins(node):
    node.gate.clear()
    node.fail()
    assert wait_until(lambda: node.in_force is None)
    node.recovery.reset()
    node.in_force = 'another'
    node.gate.set()
    node.recovery.stop(60)
    assert node.in_force == 'another'
    assert healthy(node)


def test_an_old_recovery_does_not_undo_a_newer_one(node):
    """The fallback fails while what was asked for is being tried again."""
    node.broken = [ASKED]
    node.fail()
    assert wait_until(lambda: node.in_force == ON_CPU)
    node.broken = []
    count = len(node.tried)
    node.gate.clear()
    assert wait_until(lambda: len(node.tried) > count)  # it is at the return
    node.fail()
    node.gate.set()
    assert wait_until(lambda: SAFE in node.tried)
    assert wait_until(lambda: node.in_force in (SAFE, ASKED))
    assert wait_until(lambda: not node.recovery.failed)


LOST = 'CUDA error: device-side assert triggered'


def test_a_lost_device_is_left_at_once_and_for_good(node):
    """One error is enough, although another camera was answered just now."""
    node.recovery.succeeded(['rear'])
    node.fail(1, error=LOST)
    assert wait_until(lambda: node.in_force == ON_CPU and not node.recovery.failed)
    assert 'Restart the node to return to the GPU' in node.recovery.problem
    assert node.tried == [ON_CPU]
    assert not node.left
    node.recovery.reset()  # as when another network is loaded
    assert 'Restart the node' in node.recovery.problem
    assert node.recovery.usable(ASKED) == ON_CPU
    node.fail(values=ON_CPU)
    assert wait_until(lambda: node.in_force == SAFE and not node.recovery.failed)
    assert node.tried == [ON_CPU, SAFE]


def test_a_lost_device_ends_the_node_if_it_shall(node):
    node.fail(1, values={**ASKED, 'on_device_lost': 'exit'}, error=LOST)
    assert node.left == ['the node']
    assert node.recovery.failed and LOST in node.recovery.problem
    assert node.tried == []


@pytest.mark.parametrize('text', LOST_MESSAGES)
def test_an_error_that_cuda_keeps_is_a_loss_whoever_reports_it(text):
    for error in (
        RuntimeError(f'CUDA error: {text}\nCUDA kernel errors might be reported later.'),
        RuntimeError(f'CUDA failure 700: {text} ; GPU=0 ; hostname=car'),
    ):
        assert kind_of(error) is ErrorKind.LOST
        outer = ValueError('the engine has failed')
        outer.__cause__ = error
        assert kind_of(outer) is ErrorKind.LOST


def test_what_is_no_loss():
    for text in ('CUDA out of memory. Tried to allocate 2.00 GiB.', 'CUDA error: out of memory'):
        assert kind_of(RuntimeError(text)) is ErrorKind.MEMORY
    assert kind_of(torch.cuda.OutOfMemoryError('no room')) is ErrorKind.MEMORY
    for error in (
        RuntimeError('cuDNN error: CUDNN_STATUS_EXECUTION_FAILED'),
        RuntimeError('CUDA error: all CUDA-capable devices are busy or unavailable'),
        ValueError('expected finite logits; found NaN'),
        IndexError(),
    ):
        assert kind_of(error) is ErrorKind.ENGINE
