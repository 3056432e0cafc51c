# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Flicker: labels that move with the image do not flicker, all other changes are counted."""

import cv2
import numpy as np
import pytest

from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.metrics.flicker import Flicker, WIDTH

HEIGHT = 200


def texture(seed=0, width=WIDTH + 40, height=HEIGHT + 40):
    """Return an image whose structure optical flow can follow."""
    rng = np.random.RandomState(seed)
    coarse = rng.randint(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def stripes(width=WIDTH + 40, height=HEIGHT + 40):
    """Return labels in stripes of 16 columns, of five classes."""
    return np.tile((np.arange(width) // 16 % 5).astype(np.uint8), (height, 1))


def view(whole, x, y=10):
    """Return a part of a larger image, as seen by a camera that moves to the right."""
    return np.ascontiguousarray(whole[y : y + HEIGHT, x : x + WIDTH])


def flicker(frames):
    measure = Flicker()
    return [measure.update(image, labels) for image, labels in frames]


def test_a_picture_that_stands_still_is_compared_everywhere():
    image, labels = view(texture(), 10), view(stripes(), 10)
    other = labels.copy()
    other[50:100, 40:80] = 9
    first, same, changed = flicker([(image, labels), (image, labels), (image, other)])
    assert first == (0, 0)
    assert same == (0, WIDTH * HEIGHT)
    assert changed == (50 * 40, WIDTH * HEIGHT)


@pytest.mark.parametrize(('dx', 'dy'), [(3, 0), (0, 2), (-4, 3), (7, -1)])
def test_labels_that_move_with_the_picture_do_not_flicker(dx, dy):
    image, labels = texture(), stripes()
    frames = [(view(image, 20 + dx * i, 10 + dy * i), view(labels, 20 + dx * i)) for i in (0, 1)]
    _, (changed, compared) = flicker(frames)
    assert compared > 0.93 * WIDTH * HEIGHT
    # Labels flicker only at the stripes' edges, where the flow is off by part of a pixel.
    assert changed < 0.005 * compared
    if dx:
        still = (frames[0][1] != frames[1][1]).mean()
        assert still > 0.15  # without the flow it would be much more


def test_labels_that_stand_still_while_the_picture_moves_do_flicker():
    image, labels, dx = texture(), view(stripes(), 0), 6
    _, (changed, compared) = flicker([(view(image, 10), labels), (view(image, 10 + dx), labels)])
    # A pixel at x was at x + dx before: compare with that label, without any flow.
    expected = (labels[:, :-dx] != labels[:, dx:]).mean()
    assert changed / compared == pytest.approx(expected, abs=0.01)


def test_noise_flickers_as_chance_has_it():
    image = view(texture(), 10)
    rng = np.random.RandomState(1)
    frames = [(image, rng.randint(0, 4, image.shape[:2]).astype(np.uint8)) for _ in range(5)]
    for changed, compared in flicker(frames)[1:]:
        assert compared == WIDTH * HEIGHT
        assert changed / compared == pytest.approx(3 / 4, abs=0.01)


def test_what_was_not_there_before_is_not_compared():
    image, labels = view(texture(), 10), view(stripes(), 10)
    replaced = image.copy()
    replaced[:, : WIDTH // 2] = view(texture(seed=5), 10)[:, : WIDTH // 2]
    wrong = labels.copy()
    wrong[:, : WIDTH // 2 - 20] = 9
    _, (changed, compared) = flicker([(image, labels), (replaced, wrong)])
    # A few patches match by chance; all of the right half is compared.
    assert WIDTH * HEIGHT * 0.49 < compared < WIDTH * HEIGHT * 0.65
    assert changed <= compared - WIDTH * HEIGHT * 0.49


def test_unlabeled_is_a_label():
    image, labels = view(texture(), 10), view(stripes(), 10)
    unsure = np.full_like(labels, 255)
    _, lost, none = flicker([(image, labels), (image, unsure), (image, unsure)])
    assert lost == (WIDTH * HEIGHT, WIDTH * HEIGHT)
    assert none == (0, WIDTH * HEIGHT)


def test_large_frames_are_compared_at_a_smaller_size():
    big = (4 * WIDTH, 4 * HEIGHT)
    image = cv2.resize(view(texture(), 10), big, interpolation=cv2.INTER_CUBIC)
    labels = cv2.resize(view(stripes(), 10), big, interpolation=cv2.INTER_NEAREST)
    other = labels.copy()
    other[400:, :] = 9
    _, (changed, compared) = flicker([(image, labels), (image, other)])
    assert (changed, compared) == (100 * WIDTH, WIDTH * HEIGHT)


def test_another_size_starts_anew():
    image, labels = view(texture(), 10), view(stripes(), 10)
    half = np.ascontiguousarray(image[::2, ::2]), np.ascontiguousarray(labels[::2, ::2])
    results = flicker([(image, labels), half, half])
    assert results == [(0, 0), (0, 0), (0, half[1].size)]


@pytest.mark.parametrize('size', [(8, 8), (96, 12), (2048, 64), (320, 15), (1, 1)])
def test_images_too_flat_for_flow_are_not_compared(size):
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    labels = np.zeros((height, width), np.uint8)
    assert flicker([(image, labels)] * 3) == [(0, 0)] * 3
    tall = (np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8))
    assert flicker([tall] * 2)[1] == (0, 256)


def test_equals_the_definition_pixel_by_pixel():
    """Flicker equals a computation in plain loops, with only the flow by OpenCV."""
    drive = SampleDrive(seed=3, frames=2, size=(96, 64))
    (old, before), (new, after) = drive[0], drive[1]
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (old, new)]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back, forth = flow.calc(grey[1], grey[0], None), flow.calc(grey[0], grey[1], None)
    changed = compared = 0
    for row in range(64):
        for column in range(96):
            x, y = column + back[row, column, 0], row + back[row, column, 1]
            if not (0 <= x <= 95 and 0 <= y <= 63):
                continue
            left, top = min(int(x), 94), min(int(y), 62)
            a, b = x - left, y - top
            corners = forth[top : top + 2, left : left + 2]
            upper = (1 - a) * corners[0, 0] + a * corners[0, 1]
            lower = (1 - a) * corners[1, 0] + a * corners[1, 1]
            away = back[row, column] + (1 - b) * upper + b * lower
            if np.linalg.norm(away) <= 1:
                compared += 1
                changed += before[round(float(y)), round(float(x))] != after[row, column]
    _, found = flicker([(old, before), (new, after)])
    assert 0.02 * compared < changed < 0.2 * compared and compared > 0.5 * 96 * 64
    assert found == pytest.approx((changed, compared), rel=0.01)
