# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines that fail under the real node: what it publishes, counts, logs and reports meanwhile."""

from engine_faults import (
    ATTEMPTS,
    check_fallback,
    check_silence_and_recovery,
    DIM,
    KINDS,
    PRETENDED,
    use_pretended,
)
from fault_fixtures import (  # noqa: F401
    front_fixture,
    keep_sending,
    long_lived_fixture,
    models_fixture,
    rear_fixture,
    rig_fixture,
)
from node_fixtures import ERROR, OK, picture, wait_until, WARN
import numpy as np
import pytest

BRIGHT = np.full((40, 60, 3), 255, np.uint8)


@pytest.mark.parametrize('kind', KINDS)
def test_a_fault_costs_its_frame_and_no_other(rig, front, kind):
    before = front.counts()
    said, told = rig.said(), len(rig.diagnostics.statuses('camera front'))
    rig.break_it(kind, times=ATTEMPTS.get(kind, 1))
    lost = front.fail(DIM)
    for seed in range(3):
        front.ask(picture(seed, 40, 60))
    counts = front.counts()
    assert counts['failed'] == before['failed'] + 1
    assert counts['processed'] == before['processed'] + 3
    assert not front.answered(lost)
    assert 'loading' not in said

    def warned():
        statuses = rig.diagnostics.statuses('camera front')[told:]
        return any(s.level == WARN and KINDS[kind] in s.message for s in statuses)

    assert wait_until(warned)
    rig.diagnostics.wait_for('network', OK)


def test_a_frame_is_tried_again_when_memory_was_given_back(rig, front):
    before = front.counts()
    said = rig.said()
    rig.break_it('memory', times=1)
    front.ask(DIM)
    said.wait_for('fault: memory')
    counts = front.counts()
    assert counts['failed'] == before['failed']
    assert counts['processed'] == before['processed'] + 1


def test_the_log_says_once_in_a_while_why_images_are_dropped(rig, rear):
    said = rig.said()
    rig.break_it('throw', times=2)
    rear.fail(DIM)
    rear.fail(DIM)
    said.wait_for('camera rear: image dropped')
    said.wait_for(KINDS['throw'])
    assert said.count('camera rear: image dropped') == 1
    assert 'camera front' not in said


@pytest.mark.parametrize('kind', KINDS)
def test_after_three_in_a_row_the_network_is_built_anew(rig, front, kind):
    said = rig.said()
    rig.break_it(kind, times=3 * ATTEMPTS.get(kind, 1))
    for _ in range(2):
        front.fail(DIM)
    assert 'loading' not in said
    front.fail(DIM)
    said.wait_for('the network is built anew')
    said.wait_for('the network was built anew')
    assert said.count('loading') == 1
    front.ask(DIM)
    rig.diagnostics.wait_for('network', OK)


def test_failures_with_answers_between_them_rebuild_nothing(rig, front):
    said = rig.said()
    for _ in range(3):
        for _ in range(2):
            rig.break_it('throw', times=1)
            front.fail(DIM)
        front.ask(DIM)
    assert 'loading' not in said


def test_one_that_always_fails_is_silent_and_loud_and_recovers(rig):
    check_silence_and_recovery(rig, 'nan')


@pytest.mark.parametrize(('kind', 'build'), [('memory', False), ('cudnn', True)])
def test_a_gpu_that_fails_is_replaced_by_the_cpu_until_it_works_again(rig, kind, build):
    check_fallback(rig, kind, build)


def test_where_nothing_can_be_built_it_goes_on_trying(rig, front, rear):
    use_pretended(rig)
    said = rig.said()
    before = len(front.masks), len(rear.masks)
    rig.break_it('cudnn', build=True)
    keep_sending(front, DIM, lambda: said.count('when building for cpu') >= 3)
    rig.diagnostics.wait_for('network', ERROR, KINDS['cudnn'])
    said.wait_for('next attempt in')
    assert (len(front.masks), len(rear.masks)) == before
    rig.break_it()
    keep_sending(rear, DIM, lambda: len(rear.masks) > before[1])
    rear.ask(picture(6, 40, 60))


def test_other_parameters_end_a_fallback(rig, front):
    use_pretended(rig)
    rig.break_it('cudnn', device=PRETENDED, build=True)
    before = len(front.masks)
    keep_sending(front, DIM, lambda: len(front.masks) > before)
    rig.diagnostics.wait_for('network', WARN)
    assert KINDS['cudnn'] in rig.set(precision='fp32', device=PRETENDED, input_width=64)
    front.ask(DIM, rig.in_use())  # refused, so the CPU goes on, at the old size
    assert not rig.set(device='cpu')
    rig.diagnostics.wait_for('network', OK)
    front.ask(DIM)
    tried = rig.node.log.count('when building')
    rig.diagnostics.after('network')
    rig.diagnostics.after('network')
    assert rig.node.log.count('when building') == tried


