# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ego masks: the pixels of a file that are the vehicle, and their labels and confidence."""

from concurrent.futures import ThreadPoolExecutor
import os

import cv2
import numpy as np
import pytest

from seg_ros.images.ego_mask import EgoMask, read_ego_mask, SIZES
from seg_ros.images.image_file import ImageFileError

VEHICLE = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]], bool)


def write(path, pixels):
    assert cv2.imwrite(str(path), pixels)
    return path


def painted(*values):
    """Return VEHICLE in a colour, in OpenCV's channel order, on black."""
    return VEHICLE[..., None] * np.array(values, np.uint8)


@pytest.mark.parametrize(
    'pixels',
    [
        pytest.param(VEHICLE.astype(np.uint8), id='one channel, of ones'),
        pytest.param(VEHICLE.astype(np.uint8) * 255, id='one channel, white'),
        pytest.param(VEHICLE.astype(np.uint16), id='16 bits, of which the upper are 0'),
        pytest.param(painted(255, 255, 255), id='white'),
        pytest.param(painted(9, 0, 0), id='dark blue'),
        pytest.param(painted(0, 0, 200), id='red'),
        pytest.param(painted(40, 60, 80, 255), id='cut out'),
        pytest.param(painted(40, 60, 80, 9), id='cut out, with a soft edge'),
        pytest.param(painted(9, 9, 9, 0) + np.uint8([0, 0, 0, 255]), id='opaque, on black'),
    ],
)
def test_what_is_not_black_is_the_vehicle(tmp_path, pixels):
    mask = read_ego_mask(write(tmp_path / 'ego.png', pixels))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, VEHICLE * 255)


def test_what_is_transparent_is_not_the_vehicle_whatever_its_colour(tmp_path):
    pixels = np.full((3, 4, 4), 200, np.uint8)
    pixels[..., 3] = VEHICLE * 255
    mask = read_ego_mask(write(tmp_path / 'ego.png', pixels))
    np.testing.assert_array_equal(mask, VEHICLE * 255)


def test_a_palette_is_looked_up(tmp_path):
    """Colours count, not indices: here index 0 of the palette is white and index 1 black."""
    image = pytest.importorskip('PIL.Image').fromarray(VEHICLE.astype(np.uint8), 'P')
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / 'ego.png')
    np.testing.assert_array_equal(read_ego_mask(tmp_path / 'ego.png'), ~VEHICLE * np.uint8(255))


@pytest.mark.parametrize('with_confidence', [False, True])
def test_the_vehicle_becomes_unlabeled_and_nothing_else_changes(tmp_path, with_confidence):
    ego = EgoMask(write(tmp_path / 'ego.png', painted(255, 255, 255)))
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    confidence = labels + np.uint8(100) if with_confidence else None
    before = labels.copy()
    ego.apply(labels, confidence)
    np.testing.assert_array_equal(labels, np.where(VEHICLE, 255, before))
    if with_confidence:
        np.testing.assert_array_equal(confidence, np.where(VEHICLE, 0, before + 100))


@pytest.mark.parametrize('factor', [2, 5])
def test_a_larger_image_has_the_same_vehicle(tmp_path, factor):
    ego = EgoMask(write(tmp_path / 'ego.png', painted(255, 255, 255)))
    labels = np.zeros((3 * factor, 4 * factor), np.uint8)
    ego.apply(labels)
    expected = np.kron(VEHICLE, np.ones((factor, factor))) * 255
    np.testing.assert_array_equal(labels, expected)


def test_a_smaller_image_has_the_vehicle_where_its_pixels_centres_are(tmp_path):
    large = np.random.default_rng(1).integers(0, 2, (30, 50), dtype=np.uint8)
    ego = EgoMask(write(tmp_path / 'ego.png', large))
    labels = np.zeros((10, 10), np.uint8)
    ego.apply(labels)
    np.testing.assert_array_equal(labels, large[1::3, 2::5] * 255)


def test_sizes_may_change_and_come_from_several_threads_at_once(tmp_path):
    ego = EgoMask(write(tmp_path / 'ego.png', VEHICLE.astype(np.uint8)))

    def count(factor):
        labels = np.zeros((3 * factor, 4 * factor), np.uint8)
        ego.apply(labels)
        return int((labels == 255).sum())

    factors = [1 + i % (SIZES + 2) for i in range(200)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count, factors)) == [VEHICLE.sum() * f * f for f in factors]


def test_a_jpeg_is_refused_as_its_black_is_not_all_zero(tmp_path):
    write(tmp_path / 'ego.jpg', painted(255, 255, 255))
    with pytest.raises(ImageFileError, match=r'ego\.jpg: .*found a JPEG.*Store it as PNG'):
        read_ego_mask(tmp_path / 'ego.jpg')


@pytest.mark.parametrize(
    'pixels', [np.zeros((3, 4), np.uint8), np.zeros((3, 4, 3), np.uint8), painted(0, 0, 0, 255)]
)
def test_a_mask_without_a_vehicle_is_an_error_that_says_what_to_do(tmp_path, pixels):
    write(tmp_path / 'ego.png', pixels)
    with pytest.raises(ImageFileError, match=r'ego\.png: .*found none\. Paint it white'):
        read_ego_mask(tmp_path / 'ego.png')


@pytest.mark.parametrize('content', [b'', b'not an image', b'\x89PNG\r\n\x1a\n'])
def test_what_is_no_image_is_an_error(tmp_path, content):
    (tmp_path / 'ego.png').write_bytes(content)
    with pytest.raises(ImageFileError, match=r'ego\.png: expected a PNG'):
        EgoMask(tmp_path / 'ego.png')


def test_what_is_no_file_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'ego\.png'):
        EgoMask(tmp_path / 'ego.png')
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path / 'pipe', '/dev/zero'):
        with pytest.raises(OSError, match=r'expected a regular file.*Give the path of a file'):
            EgoMask(path)
    with pytest.raises(IsADirectoryError):
        EgoMask(tmp_path)
