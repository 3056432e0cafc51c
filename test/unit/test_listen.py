# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The listener: what it learns from /clock, what a subscriber saw, and mistakes of its user."""

import json
from pathlib import Path
import re

from listen_fixtures import bag_fixture, IMAGES, LABELS, MS, RECORDED, SECOND, write_drive  # noqa: F401
import numpy as np
import pytest

from seg_ros.__main__ import main
from seg_ros.datasets.mappings import common_classes
from seg_ros.images.labels import CAMVID, CITYSCAPES
from seg_ros.replay.live.bag_clock import BagClock
from seg_ros.replay.live.live_drive import Drive, match
from seg_ros.replay.live.live_evaluation import LiveEvaluation

NOW = 1_700_000_000 * SECOND


# What the clock teaches.


def hear(clock, begin, seconds, rate, *, start=RECORDED, period=25 * MS, delays=(0,)):
    """Let /clock run for some recorded seconds; its messages are `delays` late, in turn."""
    for i in range(round(seconds * SECOND / rate / period) + 1):
        clock.tick(start + round(i * period * rate), begin + i * period + delays[i % len(delays)])


@pytest.mark.parametrize('rate', [0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize('delays', [(0,), (20 * MS, 0, 7 * MS, 35 * MS)])
def test_a_prompt_message_on_the_clock_dates_its_neighbours(rate, delays):
    clock = BagClock()
    hear(clock, NOW, 10, rate, delays=delays)
    recorded = RECORDED + np.arange(0, 10 * SECOND, 333 * MS + 1)
    places, moments = clock.played(recorded.tolist())
    np.testing.assert_array_equal(places, np.arange(len(recorded)))
    expected = NOW + (recorded - RECORDED) / rate
    # The floats of this line hold 200 ns.
    np.testing.assert_allclose(moments - NOW, expected - NOW, atol=300)
    assert clock.rounds == 1


def test_delays_at_random_hardly_matter():
    clock, random = BagClock(), np.random.default_rng(0)
    hear(clock, NOW, 20, 1.0, delays=random.exponential(5 * MS, 801).astype(int).tolist())
    recorded = np.arange(0, 20 * SECOND, 100 * MS)
    _, moments = clock.played((RECORDED + recorded).tolist())
    errors = moments - NOW - recorded
    assert abs(np.median(errors)) < 0.5 * MS  # of 5 ms on average
    assert abs(errors).max() < 3 * MS


def test_each_round_has_its_own_begin():
    clock = BagClock()
    begins = [NOW, NOW + 1500 * MS, NOW + 60 * SECOND]
    for begin in begins:
        hear(clock, begin, 1, 1.0)
    recorded = [RECORDED + 900 * MS, RECORDED, RECORDED + 450 * MS]  # in any order
    places, moments = clock.played(recorded)
    assert clock.rounds == 3
    assert places.tolist() == [1, 2, 0] * 3
    assert (moments - np.repeat(begins, 3)).tolist() == [0, 450 * MS, 900 * MS] * 3


def test_only_what_was_played_while_the_clock_was_heard_counts():
    clock = BagClock()
    hear(clock, NOW, 2, 1.0, start=RECORDED + 3 * SECOND)
    recorded = [RECORDED + i * SECOND // 2 for i in range(20)]
    places, moments = clock.played(recorded)
    assert places.tolist() == [6, 7, 8, 9, 10]
    assert (moments - NOW).tolist() == [i * SECOND // 2 for i in range(5)]
    # Up to a step of 25 ms before its first message, and after its last, it ran already.
    edges = [RECORDED + 3 * SECOND - 26 * MS, RECORDED + 3 * SECOND - 25 * MS]
    edges += [RECORDED + 5 * SECOND + 25 * MS, RECORDED + 5 * SECOND + 26 * MS]
    places, moments = clock.played(edges)
    assert places.tolist() == [1, 2]
    assert (moments - NOW).tolist() == [-25 * MS, 2025 * MS]


def test_a_clock_that_waits_goes_on_from_its_latest_message():
    clock = BagClock()
    for i in range(80):  # as `ros2 bag play --delay 2` does
        clock.tick(RECORDED, NOW + i * 25 * MS)
    hear(clock, NOW + 80 * 25 * MS, 1, 1.0)
    _, moments = clock.played([RECORDED, RECORDED + 100 * MS])
    assert (moments - NOW).tolist() == [2000 * MS, 2100 * MS]
    assert clock.rounds == 1


def test_a_slow_clock_and_a_single_message():
    clock = BagClock()
    hear(clock, NOW, 8, 2.0, period=SECOND, delays=(0, 300 * MS))  # every second one is late
    _, moments = clock.played([RECORDED + 3 * SECOND, RECORDED + 5100 * MS])
    assert (moments - NOW).tolist() == [1500 * MS, 2550 * MS]
    clock = BagClock()
    assert [column.tolist() for column in clock.played([RECORDED])] == [[], []]
    clock.tick(RECORDED, NOW)
    assert [column.tolist() for column in clock.played([RECORDED, 0])] == [[0], [NOW]]


# What a subscriber saw.


def evaluation(stamps, masks):
    heard = LiveEvaluation(CAMVID, stamps)
    for stamp, received in masks:
        heard.add_mask(stamp, received, np.zeros((2, 3), np.uint8))
    return heard


def test_figures_of_a_drive():
    stamps = list(range(100, 111))
    played = [NOW + i * 100 * MS for i in range(11)]
    ages = [40, 50, 60, None, None, 70, 80, 90, 100, 110, None]
    masks = [(s, p + age * MS) for s, p, age in zip(stamps, played, ages) if age]
    answers = evaluation(stamps, masks).answers(stamps, played)
    assert [None if np.isnan(age) else age for age in answers.age_ms] == ages
    assert answers.timing() == {
        'frames_in': 11,
        'frames_out': 8,
        'dropped': 3,
        'age_ms': {'p50': 75.0, 'p95': pytest.approx(106.5), 'p99': pytest.approx(109.3)},
        'rate_hz': pytest.approx(80 / 11),  # 10 images a second, of which 8 in 11
        'played_hz': pytest.approx(10),
        'longest_gap_ms': 310.0,  # from 260 to 570 ms
    }


def test_a_node_that_ends_leaves_a_gap_up_to_the_end_of_the_drive():
    stamps = [1, 2, 3, 4]
    played = [NOW + i * SECOND for i in range(4)]
    answers = evaluation(stamps, [(1, NOW + 100 * MS)]).answers(stamps, played)
    assert answers.timing()['longest_gap_ms'] == 2900.0
    answers = evaluation(stamps, []).answers(stamps, played)
    assert answers.timing()['longest_gap_ms'] == 3000.0
    assert answers.timing()['age_ms'] == {'p50': None, 'p95': None, 'p99': None}
    nothing = evaluation(stamps, []).answers([], []).timing()
    assert nothing['frames_in'] == 0 and nothing['rate_hz'] is nothing['longest_gap_ms'] is None


def test_a_mask_answers_the_latest_image_of_its_stamp():
    stamps, rounds = [1, 2], 3
    played = [NOW + i * 500 * MS for i in range(2 * rounds)]
    masks = [
        (1, NOW + 30 * MS),
        (2, NOW + 1100 * MS),  # late: the next round has begun
        (1, NOW + 1030 * MS),
        (1, NOW + 1040 * MS),  # twice the same: not another image's
        (3, NOW + 1200 * MS),  # no image of the drive
        (2, NOW + 2495 * MS),  # 5 ms early, as moments are estimates
    ]
    answers = evaluation(stamps, masks).answers(stamps * rounds, played)
    assert answers.age_ms[[0, 1, 2, 5]].tolist() == [30, 600, 30, -5]
    assert np.isnan(answers.age_ms[[3, 4]]).all()


def test_an_interruption_drops_nothing_that_is_on_its_way():
    # The stamps are the camera's, the recorded times those of the computer that recorded.
    drive = Drive([7, 8, 9, 10], [RECORDED + i * SECOND for i in range(4)], [IMAGES])
    clock = BagClock()
    hear(clock, NOW, 2.5, 1.0)
    heard = evaluation(drive.stamps, [(7, NOW + 10 * MS)])
    answers = match(drive, heard, clock)
    assert answers.stamps.tolist() == [7, 8, 9]
    assert answers.answered.tolist() == [True, False, False]
    answers = match(drive, heard, clock, interrupted_at=NOW + 2500 * MS)
    assert answers.stamps.tolist() == [7, 8]


def test_each_label_is_compared_once():
    truth = [(1, np.full((2, 3), 4, np.uint8)), (2, np.full((2, 3), 5, np.uint8))]
    heard = LiveEvaluation(CAMVID, [1, 2, 3], truth)
    for stamp, of_class in ((1, 4), (1, 0), (2, 4), (3, 4), (1, 0), (2, 0)):
        heard.add_mask(stamp, NOW, np.full((2, 3), of_class, np.uint8))
    iou = heard.scores()['iou']
    assert iou[CAMVID.names[4]] == 0.5  # 6 pixels of 12: those of later masks are not there
    assert iou[CAMVID.names[5]] == 0.0
    assert np.isnan(iou[CAMVID.names[0]])


def test_a_network_of_finer_classes_is_scored_in_those_of_the_labels():
    common = common_classes(CITYSCAPES, CAMVID, '', 'net', 'drive')
    car, person = (CAMVID.names.index(name) for name in ('car', 'pedestrian'))
    truth = [(1, np.array([[car, car, person, 255]], np.uint8))]
    heard = LiveEvaluation(CITYSCAPES, [1], truth, common)
    said = [CITYSCAPES.names.index(name) for name in ('car', 'truck', 'road', 'sky')]
    heard.add_mask(1, NOW, np.array([said], np.uint8))
    iou = heard.scores()['iou']
    assert list(iou) == list(CAMVID.names)
    assert (iou['car'], iou['pedestrian'], iou['road']) == (1.0, 0.0, 0.0)
    assert heard.scores()['miou'] == pytest.approx(1 / 3)
    shown = heard.shown[1]['ground truth'][0]
    assert tuple(shown[0]) == CITYSCAPES.palette[CITYSCAPES.names.index('car')]


def test_the_frames_in_the_report_are_spread_evenly_in_time():
    """Seven seconds with a frame a second, and then seven with a hundred."""
    slow = range(0, 7 * SECOND, SECOND)
    fast = range(7 * SECOND, 14 * SECOND + 1, SECOND // 100)
    shown = LiveEvaluation(CAMVID, [*slow, *fast]).shown
    assert list(shown) == [second * SECOND for second in (2, 4, 6, 8, 10, 12)]


def test_masks_that_are_smaller_than_the_labels():
    heard = LiveEvaluation(CAMVID, [1], [(1, np.zeros((4, 6), np.uint8))])
    with pytest.raises(ValueError, match='size, 6x4; found 3x2. .* output_size to camera'):
        heard.add_mask(1, NOW, np.zeros((2, 3), np.uint8))


# The command.


@pytest.mark.parametrize(
    ('options', 'made', 'said'),
    [
        (['--topic', '/rear'], {}, f'expected the image topic /rear; found {IMAGES}'),
        (['--labels', '/ids'], {}, f'expected the image topic /ids; found {IMAGES}'),
        (['--labels', LABELS], {'label_size': (60, 80)}, 'size, 160x120, on .*; found 80x60'),
        ([], {'same_stamps': True}, 'expected each image .* found 1 stamps of 3 images'),
        ([], {'cut': True}, 'drive: expected a whole recording; found '),
        (['--model', 'best_net'], {}, 'expected a shipped network'),
        (['--check', '--device', 'tpu'], {}, "device: expected auto .* found 'tpu'"),
    ],
)
def test_mistakes_are_found_before_it_listens(options, made, said, tmp_path, capsys):
    bag = write_drive(tmp_path / 'drive', 3, **made)
    assert main(['listen', str(bag), *options]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_dry_run_names_the_topics_to_play(bag, tmp_path, capsys):
    assert main(['listen', str(bag), '--dry-run', '--json', str(tmp_path / 'result.json')]) == 0
    assert capsys.readouterr().out == f'{IMAGES}\n/camera/camera_info\n'
    expected = {'topics': [IMAGES, '/camera/camera_info']}
    assert json.loads((tmp_path / 'result.json').read_text()) == expected
    assert main(['listen', str(Path('/no/bag')), '--dry-run']) == 2
    assert '/no/bag: expected a bag; found nothing there' in capsys.readouterr().err
