# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says, by a clock that stands still until it is told to go on."""

from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from itertools import count, pairwise
from mmap import mmap
import os
from pathlib import Path
import re
import shutil
import sys
from threading import Event, Thread
import tracemalloc

from diagnostic_msgs.msg import DiagnosticStatus
from node_fixtures import make_checkpoint
import numpy as np
import pytest
import torch
import yaml

from seg_ros.inference.checkpoint import find_checkpoint, load_checkpoint, shipped_models
from seg_ros.inference.segmentation import Segmentation
from seg_ros.inference.segmenter import Segmenter
from seg_ros.node.dds_profile import check_profile, PROFILE_VARIABLES, TRANSPORTS_VARIABLE
from seg_ros.node.diagnostics.diagnostic_status import make_status, Problem
from seg_ros.node.diagnostics.health import CameraHealth, NetworkHealth, Thresholds
from seg_ros.node.diagnostics.image_statistics import image_statistics
from seg_ros.node.diagnostics.model_file import ModelFile
from seg_ros.node.diagnostics.process_metadata import cuda_memory, process_metadata
from seg_ros.node.diagnostics.sliding_window import percentile
from seg_ros.node.parameters import PARAMETERS

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
PREFIX = 'diagnostics.'
LIMITS = Thresholds(
    **{
        parameter.name.removeprefix(PREFIX): parameter.default
        for parameter in PARAMETERS
        if parameter.name.startswith(PREFIX)
    }
)
RNG = np.random.default_rng(6)
PICTURES = RNG.integers(30, 220, (16, 48, 64, 3), np.uint8)
ROOT = Path(__file__).parents[2]
PROFILE = ROOT / 'config/fastdds_large_images.xml'


class Watched:
    """A camera's health, and the clock that it goes by; it answers eight frames a second."""

    def __init__(self):
        self.now = 1000.25
        self.health = CameraHealth('front', lambda: self.now)
        self.frames = 0

    def wait(self, seconds):
        self.now += seconds

    def answer(self, age=0.0625, late=False, picture=None, low=0.25):
        """Receive and answer one frame, of another picture than before unless it is given."""
        self.frames += 1
        self.health.received()
        seen = Segmentation(np.zeros((1, 1), np.uint8), None, 0.75, low)
        image = PICTURES[self.frames % len(PICTURES)] if picture is None else picture
        self.health.published(age, late, image, seen)

    def run(self, seconds, **facts):
        for _ in range(round(seconds * 8)):
            self.wait(1 / 8)
            self.answer(**facts)

    def status(self, watched=True, **limits):
        return self.health.status('node', replace(LIMITS, **limits), watched)

    def values(self):
        return {item.key: item.value for item in self.status().values}


@pytest.fixture
def camera():
    return Watched()


# A camera's figures


def test_a_camera_that_is_answered_is_well(camera):
    camera.health.topic = '/front/image_raw'
    camera.run(20)
    status, values = camera.status(), camera.values()
    assert (status.level, status.name, status.hardware_id) == (OK, 'node: camera front', 'front')
    rates = [float(values.pop(f'{way} rate (Hz)')) for way in ('input', 'output')]
    assert rates == pytest.approx([8, 8], abs=0.2)
    assert status.message == 'answering {:.1f} of {:.1f} images a second'.format(*rates)
    assert 100 < float(values.pop('brightness (0-255)')) < 150
    assert values == {
        'topic': '/front/image_raw',
        'received': '160',
        'processed': '160',
        'replaced': '0',
        'too old': '0',
        'failed': '0',
        'last image (s ago)': '0.000',
        'unanswered for (s)': '',
        'age p50 (ms)': '62.500',
        'age p95 (ms)': '62.500',
        'age p99 (ms)': '62.500',
        'ages not believed': '0',
        'late share': '0.000',
        'failed share': '0.000',
        'too old share': '0.000',
        'last too old (ms)': '',
        'replaced share': '0.000',
        'last failure': '',
        'last failure (s ago)': '',
        'QoS problem': '',
        'image size': '64x48',
        'saturated share': '0.000',
        'same picture for (s)': '0.000',
        'mean confidence': '0.750',
        'low confidence share': '0.250',
        'low confidence rise': '0.000',
    }


