# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files, folders, requests and transports that go wrong around the real node."""

from contextlib import contextmanager
import os
from pathlib import Path
import resource
import shutil

from fault_fixtures import (  # noqa: F401
    front_fixture,
    load,
    long_lived_fixture,
    models_fixture,
    Rig,
    rig_fixture,
    SMALL,
)
from node_fixtures import NodeProcess, OK, picture, wait_until, WARN
import numpy as np
import pytest

from seg_ros.images.encodings import to_array
from seg_ros.inference.segmenter import Segmenter

DIM = picture(1, 40, 60)


def removed(path):
    path.unlink()


def garbage(path):
    path.unlink()
    path.write_bytes(os.urandom(10_000))


def truncated(path):
    with path.open('r+b') as file:
        file.truncate(path.stat().st_size // 2)


def emptied(path):
    path.write_bytes(b'')


def one_byte_of_its_header_changed(path):
    content = bytearray(path.read_bytes())
    content[10] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    'spoil', [removed, garbage, truncated, emptied, one_byte_of_its_header_changed]
)
def test_a_spoilt_checkpoint_is_not_taken(rig, front, spoil):
    said = rig.said()
    spoil(rig.model)
    front.ask(DIM)
    response = rig.reload()
    assert not response.success
    assert str(rig.model) in response.message
    assert 'expected' in response.message
    said.wait_for('not reloaded: ')
    front.ask(picture(2, 40, 60))
    assert not rig.set(overlay_opacity=0.75)  # all else still changes
    assert not rig.set(overlay_opacity=0.5)
    front.ask(DIM)
    reason = rig.set(input_width=64)  # which would have to read it
    assert str(rig.model) in reason
    front.ask(DIM)


def test_a_replaced_checkpoint_takes_over_at_a_reload_and_not_before(rig, front, models):
    shutil.copy(models[1], rig.model)
    front.ask(DIM)
    rig.diagnostics.wait_for('network', WARN, 'reload')
    response = rig.reload()
    assert response.success, response.message
    front.ask(DIM, Segmenter(models[1], **SMALL))
    rig.diagnostics.wait_for('network', OK)


def test_a_reload_under_load_changes_the_masks_once(rig, front, models):
    own, other = rig.segmenter, Segmenter(models[1], **SMALL)
    masks = len(front.masks)
    with load(front, DIM):
        assert wait_until(lambda: len(front.masks) > masks + 5)
        shutil.copy(models[1], rig.model)
        assert rig.reload().success
        swapped = len(front.masks)
        assert wait_until(lambda: len(front.masks) > swapped + 5)
    one, two = own.predict(DIM).labels, other.predict(DIM).labels
    assert (one != two).mean() > 0.2
    answers = [
        'one' if np.array_equal(to_array(m), one) else 'two' if np.array_equal(to_array(m), two)
        else 'neither' for m in front.masks[masks:]
    ]  # fmt: skip
    assert set(answers) == {'one', 'two'}
    assert answers == sorted(answers)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'overlay_opacity': 0.9, 'model': 'no_such_network'}, 'no_such_network'),
        ({'model': '', 'output_size': 'network'}, 'expected'),
        ({'output_size': 'network', 'precision': 'fp12'}, 'precision'),
        ({'output_size': 'network', 'max_age_ms': -1}, 'max_age_ms'),
        ({'output_size': 'network', 'front__ego_mask': '/nowhere.png'}, 'front.ego_mask'),
        ({'output_size': 'network', 'front__image_topic': 'a b'}, 'front.image_topic'),
        ({'output_size': 'network', 'cameras': ['other']}, 'cameras'),
        ({'output_size': 'network', 'device': 'cuda:7'}, 'cuda:7'),
        ({'output_size': 'network', 'input_width': 64, 'backend': 'tensorflow'}, 'backend'),
    ],
)
def test_a_set_of_parameters_is_refused_as_a_whole(rig, front, changes, reason):
    with load(rig.cameras['rear'], DIM):
        found = rig.set(**changes)
    assert reason in found
    mask = front.ask(DIM)
    assert (mask.height, mask.width) == DIM.shape[:2]  # output_size is camera still
    rig.diagnostics.wait_for('network', OK)


