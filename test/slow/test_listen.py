# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The listener where the node ends midway, and where a bag is played in a loop."""

import json
import signal

from listen_fixtures import (  # noqa: F401
    bag_fixture,
    checkpoint_fixture,
    FRAMES,
    listen,
    MASKS,
    node_fixture,
    play,
    write_drive,
)
from node_fixtures import NodeProcess
import pytest

from seg_ros.bags.bag import read_labels
from seg_ros.replay.live.recorder import Recorder


def test_a_node_that_ends_midway_drops_the_rest(checkpoint, tmp_path):
    frames = 24
    images, topic = '/front/image_raw', '/front/segmentation/mask'
    bag = write_drive(tmp_path / 'drive', frames, images)
    with NodeProcess(model=checkpoint, device='cpu', cameras='[front]') as node:
        node.wait_for_log('subscribing')
        (listener,) = listen(
            (bag, '--topic', images, '--mask', topic, '--json', tmp_path / 'result.json')
        )
        with Recorder([topic]) as recorder:
            player = play(bag, '--best-effort', images=images)
            masks = recorder.frames[topic]
            assert recorder.wait_for(lambda: len(masks) >= 6, 60)
            node.send_signal(signal.SIGINT)
            code, said = listener.end()
            assert player.end()[0] == 0
    assert code == 0, said
    result = json.loads((tmp_path / 'result.json').read_text())
    assert 6 <= result['frames_out'] < frames
    assert (result['frames_in'], result['frames_out']) == (frames, len(masks))
    assert result['dropped'] == frames - len(masks)
    assert result['longest_gap_ms'] > 100 * (result['dropped'] - 1)
    assert result['rate_hz'] == pytest.approx(result['played_hz'] * len(masks) / frames)


def test_a_loop_is_counted_in_rounds_until_interrupted(node, bag, checkpoint, tmp_path):
    options = ['--model', checkpoint, '--device', 'cpu', '--check']
    listeners = listen(
        *((bag, *options, '--out', tmp_path / name) for name in ('interrupt', 'terminate'))
    )
    with Recorder([MASKS]) as recorder:
        player = play(bag, '--loop', '--rate', '2')
        masks = recorder.frames[MASKS]
        assert recorder.wait_for(lambda: len(masks) >= 2 * FRAMES + 4, 60)
    for listener, number in zip(listeners, (signal.SIGINT, signal.SIGTERM)):
        listener.send_signal(number)
    player.send_signal(signal.SIGINT)
    assert player.end()[0] == 0
    for listener, name in zip(listeners, ('interrupt', 'terminate')):
        code, said = listener.end()
        assert code == 0, said
        report = json.loads((tmp_path / name / 'report.json').read_text())
        assert report['rounds'] >= 3
        assert 2 * FRAMES < report['frames_in'] <= report['rounds'] * FRAMES
        assert report['frames_in'] / 2 < report['frames_out'] <= report['frames_in']
        assert 18 < report['played_hz'] < 22
        received = [stamp for stamp, _ in read_labels(tmp_path / name / 'received', MASKS)]
        assert FRAMES / 2 < len(set(received)) == len(received) <= FRAMES  # of the first round
        # Who terminates does not wait for what takes long.
        compared = len(received) if name == 'interrupt' else 0
        assert (report['check']['compared'], report['check']['different']) == (compared, 0)
        assert 'as offline' in said
        assert '<svg' in (tmp_path / name / 'report.html').read_text()