def test_what_becomes_of_frames_is_counted(camera):
    for _ in range(8):
        camera.health.received()
    for _ in range(3):
        camera.health.replaced()
    camera.health.too_old(1.5)
    camera.health.failed('no image')
    camera.health.failed('  the network\n overflows ')
    camera.answer(late=True)
    camera.answer()
    assert camera.health.counts == {
        'received': 10,
        'processed': 2,
        'replaced': 3,
        'too_old': 1,
        'failed': 2,
    }
    camera.wait(4)
    values = camera.values()
    assert {key: values[key] for key in values if 'share' in key or 'last' in key} == {
        'last image (s ago)': '4.000',
        'late share': '0.500',
        'failed share': '0.500',
        'too old share': '0.200',
        'last too old (ms)': '1500.000',
        'replaced share': '0.300',
        'last failure': 'the network overflows',
        'last failure (s ago)': '4.000',
        'saturated share': '',
        'low confidence share': '0.250',
    }
    camera.wait(20)
    values = camera.values()
    assert [values[key] for key in ('received', 'failed share', 'age p50 (ms)')] == ['10', '', '']


def test_rates_are_of_the_last_ten_seconds(camera):
    camera.run(0.5)
    assert camera.values()['input rate (Hz)'] == '', 'too early to tell'
    camera.run(30)
    for _ in range(20 * 4):
        camera.wait(1 / 4)
        camera.health.received()
        camera.health.received()
        camera.answer()
    values = camera.values()
    assert float(values['input rate (Hz)']) == pytest.approx(12, abs=0.5)
    assert float(values['output rate (Hz)']) == pytest.approx(4, abs=0.2)
    camera.wait(11)
    values = camera.values()
    assert (values['input rate (Hz)'], values['output rate (Hz)']) == ('0.000', '0.000')


def test_percentiles_are_of_the_ages_of_the_last_ten_seconds(camera):
    camera.run(5, age=3.0)
    camera.wait(10)
    for age in RNG.permutation(np.arange(1, 101) / 1000):
        camera.wait(1 / 32)
        camera.answer(age=age)
    values = camera.values()
    found = [values[f'age p{percent} (ms)'] for percent in (50, 95, 99)]
    assert found == ['50.000', '95.000', '99.000']


@pytest.mark.parametrize('count', [1, 2, 3, 7, 100, 101])
def test_a_percentile_is_a_value_that_occurred(count):
    ordered = sorted(RNG.random(count))
    for share in (0.0, 0.5, 0.95, 0.99, 1.0):
        found = percentile(ordered, share)
        assert found in ordered
        assert sum(value <= found for value in ordered) / count >= share
        assert sum(value < found for value in ordered) / count <= share
    assert percentile([], 0.5) is None


def test_ages_after_a_jump_of_the_clock_are_left_out(camera):
    camera.run(2, age=-0.5)  # clocks of two computers, a little apart
    for age in (float('nan'), float('inf'), float('-inf'), -1.7e9, 1.7e9, -1.01, 3600.5):
        camera.answer(age=age)
    values = camera.values()
    assert values['age p99 (ms)'] == '-500.000'
    assert values['ages not believed'] == '7'
    assert camera.status().level == OK, 'nobody asked for a limit'
    for status in (camera.status(max_age_ms=100),):
        assert status.level == WARN
        assert status.message.startswith('7 frames have stamps that do not go with')
        assert 'use_sim_time' in status.message
    camera.health.too_old(float('nan'))
    camera.health.too_old(float('inf'))
    assert camera.values()['last too old (ms)'] == 'inf'


def test_absurd_ages_make_no_frame_late_without_a_word_on_why(camera):
    camera.run(2, age=1.7e9, late=True)
    status = camera.status()
    assert status.level == WARN
    assert status.message.index('do not go with') < status.message.index('later than deadline_ms')


# Levels


def half_white():
    picture = np.full((64, 64, 3), 100, np.uint8)
    picture[:, ::2] = 255
    return picture


GRAY = np.full((40, 30, 3), 100, np.uint8)