def test_lifecycle_under_load(rig, front):
    before, start = front.counts(), len(front.masks)
    for _ in range(3):
        with load(front, DIM):
            assert rig.change('deactivate')
            processed = front.counts()['processed']
            assert front.counts()['processed'] == processed
            assert rig.change('cleanup')
            assert rig.change('configure')
            assert rig.change('activate')
            masks = len(front.masks)
            assert wait_until(lambda n=masks: len(front.masks) > n)
        assert wait_until(front.publisher.get_subscription_count)
        front.ask(picture(2, 40, 60))
    counts = front.counts()
    assert counts['failed'] == before['failed']
    expected = [rig.segmenter.predict(image).labels for image in (DIM, picture(2, 40, 60))]
    for mask in front.masks[start:]:
        assert any(np.array_equal(to_array(mask), each) for each in expected)


def test_a_transition_that_cannot_be_is_refused_and_stops_nothing(rig, front):
    for transition in ('activate', 'configure', 'cleanup', 'unconfigured_shutdown'):
        assert not rig.change(transition)
        front.ask(DIM)


def test_enable_and_disable_under_load(rig, front):
    before = front.counts()
    for _ in range(5):
        with load(front, DIM):
            rig.enable(False)
            processed = front.counts()['processed']
            assert front.counts()['processed'] == processed
            rig.enable(True)
            masks = len(front.masks)
            assert wait_until(lambda n=masks: len(front.masks) > n)
        assert wait_until(front.publisher.get_subscription_count)
        front.ask(picture(2, 40, 60))
    assert front.counts()['failed'] == before['failed']


def test_disabled_it_answers_nothing_and_diagnostics_say_so(rig, front):
    rig.enable(False)
    assert wait_until(lambda: not front.publisher.get_subscription_count())
    rig.diagnostics.wait_for('camera front', OK, 'not active')
    rig.diagnostics.wait_for('network', OK, 'disabled')
    assert rig.change('deactivate')
    assert rig.change('activate')  # which does not enable it
    assert not front.publisher.get_subscription_count()
    rig.enable(True)
    assert wait_until(front.publisher.get_subscription_count)
    front.ask(DIM)


# The engine cache.

COMPILED = {'backend': 'openvino', 'precision': 'fp32'}


@pytest.fixture(scope='module')
def compiled(tmp_path_factory, models):
    """Start a node with a compiled engine, and a cache of its own."""
    pytest.importorskip('openvino')
    folder = tmp_path_factory.mktemp('compiled')
    environment = {'SEG_ROS_CACHE': str(folder / 'cache')}
    with Rig(folder, models[0], ['other'], environment, 'compiled', **COMPILED) as rig:
        rig.cache = folder / 'cache'
        yield rig


@pytest.fixture
def cached(compiled):
    """Return that node, nothing but its engine in the cache."""
    assert not compiled.set(input_width=32)
    compiled.segmenter = Segmenter(compiled.model, **{**SMALL, **COMPILED})
    shutil.rmtree(compiled.cache)
    assert compiled.reload().success
    compiled.cameras['other'].ask(DIM)
    assert len(list(compiled.cache.glob('*.engine'))) == 1
    yield compiled
    assert compiled.node.running


def take_another_size(rig, said):
    assert not rig.set(input_width=64)
    rig.segmenter = Segmenter(rig.model, **{**SMALL, **COMPILED, 'input_width': 64})
    rig.cameras['other'].ask(DIM)
    said.wait_for('input 64x32, openvino')


@contextmanager
def no_room(pid):
    """Let no file of a process grow beyond 4 kB."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_costs_the_cache_and_nothing_else(cached):
    """No file of the process can grow, as none can on a disk that is full."""
    said = cached.said()
    kept = sorted(cached.cache.glob('*.engine'))
    with no_room(cached.node.pid):
        take_another_size(cached, said)
        said.wait_for('cannot keep the engine for the next start')
        said.wait_for('Make room')
    assert sorted(cached.cache.iterdir()) == kept  # and nothing half written


def test_a_cache_that_is_removed_is_made_again(cached):
    said = cached.said()
    shutil.rmtree(cached.cache)
    cached.cameras['other'].ask(DIM)
    take_another_size(cached, said)
    assert list(cached.cache.glob('*.engine'))


def test_a_damaged_cache_entry_is_built_anew(cached):
    said = cached.said()
    for path in cached.cache.glob('*.engine'):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert cached.reload().success
    said.wait_for('is damaged: building anew')
    cached.cameras['other'].ask(DIM)


def test_a_node_that_ends_leaves_neither_processes_nor_shared_memory(tmp_path, models):
    with NodeProcess(cameras='[other]', model=models[0], **SMALL) as node:
        node.wait_for_log('subscribing')
        pid, segments = node.pid, node.shared_memory()
        assert segments
    assert not Path(f'/proc/{pid}').exists()
    assert not [path for path in segments if path.exists()]