def levels(rig):
    """Return how the front and the rear camera are by /diagnostics."""
    return tuple(rig.diagnostics.statuses(f'camera {name}')[-1].level for name in rig.cameras)


def test_one_cameras_poison_is_not_the_others(rig, front, rear):
    """Bright images are not numbers to this network; the front camera's are dim."""
    rig.break_it('nan', bright=True, lately=600)
    before = rear.counts(), front.counts()
    for seed in range(4):
        rear.fail(BRIGHT)
        front.ask(picture(seed, 40, 60) // 2)
    assert rear.counts()['failed'] == before[0]['failed'] + 4
    assert front.counts()['failed'] == before[1]['failed']
    keep_sending(rear, BRIGHT, lambda: levels(rig) in ((OK, WARN), (OK, ERROR)))
    rear.ask(DIM)


def test_a_fast_cameras_poison_does_not_stop_a_slow_one(rig, front, rear):
    """A network that answers one camera need not be built anew for another's sake."""
    front.ask(DIM)
    before = front.counts()['failed']
    rig.break_it('nan', bright=True, lately=600)
    for seed in range(3):
        for _ in range(4):
            rear.fail(BRIGHT)
        front.ask(picture(seed, 40, 60) // 2)
    assert front.counts()['failed'] == before
    keep_sending(rear, BRIGHT, lambda: levels(rig) == (OK, ERROR))


def test_a_poisoned_batch_is_retried_camera_by_camera(rig, front, rear):
    use_pretended(rig)
    before = front.counts(), rear.counts()
    rig.break_it('hang')
    first = front.send(DIM)
    assert wait_until(lambda: 'fault: hangs' in rig.node.log)
    poison, good = rear.send(BRIGHT), front.send(picture(2, 40, 60) // 2)
    assert wait_until(lambda: rear.count('received') > before[1]['received'])
    assert wait_until(lambda: front.count('received') > before[0]['received'] + 1)
    rig.break_it('nan', bright=True)  # both wait: they come as a batch
    front.check(first, DIM)
    front.check(good, picture(2, 40, 60) // 2)
    assert wait_until(lambda: rear.count('failed') > before[1]['failed'])
    assert not rear.answered(poison)
    assert front.counts()['failed'] == before[0]['failed']
    assert rear.counts()['failed'] == before[1]['failed'] + 1


def test_while_it_hangs_all_else_goes_on_and_then_the_newest_is_answered(rig, front, rear):
    before = front.counts()
    masks = len(front.masks)
    said = rig.said()
    rig.break_it('hang')
    images = [picture(seed, 40, 60) for seed in range(10)]
    first = front.send(images[0])
    said.wait_for('fault: hangs')
    others = []
    for i, image in enumerate(images[1:]):  # one after the other, so that none is lost on its way
        others.append(front.send(image))
        assert wait_until(lambda n=i: front.count('received') >= before['received'] + n + 2)
    assert not rig.set(overlay_opacity=0.25)  # answered meanwhile
    assert not rig.set(overlay_opacity=0.5)
    assert len(front.masks) == masks
    rig.break_it()
    front.check(first, images[0])
    front.check(others[-1], images[-1])
    counts = front.counts()
    assert counts['replaced'] == before['replaced'] + 8
    assert counts['processed'] == before['processed'] + 2
    assert len(front.masks) == masks + 2
    rear.ask(DIM)


def test_a_short_hang_delays_a_deactivation_and_no_more(rig, front):
    rig.break_it('hang')
    said = rig.said()
    message = front.send(DIM)
    said.wait_for('fault: hangs')
    rig.mend_after(1.0)
    assert rig.change('deactivate')
    assert wait_until(lambda: front.answered(message))
    assert rig.change('activate')
    assert wait_until(front.publisher.get_subscription_count)
    front.ask(DIM)
    front.counts()


def test_a_reload_that_fails_leaves_the_network(rig, front):
    said = rig.said()
    rig.break_it('cudnn', build=True)
    response = rig.reload()
    assert not response.success
    assert KINDS['cudnn'] in response.message
    rig.break_it()
    front.ask(DIM)
    assert rig.reload().success
    front.ask(DIM)
    assert 'not reloaded' in said
    rig.diagnostics.wait_for('network', OK)