BORDERS = {
    'max_failed': (0.25, 0.249, '25.0% of the frames failed, the last with: it broke'),
    'max_replaced': (0.5, 0.499, '50.0% of the images were replaced'),
    'max_late': (0.25, 0.249, '25.0% of the masks came later than deadline_ms'),
    'max_age_ms': (63, 62, 'p95 of the age at publish is 62 ms; expected at most 62'),
    'min_brightness': (100.0, 100.1, 'black: a mean brightness of 100.0 of 255; expected at'),
    'max_saturated': (0.5, 0.499, 'saturated: 50.0% of the pixels are white; expected at most'),
    'max_low_confidence': (0.25, 0.249, 'low confidence in 25.0% of the pixels; expected at'),
    'frozen_ms': (3000, 2999, 'frozen: the same picture for 3.0 s, though new images come'),
}


def go_wrong(camera, limit):
    """Let the camera be at the limit of :data:`BORDERS`."""
    if limit == 'max_failed':
        for i in range(8):
            camera.health.failed('it broke') if i % 4 == 0 else camera.answer()
    elif limit == 'max_replaced':
        for _ in range(8):
            camera.answer()
            camera.health.received()
            camera.health.replaced()
    elif limit == 'max_late':
        for i in range(8):
            camera.answer(late=i % 4 == 0)
    elif limit == 'max_saturated':
        camera.answer(picture=half_white())
    elif limit == 'min_brightness':
        camera.answer(picture=GRAY)
    elif limit == 'frozen_ms':
        camera.answer()
        camera.run(3, picture=PICTURES[camera.frames % len(PICTURES)])
    else:
        camera.answer()


@pytest.mark.parametrize('limit', BORDERS)
def test_a_limit_is_still_well_and_beyond_it_is_a_warning(camera, limit):
    within, beyond, message = BORDERS[limit]
    go_wrong(camera, limit)
    assert camera.status(**{limit: within}).level == OK
    status = camera.status(**{limit: beyond})
    assert status.level == WARN
    assert status.message.startswith(message)
    assert '|' not in status.message, 'more than one problem'


def test_too_few_masks_once_there_was_time_for_them(camera):
    camera.run(9)
    assert camera.status(min_rate=30.0).level == OK
    camera.run(11)
    camera.wait(1 / 8)  # so that it is from the first of these frames to where one is due
    assert camera.values()['output rate (Hz)'] == '8.000'
    assert camera.status(min_rate=8.0).level == OK
    status = camera.status(min_rate=8.001)
    assert status.level == WARN
    assert status.message.startswith('8.0 masks a second of 8.0 images; expected at least 8.001')
    camera.wait(5)
    status = camera.status(min_rate=8.0)
    assert status.level == STALE
    assert '|' not in status.message, 'the reason is said'


def test_a_camera_that_never_came_is_stale_and_its_topic_is_named(camera):
    camera.health.topic = '/front/image_raw'
    status = camera.status()
    assert status.level == STALE
    assert status.message.startswith('waiting for the first image on /front/image_raw. Check that')
    camera.answer()
    assert camera.status().level == OK


def test_a_camera_that_stops_is_stale_until_it_comes_back(camera):
    camera.run(5)
    camera.wait(2)
    assert camera.status().level == OK
    camera.wait(1 / 8)
    status = camera.status()
    assert status.level == STALE
    assert status.message.startswith('no image on front for 2.1 s. Check the camera')
    camera.wait(100)
    assert camera.status().message.startswith('no image on front for 102.1 s')
    camera.answer()
    assert camera.status().level == OK


def test_qos_that_does_not_fit_is_said_whether_images_come_or_not(camera):
    camera.health.qos_problem = 'a publisher offers best effort only; set reliability to auto'
    status = camera.status()
    assert status.level == STALE
    assert status.message.startswith('waiting for the first image on front. ')
    assert status.message.endswith(f' | {camera.health.qos_problem}')
    camera.answer()  # of another publisher
    status = camera.status()
    assert (status.level, status.message) == (WARN, camera.health.qos_problem)
    assert camera.values()['QoS problem'] == camera.health.qos_problem
    camera.health.qos_problem = ''
    assert camera.status().level == OK


def test_where_all_frames_fail_it_is_an_error(camera):
    camera.run(5)
    for _ in range(80):
        camera.wait(1 / 8)
        camera.health.received()
        camera.health.failed('CUDA out of memory')
    for limit in (0.0, 1.0):
        status = camera.status(max_failed=limit)
        assert status.level == ERROR
        assert status.message == (
            'every frame of the last 10 s failed, the last with: CUDA out of memory'
        )
    camera.run(1)
    status = camera.status()
    assert status.level == WARN
    assert 'of the frames failed, the last with: CUDA out of memory' in status.message
    camera.run(10)
    assert camera.status().level == OK
    assert camera.values()['last failure'] == 'CUDA out of memory'
    assert camera.values()['last failure (s ago)'] == '11.000'


