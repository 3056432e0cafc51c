# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Changes of an image's appearance, compared with their definitions, computed otherwise."""

import colorsys
from dataclasses import fields

import cv2
import numpy as np
import pytest

from seg_ros.datasets import appearance
from seg_ros.datasets.appearance import Appearance, RATE
from seg_ros.datasets.augmentation import Augmentation
from seg_ros.training.config import Recipe

OFF = {f.name: f.default for f in fields(Appearance)}
STRONG = {
    'jitter': 0.4,
    'hue': 20.0,
    'gamma': 2.0,
    'gain': 0.2,
    'blur': 2.0,
    'noise': 15.0,
    'jpeg': 20,
    'shadow': 0.7,
    'rain': 0.8,
    'fog': 0.8,
}


def street(height=96, width=128):
    """Return an image of smooth colours, none of which is black or white."""
    small = np.random.default_rng(0).integers(40, 216, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_every_strength_is_a_key_of_the_recipe():
    assert STRONG.keys() == OFF.keys()
    recipe = Recipe({'name': 'icnet'}, 'camvid', **STRONG)
    assert recipe.appearance == Appearance(**STRONG)


def test_by_default_nothing_changes():
    image = street()
    np.testing.assert_array_equal(Appearance()(image, rng()), image)


@pytest.mark.parametrize('name', STRONG)
def test_each_change_alone(name):
    """A change happens at its rate, results in an image, and depends on the seed alone."""
    change, image = Appearance(**{name: STRONG[name]}), street()
    results = [change(image, rng(seed)) for seed in range(200)]
    assert all(r.dtype == np.uint8 and r.shape == image.shape for r in results)
    np.testing.assert_array_equal(change(image, rng(7)), results[7])
    changed = np.mean([(r != image).any() for r in results])
    if name in ('jitter', 'hue', 'gamma', 'gain'):
        assert changed > 0.9
    else:  # within four standard deviations of a binomial distribution of 200
        assert abs(changed - RATE) < 0.13
    np.testing.assert_array_equal(image, street(), 'the original was changed')


def test_a_change_that_is_off_leaves_the_others_as_they_are():
    """Changes that are off draw no random numbers, so that a recipe's images stay the same."""
    image = street()
    alone = Appearance(jitter=0.4)
    for seed in range(5):
        # Changes before it in the order are off; those after it cannot affect it.
        after = rng(seed)
        alone(image, after)
        assert after.random() == pytest.approx(_after_three(seed))


def _after_three(seed):
    generator = rng(seed)
    generator.uniform(-0.4, 0.4, 3)
    return generator.random()


def test_jitter_as_arithmetic_on_each_pixel():
    image = street()
    found = Appearance(jitter=0.3)(image, rng(5))
    brightness, contrast, saturation = 1 + rng(5).uniform(-0.3, 0.3, 3)
    middle = 127.5 * brightness
    x = np.clip((image * brightness - middle) * contrast + middle, 0, 255)
    grey = (x @ [0.299, 0.587, 0.114])[..., None]
    expected = np.clip(grey + saturation * (x - grey), 0, 255)
    assert np.abs(found - expected).max() <= 2.5  # the error of three roundings


def test_gamma_and_gain_as_arithmetic_on_each_pixel():
    image = street()
    found = Appearance(gamma=2.0, gain=0.2)(image, rng(3))
    generator = rng(3)
    generator.uniform(0, 0, 3)
    exponent = 2.0 ** generator.uniform(-1, 1)
    gains = 1 + generator.uniform(-0.2, 0.2, 3)
    expected = np.clip(255 * (image / 255) ** exponent * gains, 0, 255)
    assert np.abs(found - expected).max() <= 2


@pytest.mark.parametrize('degrees', [-30.0, 10.0, 90.0])
def test_hue_turns_as_colorsys_does(degrees):
    image = street(8, 8)
    found = appearance.turn_hue(image, degrees)
    for before, after in zip(image.reshape(-1, 3), found.reshape(-1, 3)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = 255 * np.array(
            colorsys.hsv_to_rgb((hue + degrees / 360) % 1, saturation, value)
        )
        # The circle has 256 steps here, saturation too.
        assert np.abs(after - expected).max() <= 6


def test_a_shadow_takes_its_share_on_one_side_of_a_line():
    image = np.full((100, 200, 3), 200, np.uint8)
    found = appearance.cast_shadow(image, 0.4, rng(2))
    values, counts = np.unique(found[..., 0], return_counts=True)
    assert values[0] in (119, 120) and values[-1] == 200
    assert counts[0] + counts[-1] > 0.95 * image[..., 0].size, 'all but an edge is one of both'
    assert min(counts[0], counts[-1]) > 0.05 * image[..., 0].size


def test_fog_follows_koschmieder():
    """Light is J t + A (1 - t), and t falls exponentially with the distance of flat ground."""
    image = street(200, 64)
    found = appearance.add_fog(image, 0.8, rng(4)).astype(float)
    generator = rng(4)
    horizon, airlight = generator.uniform(0.3, 0.6) * 200, generator.uniform(150, 230)
    for row in range(200):
        below = max((row - horizon) / (200 - horizon), 0.04)
        transmission = 0.2 ** (0.04 / below)  # 1 - 0.8 at the horizon
        expected = image[row] * transmission + airlight * (1 - transmission)
        assert np.abs(found[row] - expected).max() <= 1


def test_rain_adds_bright_slanted_streaks():
    image = np.full((200, 200, 3), 100, np.uint8)
    found = appearance.add_rain(image, 0.5, rng(1)).astype(int)
    background = np.bincount(found[..., 0].ravel()).argmax()
    assert background == round(100 * (1 - 0.15) + 20)
    streaks = (found[..., 0] > background).mean()
    more = (appearance.add_rain(image, 1.0, rng(1)).astype(int)[..., 0] > 110).mean()
    assert 0.02 < streaks < more < 0.5
    assert (np.ptp(found, axis=-1) == 0).all(), 'rain has no colour'


def test_noise_has_its_deviation_and_no_bias():
    image = np.full((200, 200, 3), 128, np.uint8)
    difference = appearance.add_noise(image, 10.0, rng(1)).astype(float) - 127.5
    assert abs(difference.mean()) < 0.3
    assert difference.std() == pytest.approx(10, rel=0.05)
    channels = np.corrcoef(difference.reshape(-1, 3).T)
    assert np.abs(channels[np.triu_indices(3, 1)] - 0.5).max() < 0.05, 'half of it is common'


def test_blur_spreads_a_point_as_a_gaussian():
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    found = appearance.blur(image, 1.5, rng()).astype(float)[..., 0]
    x = np.arange(41) - 20
    expected = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.5**2))
    expected *= 255 / expected.sum()
    assert np.abs(found - expected).max() <= 1


