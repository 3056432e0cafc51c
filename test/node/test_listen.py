# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The listener: what it says of a node that a bag is played to, each a process."""

import json
import re
from time import monotonic

from listen_fixtures import (  # noqa: F401
    bag_fixture,
    checkpoint_fixture,
    FRAMES,
    IMAGES,
    LABELS,
    listen,
    MASKS,
    node_fixture,
    OVERLAYS,
    play,
)
from node_fixtures import make_checkpoint
import numpy as np
import pytest

from seg_ros.__main__ import main
from seg_ros.bags.bag import read_images, read_labels, topics
from seg_ros.images.labels import CAMVID
from seg_ros.inference.segmenter import Segmenter
from seg_ros.metrics.confusion_matrix import ConfusionMatrix


def test_what_came_is_told_recorded_and_compared(node, bag, checkpoint, tmp_path):
    other = make_checkpoint(tmp_path / 'other.safetensors', 2)
    right = ['--model', checkpoint, '--device', 'cpu', '--check']
    out = tmp_path / 'out'
    listeners = listen(
        (bag, '--labels', LABELS, '--out', out, '--overlay', OVERLAYS, *right),
        (bag, '--model', other, '--device', 'cpu', '--check'),
        (bag, '--mask', '/nobody/mask', '--json', tmp_path / 'none.json'),
    )
    start = monotonic()
    assert play(bag, '--rate', '0.5').end()[0] == 0
    code, said = listeners[0].end()
    whole = 1e3 * (monotonic() - start)
    assert code == 0, said
    assert f'{FRAMES} of {FRAMES} images answered, 0 dropped; age p50 ' in said
    assert f'; {FRAMES} of {FRAMES} as offline' in said
    report = json.loads((out / 'report.json').read_text())
    assert (report['frames_in'], report['frames_out'], report['dropped']) == (FRAMES, FRAMES, 0)
    assert report['rounds'] == 1
    assert report['check']['compared'] == FRAMES and report['check']['different'] == 0
    assert 0 < report['age_ms']['p50'] <= report['age_ms']['p99'] < whole
    assert 4.5 < report['played_hz'] < 5.5
    assert report['rate_hz'] == pytest.approx(report['played_hz'])
    assert 190 <= report['longest_gap_ms'] < whole
    # What was recorded is what the network says, and scored as that is.
    segmenter, matrix = Segmenter(checkpoint, device='cpu'), ConfusionMatrix(len(CAMVID))
    expected = {stamp: segmenter.predict(image).labels for stamp, _, image in read_images(bag)}
    received = dict(read_labels(out / 'received', MASKS))
    assert received.keys() == expected.keys()
    for stamp, truth in read_labels(bag, LABELS):
        np.testing.assert_array_equal(received[stamp], expected[stamp])
        matrix.update(expected[stamp], truth)
    assert report['miou'] == matrix.miou()
    assert set(topics(out / 'received')) == {MASKS, OVERLAYS}
    page = (out / 'report.html').read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing from elsewhere
    assert page.count('<img') >= 12  # mask, truth and mostly overlay of six frames
    assert page.count('<svg') == 4

    code, said = listeners[1].end()
    assert code == 1
    assert f'found {FRAMES} of {FRAMES} different, at 1600000000.000000000, 1600000000.1' in said
    code, said = listeners[2].end()
    assert code == 1
    assert f'expected masks on /nobody/mask for {FRAMES} images of {IMAGES}; found none' in said
    assert json.loads((tmp_path / 'none.json').read_text())['dropped'] == FRAMES


def test_without_a_clock_it_says_so(bag, tmp_path, capsys):
    out = tmp_path / 'out'
    assert main(['listen', str(bag), '--timeout', '0.5', '--out', str(out)]) == 1
    said = capsys.readouterr().err
    assert 'expected the recorded time on /clock within 0.5 s; found none' in said
    assert 'with --clock' in said
    assert not list(out.iterdir())