def test_a_long_reason_is_cut(camera):
    camera.health.failed('x' * 10_000)
    assert len(camera.values()['last failure']) == 500


def test_where_all_frames_are_too_old_it_is_an_error(camera):
    for _ in range(5):
        camera.health.received()
        camera.health.too_old(2.5)
    status = camera.status()
    assert status.level == ERROR
    assert 'older than max_age_ms when its turn came, the last 2500 ms' in status.message
    camera.answer()
    assert camera.status().level == OK, 'who drops old frames wants some dropped'


def test_where_nothing_is_answered_it_is_an_error(camera):
    camera.answer()
    for _ in range(17):
        assert camera.status().level == OK
        camera.wait(1 / 8)
        camera.health.received()
    camera.wait(1 / 8)
    status = camera.status()
    assert status.level == ERROR
    assert status.message.startswith('images come, but none has been answered for 2.1 s')
    camera.answer()
    assert camera.status().level == OK
    for answer in (lambda: camera.health.failed('x'), lambda: camera.health.too_old(1.0)):
        camera.health.received()
        camera.wait(3)
        answer()
        assert camera.values()['unanswered for (s)'] == ''


def test_the_worst_problem_comes_first(camera):
    camera.answer(picture=np.zeros((8, 8, 3), np.uint8), low=0.75)
    camera.health.failed('it broke')
    camera.wait(3)
    camera.health.failed('it broke again')
    status = camera.status(stale_ms=2999)
    assert status.level == STALE
    parts = ('no image on front', '66.7% of the frames failed', 'low confidence in 75.0%')
    places = [status.message.index(part) for part in parts]
    assert places == sorted(places) and places[0] == 0
    status = make_status(
        'name', [Problem(WARN, 'a'), Problem(ERROR, 'b'), Problem(WARN, 'c')], 'well', {}, 'id'
    )
    assert (status.level, status.message) == (ERROR, 'b | a | c')
    assert make_status('name', [], 'well', {}, 'id').message == 'well'


def test_values_are_text():
    values = {'a': None, 'b': 0.12345, 'c': 7, 'd': 'word', 'e': float('nan'), 'f': True}
    found = {item.key: item.value for item in make_status('n', [], '', values, '').values}
    assert found == {'a': '', 'b': '0.123', 'c': '7', 'd': 'word', 'e': 'nan', 'f': 'True'}


def test_nothing_is_wrong_while_nothing_is_answered(camera):
    camera.run(3, picture=np.zeros((8, 8, 3), np.uint8))
    camera.health.failed('it broke')
    assert camera.status().level == WARN
    status = camera.status(watched=False)
    assert (status.level, status.message) == (OK, 'not active')
    camera.wait(1000)
    assert camera.status(watched=False).level == OK
    status = camera.status()
    assert status.level == STALE
    assert status.message.startswith('waiting for the first image')
    values = camera.values()
    assert [values[key] for key in ('received', 'failed', 'failed share')] == ['24', '1', '']
    camera.answer()
    assert camera.status(min_rate=100.0).level == OK, 'judged as if it were new'


# Confidence


def test_a_rise_of_low_confidence_is_against_the_minute_before(camera):
    camera.run(60, low=0.1)
    camera.run(5, low=0.35)
    assert camera.status().level == OK, 'half of ten seconds'
    camera.run(5, low=0.35)
    assert float(camera.values()['low confidence rise']) == pytest.approx(0.25, abs=0.01)
    status = camera.status()
    assert status.level == WARN
    assert status.message.startswith('low confidence in 2')
    assert 'more of the pixels than in the minute before' in status.message
    assert camera.status(max_low_confidence_rise=0.26).level == OK
    camera.run(60, low=0.35)
    assert float(camera.values()['low confidence rise']) == pytest.approx(0, abs=0.01)
    camera.run(11, low=0.1)
    assert float(camera.values()['low confidence rise']) == pytest.approx(-0.25, abs=0.01)
    assert camera.status().level == OK