def test_jpeg_is_that_of_its_quality():
    image = street()
    found = appearance.compress(image, 80.0, rng())
    quality = [cv2.IMWRITE_JPEG_QUALITY, 20]
    expected = cv2.imdecode(cv2.imencode('.jpg', image[..., ::-1], quality)[1], cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(found, expected[..., ::-1])
    assert 0 < np.abs(found.astype(int) - image).mean() < 12


def test_labels_know_nothing_of_it():
    image = street()
    labels = np.random.default_rng(1).integers(0, 5, image.shape[:2], dtype=np.uint8)
    plain = Augmentation((64, 96))
    strong = Augmentation((64, 96), appearance=Appearance(**STRONG))
    for seed in range(10):
        np.testing.assert_array_equal(
            strong(image, labels, rng(seed))[1], plain(image, labels, rng(seed))[1]
        )


@pytest.mark.parametrize(
    ('key', 'value', 'expected'),
    [
        ('hue', 181.0, '0 to 180'),
        ('gamma', 0.5, '1 or more'),
        ('gain', 1.5, '0 to 1'),
        ('blur', -1.0, '0 or more'),
        ('noise', -1.0, '0 or more'),
        ('jpeg', 0, '1 to 100'),
        ('shadow', 2.0, '0 to 1'),
        ('rain', 2.0, '0 to 1'),
        ('fog', -0.1, '0 to 1'),
    ],
)
def test_a_recipe_refuses_strengths_that_cannot_be(key, value, expected):
    with pytest.raises(ValueError, match=f'{key}: expected {expected}; found {value}'):
        Recipe({'name': 'icnet'}, 'camvid', **{key: value})
