# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The player, heard over DDS: every message, its bytes, its rhythm."""

import signal
import subprocess
import sys
import time

from node_fixtures import wait_until
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from seg_ros.nodes.image_message import to_message
from seg_ros.nodes.player import play, PlayerError
from seg_ros.nodes.recorder import Recorder

PERIOD = 0.05
START = 1_700_000_000_000_000_000


def recording(topic, count=8):
    """Messages 50 ms apart, each image filled with its number."""
    messages = []
    for i in range(count):
        header = Header(frame_id=f'frame_{i}')
        header.stamp.sec, header.stamp.nanosec = 1_700_000_000, int(i * PERIOD * 1e9)
        image = to_message(header, np.full((4, 6), i, np.uint8))
        recorded = START + int(i * PERIOD * 1e9)
        messages.append((topic, 'sensor_msgs/msg/Image', recorded, serialize_message(image)))
    return messages


def test_every_message_arrives_in_the_recorded_rhythm():
    messages = recording('player_test/image')
    published = []
    with Recorder(['player_test/image']) as recorder:
        counts = play(
            lambda: messages,
            rate=2.0,
            wait_for_subscribers=10,
            on_publish=lambda topic, recorded, real: published.append((topic, recorded, real)),
        )
        frames = recorder.frames['player_test/image']
        assert recorder.wait_for(lambda: len(frames) == len(messages), 5)
    assert counts == {'player_test/image': len(messages)}
    assert [frame.frame_id for frame in frames] == [f'frame_{i}' for i in range(len(messages))]
    assert [frame.stamp for frame in frames] == [recorded for _, _, recorded, _ in messages]
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.pixels, np.full((4, 6), i, np.uint8))
    assert [(topic, recorded) for topic, recorded, _ in published] == [m[:3:2] for m in messages]
    seconds = (published[-1][2] - published[0][2]) / 1e9
    # Sleeping never ends early; how late it ends is the machine's.
    assert 0.99 * PERIOD / 2 < seconds / (len(messages) - 1) < 3 * PERIOD


@pytest.mark.parametrize('rate', [0.5, 4.0])
def test_a_recording_that_opens_slowly_keeps_its_rhythm(rate):
    def read():
        time.sleep(0.3)
        yield from messages

    messages = recording('player_test/slow', 4)
    published = []
    play(read, rate=rate, on_publish=lambda topic, recorded, real: published.append(real))
    expected = PERIOD / rate * 1e9
    # Sleeping never ends early, and what is late is not added up.
    assert published[-1] - published[0] >= 0.99 * 3 * expected
    assert (np.diff(published) < expected + 0.1e9).all()
    assert min(np.diff(published)) > expected - 0.1e9
    assert published[1] - published[0] >= 0.9 * expected


def hear_clock(messages, options):
    """Play in another process; return what came on /clock: recorded time and when it arrived."""
    with Recorder([], clock=True) as recorder:
        command = [sys.executable, '-c', PLAY.format(messages=messages, options=options)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            ticks = []
            end = time.monotonic() + 20
            while not has_ended(ticks, messages) and time.monotonic() < end:
                time.sleep(0.02)
                ticks += recorder.take_ticks()
            if 'loop=True' in options:  # or it is ending, and the signal may find Python's exit
                process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        assert wait_until(lambda: not recorder.has_clock())
    return np.array(ticks, np.int64).T


def has_ended(ticks, messages):
    """Say whether the clock has been at the last message twice, or once and then stood still."""
    last = [arrived for recorded, arrived in ticks if recorded == messages[-1][2]]
    return len(last) > 1 or (last and time.time_ns() - last[0] > 0.3e9)


@pytest.mark.parametrize('rate', [0.5, 2.0])
def test_the_clock_ticks_through_the_recorded_time(rate):
    messages = recording('player_test/clocked')
    messages = [messages[0], messages[7]]
    clock, arrived = hear_clock(messages, f'clock=True, rate={rate}')
    assert (np.diff(clock) >= 0).all()
    assert clock[0] >= START
    assert clock[-1] == messages[-1][2]  # as that is published
    assert len(clock) >= 5  # between the two messages, too
    assert np.diff(clock).max() < 0.2e9
    slope = np.polyfit((arrived - arrived[0]) / 1e9, (clock - clock[0]) / 1e9, 1)[0]
    assert slope == pytest.approx(rate, rel=0.2)


def test_the_clock_of_a_loop_starts_over():
    messages = recording('player_test/rounds', 5)
    clock, _ = hear_clock(messages, 'clock=True, loop=True, rate=2.0')
    first, second, *_ = np.split(clock, np.flatnonzero(np.diff(clock) < 0) + 1)
    assert first[-1] == messages[-1][2]
    for _, _, recorded, _ in messages:  # each is dated as it is published
        assert recorded in second
    assert second.min() == START


# A shell's background jobs ignore SIGINT, and so would what they start: tests, too, run there.
PLAY = """
import signal
from seg_ros.nodes.player import play
signal.signal(signal.SIGINT, signal.default_int_handler)
print('playing', flush=True)
print(play(lambda: {messages!r}, {options}, wait_for_subscribers=1))
"""


def test_a_loop_goes_on_until_interrupted_and_ends_cleanly():
    messages = recording('player_test/looped', 2)
    process = subprocess.Popen(
        [sys.executable, '-c', PLAY.format(messages=messages, options='loop=True')],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process, Recorder(['player_test/looped']) as recorder:
        frames = recorder.frames['player_test/looped']
        try:
            assert recorder.wait_for(lambda: len(frames) >= 5, 20)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=20)
        finally:
            process.kill()
        assert process.returncode == 0, errors
    count = int(output.split(': ')[-1].strip('}\n'))
    assert count >= len(frames) >= 5
    assert [frame.frame_id for frame in frames[:4]] == ['frame_0', 'frame_1'] * 2


@pytest.mark.parametrize(
    ('messages', 'rate', 'expected'),
    [
        ([], 1, 'expected messages to play; found none'),
        (recording('a'), 0, 'expected a rate above 0; found 0'),
        (recording('a'), float('nan'), 'expected a rate above 0; found nan'),
        ([('a', 'robots_msgs/msg/Arm', 0, b'')], 1, 'Install the package robots_msgs'),
        ([('a', 'sensor_msgs/msg/Smell', 0, b'')], 1, 'sensor_msgs/msg/Smell to be installed'),
    ],
)
def test_errors(messages, rate, expected):
    with pytest.raises(PlayerError, match=expected):
        play(lambda: messages, rate=rate)