def test_no_rise_where_there_is_no_past(camera):
    camera.run(10, low=0.0)
    assert camera.values()['low confidence rise'] == ''
    for frames, known in ((9, False), (10, True)):
        camera.status(watched=False)
        for _ in range(frames):
            camera.answer(low=0.0)
        camera.wait(12)
        camera.answer(low=0.125)
        assert camera.values()['low confidence rise'] == ('0.125' if known else '')


# Pictures


@pytest.mark.parametrize('size', [(1, 1), (1, 500), (500, 1), (64, 64), (65, 129), (721, 1283)])
def test_few_pixels_stand_for_the_picture(size):
    picture = RNG.integers(0, 256, (*size, 3), np.uint8)
    picture[picture.sum(2) > 500] = 255
    seen = image_statistics(picture)
    assert max(seen.pixels.shape[:2]) <= 64
    if max(size) <= 64:
        np.testing.assert_array_equal(seen.pixels, picture)
        assert seen.brightness == pytest.approx(picture.mean())
        assert seen.saturated == pytest.approx((picture == 255).all(2).mean())
    elif min(size) > 1:
        assert seen.brightness == pytest.approx(picture.mean(), abs=4)
        assert seen.saturated == pytest.approx((picture == 255).all(2).mean(), abs=0.03)


@pytest.mark.parametrize('size', [(1, 1), (48, 64), (300, 500)])
def test_views_of_any_strides_look_the_same(size):
    picture = RNG.integers(0, 256, (*size, 3), np.uint8)
    padded = np.zeros((size[0] + 3, size[1] + 5, 3), np.uint8)
    padded[1:-2, 2:-3] = picture
    turned = np.ascontiguousarray(picture[::-1, ::-1, ::-1])[::-1, ::-1, ::-1]
    fixed = np.frombuffer(picture.tobytes(), np.uint8).reshape(picture.shape)
    expected = image_statistics(picture)
    for view in (padded[1:-2, 2:-3], turned, fixed):
        found = image_statistics(view)
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert found[1:] == expected[1:]
    gray = np.broadcast_to(picture[:, :, :1], picture.shape)  # as of mono8
    assert image_statistics(gray).brightness == pytest.approx(
        image_statistics(gray.copy()).brightness
    )


@pytest.mark.parametrize(
    ('color', 'saturated'), [((250, 250, 250), 1), ((255, 255, 249), 0), ((255, 0, 0), 0)]
)
def test_saturated_is_what_is_white(color, saturated):
    assert image_statistics(np.full((20, 30, 3), color, np.uint8)).saturated == saturated


def test_a_picture_is_not_held_but_remembered(camera):
    picture = PICTURES[0].copy()
    camera.answer(picture=picture)
    picture[:] = 0  # its buffer is used again
    camera.wait(4)
    camera.answer(picture=PICTURES[0])
    assert camera.values()['same picture for (s)'] == '4.000'


def test_pictures_that_alternate_are_neither_frozen_nor_black(camera):
    black = np.zeros((48, 64, 3), np.uint8)
    for _ in range(40):
        camera.run(1 / 8, picture=black)
        camera.run(1 / 8, picture=PICTURES[0])
    assert camera.status().level == OK
    assert camera.values()['same picture for (s)'] == '0.000'


def test_one_dark_picture_is_no_fault_two_seconds_of_them_are(camera):
    black = np.zeros((48, 64, 3), np.uint8)
    camera.run(4)
    camera.answer(picture=black)
    assert camera.status().level == OK
    camera.run(2, picture=black)
    assert camera.status().message.startswith('black: a mean brightness of 0.0')
    camera.run(1 / 8)
    assert camera.status().level == OK


def test_a_frozen_picture_thaws(camera):
    camera.run(5, picture=PICTURES[3])
    assert camera.status().message.startswith('frozen: the same picture for 4.9 s')
    nearly = PICTURES[3].copy()
    nearly[-1, -1, -1] ^= 1
    camera.run(1 / 8, picture=nearly)
    assert camera.status().level == OK


def test_another_size_is_another_picture(camera):
    camera.run(2, picture=np.full((8, 8, 3), 90, np.uint8))
    camera.run(2, picture=np.full((8, 9, 3), 90, np.uint8))
    assert float(camera.values()['same picture for (s)']) == pytest.approx(1.875)


# Threads and memory


