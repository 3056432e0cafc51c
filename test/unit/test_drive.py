# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The scores of drives, compared with exact values for frames made by hand."""

import math

import numpy as np
import pytest

from seg_ros.images.labels import LabelSet
from seg_ros.replay.drive_scores import CameraScores, DriveScores, FrameScores, result

LABELS = LabelSet(('road', 'sky', 'car'), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
SECOND = 10**9
IMAGE = np.zeros((4, 8, 3), np.uint8)


def mask(*ids):
    """Return labels of 4 rows and 8 columns: these ids by column, the last one repeated."""
    row = [*ids, *[ids[-1]] * (8 - len(ids))]
    return np.tile(np.array(row, np.uint8), (4, 1))


def add(camera, seconds, predicted, truth=None, *, ms=10.0, confidence=0.9, flicker=(0, 0)):
    counts = np.bincount(predicted.ravel(), minlength=256)
    stamp = round(seconds * SECOND)
    camera.frames_in += 1
    camera.add(FrameScores(stamp, ms, confidence, *flicker, counts), IMAGE, predicted, truth)


def test_a_drive_by_hand():
    camera = CameraScores('/front', LABELS)
    add(camera, 1, mask(0, 0, 0, 0, 1), mask(0, 0, 0, 0, 1), ms=10, confidence=0.8)
    add(camera, 2, mask(0, 0, 1), mask(0, 0, 0, 0, 1), ms=20, confidence=0.6, flicker=(8, 32))
    add(camera, 3, mask(255), ms=60, confidence=1.0, flicker=(0, 16))
    camera.frames_in += 1
    camera.failed.append('broken')
    found = camera.result()
    assert (found['frames_in'], found['frames_out'], found['labelled']) == (4, 3, 2)
    assert found['latency_ms']['p50'] == 20
    assert found['fps'] == pytest.approx(3 / 0.09)
    # All pixels of both labelled frames in one matrix: road 24 of 32, sky 32 and 8 too many.
    assert found['iou'] == pytest.approx(
        {'road': 24 / 32, 'sky': 32 / 40, 'car': math.nan}, nan_ok=True
    )
    assert found['miou'] == pytest.approx((24 / 32 + 32 / 40) / 2)
    assert found['pixel_accuracy'] == pytest.approx(56 / 64)
    assert found['flicker'] == pytest.approx(8 / 48)
    assert found['confidence'] == pytest.approx(0.8)
    share = {'road': (0.5 + 0.25) / 3, 'sky': (0.5 + 0.75) / 3, 'car': 0, 'unlabeled': 1 / 3}
    assert found['class_share'] == pytest.approx(share)
    assert found['failed'] == ['broken']
    line = found['timeline']
    assert line['stamp_ns'] == [SECOND, 2 * SECOND, 3 * SECOND]
    assert line['miou'] == pytest.approx([1, (0.5 + 2 / 3) / 2, math.nan], nan_ok=True)
    assert line['flicker'] == pytest.approx([math.nan, 0.25, 0], nan_ok=True)


def test_a_drive_without_ground_truth_has_no_miou():
    camera = CameraScores('/front', LABELS)
    add(camera, 1, mask(0))
    found = camera.result()
    assert found['miou'] is found['iou'] is found['pixel_accuracy'] is None
    assert found['flicker'] is None  # there is no frame to compare with
    assert found['timeline']['miou'] is None


def test_fleets_add_up_pixels_and_frames():
    front, rear = CameraScores('/front', LABELS), CameraScores('/rear', LABELS)
    add(front, 1, mask(0), mask(0), ms=10, confidence=1.0, flicker=(1, 4))
    add(rear, 1, mask(1), mask(0), ms=30, confidence=0.5, flicker=(0, 4))
    add(rear, 2, mask(1), mask(1), ms=50, confidence=0.6)
    drives = [
        DriveScores('a', cameras=[front], seconds=2, reference_ms=[3.0, 9.0]),
        DriveScores('b', cameras=[rear], seconds=3, reference_ms=[4.0]),
        DriveScores('c', error='gone'),
    ]
    found = result(drives)
    assert (found['frames_in'], found['frames_out']) == (3, 3)
    assert found['miou'] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert found['flicker'] == 1 / 8
    assert found['confidence'] == pytest.approx(0.7)
    assert found['latency_ms']['p50'] == 30
    assert found['reference_ms'] == 4
    assert (found['seconds'], found['network_seconds']) == (5, pytest.approx(0.09))
    assert [(d['bag'], d['error'], [*d['cameras']]) for d in found['drives']] == [
        ('a', None, ['/front']), ('b', None, ['/rear']), ('c', 'gone', []),
    ]  # fmt: skip
    assert found['drives'][1]['cameras']['/rear']['miou'] == pytest.approx(1 / 4)


def test_stretches_of_low_confidence():
    camera = CameraScores('/front', LABELS)
    unsure = [0.7, 0.9, 0.7, 0.7, 0.9, 0.6, 0.7, 0.74, 0.76, 0.1, 0.2, 0.3, 0.4]
    for i, confidence in enumerate(unsure):
        add(camera, i, mask(0), confidence=confidence)
    assert [(s.first, s.last, pytest.approx(s.confidence)) for s in camera.low_confidence()] == [
        (5, 7, 0.68), (9, 12, 0.25),
    ]  # fmt: skip
    assert camera.result()['low_confidence'][1]['from_ns'] == 9 * SECOND
    assert camera.result()['low_confidence'][1]['frames'] == 4


def test_the_worst_frames_are_no_neighbours_of_each_other():
    camera = CameraScores('/front', LABELS)
    # Two bad stretches of many frames each, and many fair frames.
    for i in range(200):
        seconds = i / 10
        bad = {55: 0.1, 56: 0.05, 57: 0.08, 150: 0.2, 151: 0.3}.get(i, 0.9 + i / 10000)
        add(camera, seconds, mask(0), confidence=bad, flicker=(i % 50, 100))
    worst = camera.worst('confidence')
    assert [(f.place, f.value) for f in worst[:2]] == [(56, 0.05), (150, 0.2)]
    assert len(worst) == 4
    stamps = sorted(f.stamp for f in worst)
    assert min(np.diff(stamps)) >= 2 * SECOND
    flickering = camera.worst('flicker')
    assert [f.value for f in flickering] == [0.49] * 4
    assert [f.place for f in flickering] == [49, 99, 149, 199]
    assert camera.worst('miou') == []  # no frame is labelled
    assert camera.worst('confidence')[0].image.shape == IMAGE.shape


def test_a_worse_neighbour_takes_the_place():
    camera = CameraScores('/front', LABELS)
    for seconds, confidence in ((0, 0.5), (1, 0.4), (1.5, 0.45), (2.5, 0.3)):
        add(camera, seconds, mask(0), confidence=confidence)
    assert [(f.place, f.value) for f in camera.worst('confidence')] == [(3, 0.3)]
