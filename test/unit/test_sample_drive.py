# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The synthetic drive: repeatable, exactly labelled, and seen by a pin-hole camera."""

import hashlib
from itertools import pairwise
import json
import sys

import numpy as np
import pytest

from seg_ros.__main__ import main
from seg_ros.datasets.synthetic.camera_state import CameraState
from seg_ros.datasets.synthetic.canvas import Canvas, CAR, ROAD
from seg_ros.datasets.synthetic.layout import kit_of
from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.datasets.synthetic.textures import FACADE_LINE, random_state, ROAD_HALF_WIDTH
from seg_ros.datasets.synthetic.view import CAMERA_HEIGHT, draw
from seg_ros.images.labels import CAMVID

SMALL = (320, 180)


@pytest.fixture(scope='module')
def drive():
    return SampleDrive(seed=3, frames=300, size=SMALL)


@pytest.fixture(scope='module')
def frames(drive):
    """Return every tenth frame, in order."""
    return {index: drive[index] for index in range(0, 300, 10)}


def test_a_frame_is_an_image_and_its_labels(drive, frames):
    assert len(drive) == 300
    assert drive.labels is CAMVID
    for image, labels in frames.values():
        assert (image.shape, image.dtype) == ((180, 320, 3), np.uint8)
        assert (labels.shape, labels.dtype) == ((180, 320), np.uint8)
        assert labels.max() < 11
        assert len(np.unique(labels)) >= 6


def test_any_frame_can_be_drawn_on_its_own(frames):
    again = SampleDrive(seed=3, frames=300, size=SMALL)
    for index in (290, 20, 150, 20):
        for drawn, expected in zip(again[index], frames[index]):
            np.testing.assert_array_equal(drawn, expected)


def test_nothing_remembered_changes_a_frame(frames):
    kit_of.cache_clear()
    for drawn, expected in zip(SampleDrive(seed=3, size=SMALL)[100], frames[100]):
        np.testing.assert_array_equal(drawn, expected)


def test_the_length_changes_no_frame_and_the_rate_only_its_time(frames):
    np.testing.assert_array_equal(SampleDrive(3, 11, SMALL)[10][1], frames[10][1])
    np.testing.assert_array_equal(SampleDrive(3, 400, SMALL, rate=20.0)[20][1], frames[10][1])


def test_another_seed_is_another_street(frames):
    _, labels = SampleDrive(seed=4, size=SMALL)[0]
    assert (labels != frames[0][1]).mean() > 0.1


def test_random_numbers_are_the_ones_numpy_froze():
    # RandomState's stream never changes (NEP 19); a Generator's may, from one NumPy to the next.
    assert random_state(1, 2, -3).randint(0, 1000, 5).tolist() == [181, 728, 260, 116, 654]


def test_negative_and_wrong_indices(drive):
    np.testing.assert_array_equal(drive[-1][1], drive[299][1])
    with pytest.raises(IndexError):
        drive[300]


def test_every_class_comes_with_a_plausible_share(frames):
    counts = sum(np.bincount(labels.ravel(), minlength=11) for _, labels in frames.values())
    share = dict(zip(CAMVID.names, counts / counts.sum()))
    expected = {
        'sky': (0.08, 0.28), 'building': (0.12, 0.4), 'pole': (0.004, 0.03),
        'road': (0.22, 0.42), 'pavement': (0.015, 0.09), 'tree': (0.04, 0.22),
        'sign': (0.003, 0.025), 'fence': (0.003, 0.04), 'car': (0.02, 0.16),
        'pedestrian': (0.002, 0.02), 'bicyclist': (0.001, 0.02),
    }  # fmt: skip
    assert set(expected) == set(share)
    for name, (low, high) in expected.items():
        assert low < share[name] < high, (name, share[name])


def test_colours_are_those_of_a_street(frames):
    def mean(label):
        return np.mean([image[labels == label].mean(0) for image, labels in frames.values()], 0)

    sky, building, road = (mean(CAMVID.names.index(n)) for n in ('sky', 'building', 'road'))
    assert sky.min() > 180
    assert sky[2] > sky[0]  # the sky is rather blue than yellow
    assert np.ptp(road) < 20  # the road is grey
    assert 45 < road.mean() < 110
    assert 55 < building.mean() < 130


def test_the_light_changes(frames):
    brightness = [image.mean() for image, _ in frames.values()]
    assert max(brightness) - min(brightness) > 15


def test_it_moves_but_not_wildly(drive):
    labels = [drive[index][1] for index in range(40, 46)]
    changed = [(a != b).mean() for a, b in pairwise(labels)]
    assert min(changed) > 0.01
    assert max(changed) < 0.3


def test_effects_touch_the_image_only(drive, frames):
    pixels = draw(CameraState(kit_of(3), 10 / drive.rate), SMALL, drive.focal)
    image, labels = frames[10]
    np.testing.assert_array_equal(labels, pixels[..., 3])
    difference = np.abs(image.astype(int) - pixels[..., :3])
    assert 1 < difference.mean() < 40