def test_threads_lose_no_count():
    ticks, times = count(), 2000
    health = CameraHealth('front', lambda: next(ticks))
    wrong = []

    def receive():
        for _ in range(times):
            health.received()
            health.replaced()

    def answer():
        for i in range(times):
            health.too_old(1.0)
            health.failed('x')
            seen = Segmentation(PICTURES[0, :, :, 0], None, 0.5, 0.5)
            health.published(0.1, False, PICTURES[i % len(PICTURES)], seen)

    def report():
        while any(thread.is_alive() for thread in threads):
            try:
                health.status('node', LIMITS, True)
            except Exception as error:
                wrong.append(error)
                raise

    threads = [Thread(target=target) for target in (receive, answer, receive)]
    reporter = Thread(target=report)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in (*threads, reporter):
            thread.start()
        for thread in (*threads, reporter):
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    assert health.counts == {
        'received': 2 * times,
        'replaced': 2 * times,
        'too_old': times,
        'failed': times,
        'processed': times,
    }


def test_memory_does_not_grow_with_time(camera):
    camera.run(100)
    tracemalloc.start()
    try:
        camera.run(100)
        before = tracemalloc.get_traced_memory()[0]
        camera.run(300)
        assert tracemalloc.get_traced_memory()[0] < before + 10_000
    finally:
        tracemalloc.stop()


# The network


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('networks')
    return [make_checkpoint(folder / f'{seed}.safetensors', seed) for seed in (1, 2)]


@pytest.fixture
def checkpoints(networks, tmp_path):
    """Three files: one to load, another, and one of another size."""
    paths = [Path(shutil.copy(network, tmp_path)) for network in networks]
    short = tmp_path / 'short.safetensors'
    short.write_bytes(paths[0].read_bytes()[:-1])
    return [*paths, short]


def network_status(health, segmenter=None, points=None):
    return health.status('node', segmenter, {'model': 'wanted'}, points or {})


def values_of(status):
    return {item.key: item.value for item in status.values}


@pytest.mark.parametrize('state', ['unconfigured', 'inactive', 'disabled', 'active'])
def test_a_state_is_well_unless_there_is_a_problem(state):
    health = NetworkHealth()
    assert network_status(health).message == 'unconfigured'
    health.state = state
    status = network_status(health)
    assert (status.level, status.name, status.message) == (OK, 'node: network', state)
    assert values_of(status)['state'] == state
    assert values_of(status)['model'] == 'wanted'
    health.problem = 'runs on the CPU, as CUDA is gone'
    status = network_status(health)
    assert (status.level, status.message) == (WARN, health.problem)
    health.failed = True
    assert network_status(health).level == ERROR
    health.problem, health.failed = '', False
    assert network_status(health).level == OK


def test_what_the_network_runs_on(checkpoints):
    segmenter = Segmenter(checkpoints[0], device='cpu', backend='torch', precision='fp32')
    health = NetworkHealth()
    health.state = 'active'
    status = network_status(health, segmenter, {'sub4': 0.25, 'sub124': 0.75})
    assert (status.level, status.message, status.hardware_id) == (OK, 'active', 'cpu')
    values = values_of(status)
    for key in ('memory (MB)', 'memory at most (MB)', 'threads', 'open files'):
        assert float(values.pop(key)) > 0
    height, width = segmenter.input_size
    assert values == {
        'state': 'active',
        'model': str(checkpoints[0]),
        'model SHA-256': sha256(checkpoints[0].read_bytes()).hexdigest(),
        'classes': str(len(segmenter.labels)),
        'backend': 'torch',
        'device': 'cpu',
        'precision': 'fp32',
        'input size': f'{width}x{height}',
        'exit or size in use': 'sub124',
        'share of sub4': '0.250',
        'share of sub124': '0.750',
    }


def test_a_checkpoint_that_is_replaced_or_removed(checkpoints):
    path, other, short = checkpoints
    content = path.read_bytes()
    segmenter = Segmenter(path, device='cpu', backend='torch', precision='fp32')
    health = NetworkHealth()

    def status():
        return network_status(health, segmenter)

    assert status().level == OK
    path.touch()
    assert status().level == OK, 'the same, of another time'
    for found in (other, short):
        shutil.copy(found, path)
        for _ in range(2):
            assert status().level == WARN
            assert status().message.startswith(f'{path} has been replaced since')
            assert '~/reload' in status().message
        path.write_bytes(content)
        assert status().level == OK
    path.unlink()
    assert status().level == WARN
    assert status().message.startswith(f'{path} cannot be read any more; the network')
    path.mkdir()
    assert status().message.startswith(f'{path} cannot be read any more')
    path.rmdir()
    shutil.copy(other, path)
    assert status().level == WARN
    segmenter = Segmenter(path, device='cpu', backend='torch', precision='fp32')
    assert status().level == OK, 'as after a reload'


