# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the processes that benchmark the node: relay, DDS load, settings of the transport."""

import platform
import re
import subprocess
import sys
import time

from node_fixtures import find, Peer, picture, until_heard
import numpy as np
import pytest
from sensor_msgs.msg import Image

from seg_ros.benchmark.live.live_rows import end_to_end_rows
from seg_ros.benchmark.live.measurements import BOTH, transports
from seg_ros.benchmark.live.processes import (
    Helper,
    ProcessError,
    profile_environment,
    Program,
    start_dds_load,
)

PICTURE = picture(1, 36, 48)


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


def image_message(stamp: int, height: int, width: int) -> Image:
    message = Image(height=height, width=width, encoding='bgr8', step=3 * width)
    message.header.stamp.sec, message.header.frame_id = stamp, f'frame {stamp}'
    message.data = bytes(3 * height * width)
    return message


def test_the_relay_answers_every_image_with_a_mask_of_its_stamp_and_size(peer):
    greeting = image_message(0, 2, 2)
    sizes = {1: (24, 32), 2: (24, 32), 3: (60, 16), 4: (24, 32)}
    with Program('relay', {'cameras': ['east', 'west']}, {}):
        for camera in ('east', 'west'):
            masks = peer.listen(Image, f'/{camera}/segmentation/mask')
            publisher = peer.publisher(Image, f'/{camera}/image_raw')
            until_heard(lambda to=publisher: to.publish(greeting), masks)
            for stamp, size in sizes.items():
                publisher.publish(image_message(stamp, *size))
                mask = find(masks, (stamp, 0))
                assert (mask.height, mask.width, mask.step) == (*size, size[1])
                assert (mask.encoding, mask.header.frame_id) == ('mono8', f'frame {stamp}')
                assert len(mask.data) == size[0] * size[1]
            came = [mask.header.stamp.sec for mask in masks]
            assert [stamp for stamp in came if stamp] == list(sizes)


@pytest.fixture(scope='module')
def message(tmp_path_factory):
    """Return the fields of a small image message for :class:`.dds_load.DdsLoad`."""
    path = tmp_path_factory.mktemp('message') / 'data'
    path.write_bytes(bytes(range(48)))
    return {'height': 4, 'width': 4, 'encoding': 'bgr8', 'step': 12, 'data': str(path)}


IMAGE, MASK = '/camera/image_raw', '/camera/segmentation/mask'
DELAY = 120.0
RATE = 4.0


def meet(camera: Helper) -> None:
    """Wait until camera and relay have discovered each other."""
    end = time.monotonic() + 60
    while None in camera.call('ask', IMAGE, MASK, 2, 0.0, 1.0):
        assert time.monotonic() < end


def test_answers_are_timed_one_after_the_other(message):
    parameters = {'cameras': ['camera'], 'delay_ms': DELAY}
    sent = {IMAGE: message, '/nobody/image_raw': message}
    with Program('relay', parameters, {}), start_dds_load(sent, [MASK], {}) as camera:
        meet(camera)
        start = time.monotonic()
        times = camera.call('ask', IMAGE, MASK, 4, 0.05, 60.0)
        whole = 1e3 * (time.monotonic() - start)
        lost = camera.call('ask', '/nobody/image_raw', MASK, 2, 0.0, 0.05)
    assert lost == [None, None]
    assert len(times) == 4
    # A sleep never ends early, and the parts cannot take longer than the whole.
    assert min(times) >= DELAY
    assert sum(times) + 4 * 50 <= whole


def test_what_was_sent_and_what_was_heard_agree_by_stamps(message):
    topics = ['/dds_load/a', '/dds_load/b']
    with start_dds_load(dict.fromkeys(topics, message), topics, {}) as both:
        end = time.monotonic() + 60
        while not all(both.call('hear', topics, 1.0).values()):
            both.call('send', topics, 1, 50.0)
            assert time.monotonic() < end
        both.call('hear', topics, 1.0)  # forget late messages
        sent = both.call('send', topics, 5, RATE)
        time.sleep(1 / RATE)  # the depth is 1: a slow subscriber would miss the last message
        both.call('send', topics[:1], 2, RATE)
        heard = both.call('hear', topics, 1.0)
        assert both.call('hear', topics, 0.1) == {topic: [] for topic in topics}
    assert [len(heard[topic]) for topic in topics] == [7, 5]
    for topic in topics:
        (stamps, times), (came, arrived) = np.array(sent[topic]).T, np.array(heard[topic]).T
        np.testing.assert_array_equal(stamps, came[:5])
        assert (np.diff(times) > 0).all()
        assert times[-1] - times[0] >= 0.95 * 4 / RATE * 1e9
        assert (arrived[:5] > times).all()


def test_a_process_that_fails_is_named():
    wrong = {'sent': {}, 'heard': {}, 'reliability': 'often', 'keep': True}
    expected = 'process dds_load; found that it has ended with exit code 1'
    with Helper('dds_load', wrong, {}) as bad, pytest.raises(ProcessError, match=expected):
        bad.call('hear', [], 0.0)
    with pytest.raises(ProcessError, match='process network; found that it has ended'):
        end_to_end_rows(PICTURE, [(36, 48)], model='/nowhere.safetensors', chosen=[BOTH])


# Settings.


def largest_segment(helper: Helper) -> int:
    """Return the bytes of the largest shared memory that a process has open."""
    helper.call('hear', [], 0.0)  # answers once the process has started
    with open(f'/proc/{helper._process.pid}/maps') as maps:
        found = re.findall(r'^(\w+)-(\w+) .*/dev/shm/fast', maps.read(), re.MULTILINE)
    return max(int(end, 16) - int(start, 16) for start, end in found)


def test_the_profile_is_taken_on_the_side_that_it_is_given_to():
    ours, theirs = transports()['profile on the publisher alone']
    # One after the other, as each process also opens the shared memory of the other.
    with start_dds_load({}, [], ours) as publisher:
        assert largest_segment(publisher) >= 64 * 2**20
    with start_dds_load({}, [], theirs) as subscriber:
        assert largest_segment(subscriber) < 2**20


def test_a_transport_chosen_in_the_shell_does_not_get_into_the_rows(monkeypatch):
    for name, value in profile_environment().items():
        monkeypatch.setenv(name, value)
    with start_dds_load({}, [], {}) as plain:
        assert largest_segment(plain) < 2**20


FAULTS = """
import resource
from seg_ros.node.malloc import keep_memory
{call}
for i in range(20):
    if i == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [bytearray(8 << 20) for _ in range(3)]
    del buffers
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc can be told')
def test_kept_memory_is_not_fetched_anew():
    faults = {
        call: int(
            subprocess.run(
                [sys.executable, '-c', FAULTS.format(call=call)],
                capture_output=True, text=True, check=True,
            ).stdout
        )
        for call in ('', 'keep_memory()')
    }  # fmt: skip
    pages = 10 * 3 * (8 << 20) // 4096
    assert faults[''] > pages / 2
    assert faults['keep_memory()'] < pages / 100
