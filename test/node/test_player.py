# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The player, heard over DDS: every message, its bytes, its rhythm."""

import signal
import subprocess
import sys
import time

import numpy as np
from player_fixtures import hear_clock, PERIOD, PLAY, recording, START
import pytest

from seg_ros.replay.live import player
from seg_ros.replay.live.player import play, PlayerError
from seg_ros.replay.live.recorder import Recorder


class Steady:
    """Time in which nothing but sleeping takes any; it also passes in fact."""

    def __init__(self):
        self.now = 1000.0

    def sleep(self, seconds):
        time.sleep(seconds)
        self.now += seconds


@pytest.fixture
def steady(monkeypatch):
    """Let the player's time be one that a busy machine holds, too."""
    steady = Steady()
    monkeypatch.setattr(player, 'sleep', steady.sleep)
    monkeypatch.setattr(player, 'monotonic', lambda: steady.now)
    monkeypatch.setattr(player, 'time_ns', lambda: round(steady.now * 1e9))
    return steady


def test_every_message_arrives_in_the_recorded_rhythm(steady):
    messages = recording('player_test/image')
    published = []
    with Recorder(['player_test/image']) as recorder:
        counts = play(
            lambda: messages,
            rate=2.0,
            wait_for_subscribers=60,
            on_publish=lambda topic, recorded, real: published.append((topic, recorded, real)),
        )
        frames = recorder.frames['player_test/image']
        assert recorder.wait_for(lambda: len(frames) == len(messages), 60)
    assert counts == {'player_test/image': len(messages)}
    assert [frame.frame_id for frame in frames] == [f'frame_{i}' for i in range(len(messages))]
    assert [frame.stamp for frame in frames] == [recorded for _, _, recorded, _ in messages]
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.pixels, np.full((4, 6), i, np.uint8))
    assert [(topic, recorded) for topic, recorded, _ in published] == [m[:3:2] for m in messages]
    moments = np.array([real for _, _, real in published])
    np.testing.assert_allclose(np.diff(moments), PERIOD / 2 * 1e9, atol=1e3)


@pytest.mark.parametrize('rate', [0.5, 4.0])
def test_a_recording_that_opens_slowly_keeps_its_rhythm(rate, steady):
    def read():
        steady.sleep(0.3)
        yield from messages

    messages = recording('player_test/slow', 4)
    published = []
    play(read, rate=rate, on_publish=lambda topic, recorded, real: published.append(real))
    np.testing.assert_allclose(np.diff(published), PERIOD / rate * 1e9, atol=1e3)


def test_what_is_late_is_not_added_up(steady):
    """The third message holds up the player for longer than a period."""

    def on_publish(topic, recorded, real):
        published.append(real)
        if len(published) == 3:
            steady.sleep(1.6 * PERIOD)

    messages = recording('player_test/late', 6)
    published = []
    play(lambda: messages, on_publish=on_publish)
    expected = [0, 1, 2, 3.6, 4, 5]
    np.testing.assert_allclose(
        np.array(published) - published[0], np.array(expected) * PERIOD * 1e9, atol=1e3
    )


def test_the_clock_of_a_loop_starts_over():
    messages = recording('player_test/rounds', 5)
    clock, _ = hear_clock(messages, 'clock=True, loop=True, rate=2.0')
    first, second, *_ = np.split(clock, np.flatnonzero(np.diff(clock) < 0) + 1)
    assert first[-1] == messages[-1][2]
    for _, _, recorded, _ in messages:  # each is dated as it is published
        assert recorded in second
    assert second.min() == START


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
            assert recorder.wait_for(lambda: len(frames) >= 5, 60)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
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