def test_a_checkpoint_that_was_replaced_while_it_was_loaded(checkpoints):
    path, other, _ = checkpoints
    segmenter = Segmenter(path, device='cpu', backend='torch', precision='fp32')
    shutil.copy(other, path)
    assert network_status(NetworkHealth(), segmenter).level == WARN


def test_a_checkpoint_in_memory_and_a_shipped_one(checkpoints):
    in_memory = Segmenter(load_checkpoint(checkpoints[0]), device='cpu', backend='torch')
    health = NetworkHealth()
    status = network_status(health, in_memory)
    assert status.level == OK
    shipped = shipped_models()[0]
    file = ModelFile()
    content = find_checkpoint(shipped).read_bytes()
    assert file.problem(shipped, sha256(content).hexdigest()) == ''
    assert file.problem(shipped, '0' * 64).startswith(str(find_checkpoint(shipped)))
    assert file.problem(shipped, '') == ''


def is_open(descriptor):
    with suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


def test_what_the_process_takes(tmp_path):
    before = process_metadata()
    assert before['open files'] == sum(map(is_open, range(4096)))
    # Not from malloc, which may have kept memory that other tests gave back.
    block = mmap(-1, 2**26)
    block.write(bytes(2**26))
    stop = Event()
    thread = Thread(target=stop.wait)
    thread.start()
    try:
        with (tmp_path / 'file').open('w'):
            after = process_metadata()
    finally:
        stop.set()
        thread.join()
    assert after['open files'] == before['open files'] + 1
    assert after['threads'] == before['threads'] + 1
    assert after['memory (MB)'] - before['memory (MB)'] == pytest.approx(64, abs=8)
    assert after['memory at most (MB)'] >= after['memory (MB)']
    block.close()


def test_where_proc_is_not_nothing_is_known(monkeypatch, tmp_path):
    monkeypatch.setattr('seg_ros.node.diagnostics.process_metadata.PROC', tmp_path / 'none')
    assert set(process_metadata().values()) == {None}
    status = network_status(NetworkHealth())
    assert values_of(status)['memory (MB)'] == ''


def test_a_device_that_does_not_answer_is_a_value_not_an_error():
    assert cuda_memory('cpu') == {}
    if torch.cuda.is_available():
        facts = cuda_memory('cuda')
        assert 0 < facts['device memory free (MB)'] <= facts['device memory in all (MB)']
        return
    ((key, value),) = cuda_memory('cuda').items()
    assert key == 'device memory' and value.startswith('unknown: ')


# The profile of Fast DDS

DDS = '<dds xmlns="http://www.eprosima.com">{}</dds>'
BOMB = '<!DOCTYPE dds [<!ENTITY a "aaaaaaaaaa">{}]><dds><profiles>&j;</profiles></dds>'.format(
    ''.join(f'<!ENTITY {b} "{f"&{a};" * 20}">' for a, b in pairwise('abcdefghij'))
)

FAULTS = {
    'text': ('no XML at all', 'is not well-formed XML'),
    'empty': ('', 'is not well-formed XML'),
    'cut': (PROFILE.read_text()[:900], 'is not well-formed XML'),
    'other': ('<html><body/></html>', 'begins with <html>, not with <dds>'),
    'nothing': (DDS.format(''), 'has none of library_settings, log, profiles, types in its'),
    'misplaced': (DDS.format('<participant/>'), 'has none of library_settings, log, profiles'),
    'bomb': (BOMB, 'has a DOCTYPE'),
    'large': (DDS.format('<profiles/>') + ' ' * 2**20, 'too many for one'),
    'nested': ('<dds>' * 100_000, 'is not well-formed XML'),
}


