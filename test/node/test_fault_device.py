# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A GPU that is lost: every further use of it in the process fails, as CUDA documents it."""

from engine_faults import DIM, KINDS, PRETENDED
from fault_fixtures import keep_sending, models_fixture, Rig  # noqa: F401
from node_fixtures import ERROR, OK, picture, wait_until, WARN
import pytest

LOST = 'an illegal memory access was encountered'
USED = 'fault: a lost device was used'


@pytest.fixture
def start(models, tmp_path):
    """Return what makes a node on the device that is none, with a policy for its loss."""
    return lambda policy: Rig(tmp_path, models[0], on_device_lost=policy, device=PRETENDED)


def test_the_node_ends_with_code_3_and_says_why(start):
    with start('exit') as rig:
        front, rear = rig.cameras.values()
        front.ask(DIM)
        rear.ask(DIM)
        rig.break_it('lost', device=PRETENDED, times=1)
        masks = len(front.masks)
        front.send(DIM)  # one is enough, although the other camera was just answered
        rig.diagnostics.wait_for('network', ERROR, LOST)
        assert rig.node.wait() == 3
        assert 'ending with exit code 3' in rig.node.log
        assert USED not in rig.node.log
        assert len(front.masks) == masks


def test_a_device_that_is_lost_while_the_network_loads_ends_the_start(start):
    rig = start('exit')
    rig.break_it('lost', device=PRETENDED, build=True)
    with rig.node:
        assert rig.node.wait() == 3
    assert LOST in rig.node.log
    assert 'ending with exit code 3' in rig.node.log
    assert USED not in rig.node.log


def test_the_node_goes_on_with_the_cpu_and_never_uses_the_device_again(start):
    with start('cpu') as rig:
        front, rear = rig.cameras.values()
        front.ask(DIM)
        rig.break_it('lost', device=PRETENDED, times=1)
        masks = len(front.masks)
        keep_sending(front, DIM, lambda: len(front.masks) > masks)
        rig.diagnostics.wait_for('network', WARN, 'Restart the node to return to the GPU')
        assert rig.diagnostics.value('network', 'device') == 'cpu'
        rear.ask(picture(2, 40, 60), rig.in_use())

        why = rig.set(device='cuda:1')
        assert 'expected cpu, as the GPU is lost to this process' in why
        assert not rig.set(input_width=64)  # of a network that is asked for on the lost device
        assert rig.diagnostics.value('network', 'device') == 'cpu'
        assert rig.reload().success
        assert rig.change('deactivate') and rig.change('cleanup')
        assert rig.change('configure') and rig.change('activate')
        assert wait_until(front.publisher.get_subscription_count)
        masks = len(front.masks)
        keep_sending(front, DIM, lambda: len(front.masks) > masks)
        assert rig.diagnostics.value('network', 'device') == 'cpu'
        assert USED not in rig.node.log
        assert 'Trying again' not in rig.node.log


@pytest.mark.parametrize('kind', ['memory', 'cudnn'])
def test_what_a_process_can_get_over_is_no_loss(start, kind):
    with start('exit') as rig:
        front = rig.cameras['front']
        front.ask(DIM)
        rig.break_it(kind, device=PRETENDED)
        masks = len(front.masks)
        keep_sending(front, DIM, lambda: len(front.masks) > masks)
        rig.diagnostics.wait_for('network', WARN, KINDS[kind])
        rig.break_it()
        rig.diagnostics.wait_for('network', OK)
        assert wait_until(lambda: rig.diagnostics.value('network', 'device') == PRETENDED)
        front.ask(DIM)
        assert rig.node.running