def test_ground_labels_are_where_the_camera_matrix_puts_the_kerb(drive, frames):
    """Road and pavement are where the camera matrix projects them."""
    hits = {ROAD: 0, 4: 0}
    for index, (_, labels) in frames.items():
        camera = CameraState(kit_of(3), index / drive.rate)
        for ahead in np.linspace(6, 14, 9):
            edges = [camera.x(camera.s + ahead, s * ROAD_HALF_WIDTH) for s in (-1, 1)]
            for x, expected in (
                (edges[0] + 0.4, ROAD), (edges[1] - 0.4, ROAD),
                (edges[0] - 0.4, 4), (edges[1] + 0.4, 4),
            ):  # fmt: skip
                # The pitch is drawn as a shear, which for a pin-hole is a change of height.
                point = (x, CAMERA_HEIGHT + camera.pitch * ahead, ahead)
                u, v, w = drive.camera_matrix @ point
                column, row = round(u / w), round(v / w)
                if 0 <= column < SMALL[0] and 0 <= row < SMALL[1]:
                    found = labels[row, column]
                    hits[expected] += found == expected
                    # Other things stand on it, or a side street crosses the pavement.
                    assert found == expected or expected == 4 or found != 4, (index, ahead, x)
    assert min(hits.values()) > 50


def test_camera_matrix_scales_with_the_size():
    matrix = SampleDrive(seed=3, size=(640, 360)).camera_matrix
    assert matrix[0, 0] == matrix[1, 1] == pytest.approx(456)
    np.testing.assert_allclose(matrix[:2, 2], [319.5, 179.5])
    np.testing.assert_allclose(SampleDrive(seed=3, size=(1280, 720)).camera_matrix[0, 0], 912)


def test_a_canvas_fills_image_and_labels_alike():
    canvas = Canvas((64, 48), 50.0, (31.5, 23.5), CAMERA_HEIGHT)
    canvas.upright((-1, 1), (0.35, 2.35), 5.0, (200, 100, 50), CAR)
    filled = canvas.pixels[..., 3] == CAR
    np.testing.assert_array_equal(filled, canvas.pixels[..., 0] > 0)
    # 2 m at 5 m, seen with 50 px, are 20 px; OpenCV also fills the pixels on the outline.
    rows, columns = np.nonzero(filled)
    assert (columns.min(), columns.max()) == pytest.approx((21.5, 41.5), abs=1)
    assert (rows.min(), rows.max()) == pytest.approx((13.5, 33.5), abs=1)


def test_what_crosses_the_camera_plane_is_cut():
    canvas = Canvas((64, 48), 50.0, (31.5, 23.5), CAMERA_HEIGHT)
    wall = np.array([(1, 0, -5), (1, 0, 20), (1, 3, 20), (1, 3, -5)], np.float64)
    canvas.polygon(wall, (9, 9, 9), CAR)
    labels = canvas.pixels[..., 3]
    assert (labels[:, 63] == CAR).all()
    assert not labels[:, :34].any()


@pytest.mark.parametrize('size', [(33, 47), (16, 16), (641, 97), (960, 540)])
def test_sizes(size):
    image, labels = SampleDrive(seed=3, frames=101, size=size)[100]
    assert image.shape == (size[1], size[0], 3)
    assert labels.shape == (size[1], size[0])
    assert {0, 3} <= set(np.unique(labels))


def test_a_scene_scales_with_the_size(frames):
    _, large = SampleDrive(seed=3, size=(640, 360))[100]
    assert (large[1::2, 1::2] == frames[100][1]).mean() > 0.93


def test_a_long_drive_goes_on():
    image, labels = SampleDrive(seed=3, frames=100_000, size=SMALL)[99_999]
    assert {0, 1, 3} <= set(np.unique(labels))
    assert image.std() > 20


@pytest.mark.parametrize(
    'options', [{'frames': 0}, {'size': (15, 100)}, {'rate': 0.0}, {'rate': float('nan')}]
)
def test_impossible_drives_are_refused(options):
    with pytest.raises(ValueError, match=r'expected at least 1 frame.*found'):
        SampleDrive(**options)


def test_the_street_is_wider_than_its_road():
    assert FACADE_LINE > ROAD_HALF_WIDTH + 2


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'stderr', sys.stdout)
    bag, figures = tmp_path / 'drive', tmp_path / 'drive.json'
    arguments = ['sample_drive', '--out', str(bag), '--seed', '3', '--frames', '2']
    arguments += ['--size', '64x48', '--rate', '5', '--json', str(figures)]
    assert main(arguments) == 0
    result = json.loads(figures.read_text())
    assert result['bag'] == str(bag)
    assert (result['frames'], result['size'], result['seed']) == (2, [64, 48], 3)
    assert result['rate'] == 5
    assert list(result['share']) == list(CAMVID.names)
    assert sum(result['share'].values()) == pytest.approx(1)
    drawn = [labels for _, labels in SampleDrive(3, 2, (64, 48), 5.0)]
    assert result['share']['road'] == pytest.approx((np.array(drawn) == ROAD).mean())
    capsys.readouterr()

    digest = hashlib.sha256((bag / 'drive.mcap').read_bytes()).hexdigest()
    assert main(arguments) == 2
    assert 'expected a name not in use' in capsys.readouterr().out
    assert main([*arguments, '--overwrite']) == 0
    assert hashlib.sha256((bag / 'drive.mcap').read_bytes()).hexdigest() == digest


def test_command_refuses_a_size_that_is_none(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['sample_drive', '--out', 'x', '--size', '640'])
    assert ended.value.code == 2
    assert 'expected WIDTHxHEIGHT' in capsys.readouterr().err