@pytest.fixture
def transport(monkeypatch):
    """Set the environment's transport; none at first."""
    for name in (*PROFILE_VARIABLES, TRANSPORTS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize('variable', PROFILE_VARIABLES)
@pytest.mark.parametrize('fault', FAULTS)
def test_a_profile_that_is_none_is_named(transport, tmp_path, variable, fault):
    content, message = FAULTS[fault]
    path = tmp_path / f'{fault}.xml'
    path.write_text(content)
    transport(variable, str(path))
    assert check_profile().startswith(
        f'{variable}: expected a Fast DDS profile; found {path}, which '
    )
    assert message in check_profile()


def test_a_profile_that_is_not_there_is_named(transport, tmp_path):
    for path in (tmp_path / 'none.xml', tmp_path):
        transport(PROFILE_VARIABLES[0], str(path))
        assert f'found {path}, which is no file' in check_profile()


def test_both_variables_are_looked_at_the_same_file_once(transport, tmp_path):
    for name in PROFILE_VARIABLES:
        transport(name, str(tmp_path / 'none'))
    assert check_profile().count('expected') == 1
    transport(PROFILE_VARIABLES[0], str(tmp_path / 'other'))
    assert check_profile().count('expected') == 2
    transport(PROFILE_VARIABLES[0], str(PROFILE))
    assert check_profile().startswith(PROFILE_VARIABLES[1])


def test_profiles_that_are_well(transport, tmp_path):
    assert check_profile() == ''
    path = tmp_path / 'profile.xml'
    transport(PROFILE_VARIABLES[0], str(path))
    for content in (
        PROFILE.read_text(),
        DDS.format('<profiles/>'),
        DDS.format('<log/>'),
        '<profiles><participant profile_name="a"/></profiles>',
        '<dds><profiles/></dds>',
    ):
        path.write_text(content)
        assert check_profile() == ''
    transport(PROFILE_VARIABLES[0], '')
    assert check_profile() == ''


def test_transports_that_fast_dds_does_not_know(transport):
    for known in ('', 'LARGE_DATA', 'UDPv4', 'LARGE_DATA?max_msg_size=200KB'):
        transport(TRANSPORTS_VARIABLE, known)
        assert check_profile() == ''
    for unknown in ('large_data', 'UDP', '?'):
        transport(TRANSPORTS_VARIABLE, unknown)
        assert check_profile().startswith(f'{TRANSPORTS_VARIABLE}: expected one of NONE, DEFAULT')
        assert f'found {unknown!r}' in check_profile()


def test_another_middleware_has_no_such_profile(transport, monkeypatch):
    transport(PROFILE_VARIABLES[0], '/none')
    monkeypatch.setattr(
        'seg_ros.node.dds_profile.get_rmw_implementation_identifier', lambda: 'rmw_zenoh_cpp'
    )
    assert check_profile() == ''


# What is written about it


def tables(page):
    """Return what is marked as code in the first column of a page's tables."""
    rows = re.findall(r'^\| (`.+?) \|', page.read_text(encoding='utf-8'), re.MULTILINE)
    return {code for row in rows for code in re.findall(r'`([^`]+)`', row)}


def test_the_page_lists_every_key_and_limit(camera, checkpoints):
    page = tables(ROOT / 'doc/diagnostics.md')
    segmenter = Segmenter(checkpoints[0], device='cpu', backend='torch', precision='fp32')
    network = values_of(network_status(NetworkHealth(), segmenter))
    missing = {*camera.values(), *network, *vars(LIMITS)} - page
    assert not missing


def test_the_page_gives_the_defaults():
    rows = re.findall(
        r'^\| `(\w+)` \| ([\d.]+) \|',
        (ROOT / 'doc/diagnostics.md').read_text(encoding='utf-8'),
        re.MULTILINE,
    )
    assert dict(rows) == {name: str(value) for name, value in vars(LIMITS).items()}


def test_the_aggregator_expects_the_statuses_there_are(camera):
    file = yaml.safe_load((ROOT / 'config/diagnostic_aggregator.yaml').read_text(encoding='utf-8'))
    analyzer = file['analyzers']['ros__parameters']['segmentation']
    prefix = 'segmentation_node'
    assert analyzer['find_and_remove_prefix'] == [prefix]
    assert isinstance(analyzer['timeout'], float), 'the aggregator takes no other'
    default = CameraHealth('camera').status(prefix, LIMITS, True).name
    network = NetworkHealth().status(prefix, None, {'model': 'x'}, {}).name
    assert analyzer['expected'] == [network, default]
