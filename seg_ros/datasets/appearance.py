# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random changes of an image's appearance, so that a network meets more cameras and weathers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.image_file import decode_image, encode_image, Image

RATE = 0.3
"""The probability of each change of :class:`Appearance`, the colour changes excepted."""


@dataclass(frozen=True)
class Appearance:
    """
    Changes of colour, sharpness, light and weather, each up to a largest strength.

    Colours change in every image; every other change is made with the probability :data:`RATE`.
    Its strength is drawn evenly between none and the largest one. By default nothing changes.

    :param jitter: largest relative change of brightness, contrast and saturation.
    :param hue: largest turn of the hue, in degrees.
    :param gamma: largest exponent that brightness (0 to 1) is raised to; its inverse is the
        smallest one.
    :param gain: largest relative change of each colour channel by itself, as by white balance.
    :param blur: largest standard deviation of a Gaussian blur, in pixels.
    :param noise: largest standard deviation of sensor noise, in steps of 8-bit brightness.
    :param jpeg: lowest quality of a JPEG compression, 1 to 100.
    :param shadow: largest share of the light that a shadow across the image takes away, 0 to 1.
    :param rain: largest density of drawn rain streaks, 0 to 1.
    :param fog: largest share of airlight at the horizon, 0 to 1, as in Koschmieder's law.
    """

    jitter: float = 0.0
    hue: float = 0.0
    gamma: float = 1.0
    gain: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = 100
    shadow: float = 0.0
    rain: float = 0.0
    fog: float = 0.0

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """
        Return a changed copy of an image.

        :param image: uint8 RGB, (H, W, 3).
        :returns: uint8 RGB, (H, W, 3).
        """
        image = self._colours(np.ascontiguousarray(image), rng)
        for largest, change in (
            (self.shadow, cast_shadow),
            (self.fog, add_fog),
            (self.rain, add_rain),
            (self.blur, blur),
            (self.noise, add_noise),
            (100 - self.jpeg, compress),
        ):
            # A change that is off draws no random numbers, so that it does not alter the others.
            if largest and rng.random() < RATE:
                image = change(image, float(rng.uniform(0, largest)), rng)
        return image

    def _colours(self, image: Image, rng: np.random.Generator) -> Image:
        brightness, contrast, saturation = 1 + rng.uniform(-self.jitter, self.jitter, 3)
        # Changes that act on each value alone are combined into one table for each channel.
        values = np.arange(256) * brightness
        values = np.clip((values - values.mean()) * contrast + values.mean(), 0, 255)
        if self.gamma > 1:
            values = 255 * (values / 255) ** np.exp(rng.uniform(-1, 1) * np.log(self.gamma))
        tables = np.repeat(values[:, None], 3, axis=1)
        if self.gain:
            tables = tables * (1 + rng.uniform(-self.gain, self.gain, 3))
        image = cv2.LUT(image, np.clip(tables, 0, 255).astype(np.uint8)[None])
        if self.hue:
            image = turn_hue(image, float(rng.uniform(-self.hue, self.hue)))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return cv2.addWeighted(
            image, saturation, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1 - saturation, 0
        )


def turn_hue(image: Image, degrees: float) -> Image:
    """Return an RGB image whose hues are turned around the colour circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)  # 256 steps around the circle
    hsv[..., 0] += np.uint8(round(degrees * 256 / 360) % 256)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def cast_shadow(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Return an image that is darker on one side of a random line, by ``strength`` (0 to 1)."""
    height, width = image.shape[:2]
    angle, (x, y) = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8, 2)
    rows, columns = np.ogrid[:height, :width]
    side = np.cos(angle) * (columns - x * width) + np.sin(angle) * (rows - y * height)
    # The sun is not a point: the shadow's edge is as wide as a hundredth of the image.
    lit = np.clip(side / (0.01 * width) + 0.5, 0, 1).astype(np.float32)
    return _scaled(image, 1 - strength * (1 - lit))


def add_fog(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """
    Return an image in fog: the farther away a row is, the more of it is airlight.

    Koschmieder's law gives the share of airlight at a distance. A row's distance is that of a flat
    road below a random horizon; all rows above the horizon are as far away as it is.
    """
    height = image.shape[0]
    horizon = rng.uniform(0.3, 0.6) * height
    distance = 1 / np.clip((np.arange(height) - horizon) / (height - horizon), 0.04, 1)
    density = -np.log(max(1 - strength, 1e-3)) * 0.04
    share = (1 - np.exp(-density * distance)).astype(np.float32)[:, None]
    airlight = rng.uniform(150, 230)
    return _scaled(image, np.broadcast_to(1 - share, image.shape[:2]), airlight * share[..., None])


def add_rain(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Return a greyer image with streaks of rain, all of one slant."""
    height, width = image.shape[:2]
    streaks = np.zeros((height, width), np.uint8)
    slant, length = rng.uniform(-0.3, 0.3), rng.uniform(0.03, 0.08) * height
    starts = rng.uniform((-length, 0), (height, width), (int(strength * height * width / 400), 2))
    lengths = length * rng.uniform(0.5, 1.5, len(starts))
    for (y, x), long in zip(starts, lengths):
        end = round(x + slant * long), round(y + long)
        cv2.line(streaks, (round(x), round(y)), end, int(rng.integers(40, 120)), 1, cv2.LINE_AA)
    wet = cv2.addWeighted(image, 1 - 0.3 * strength, image, 0, 40 * strength)
    return cv2.add(wet, cv2.cvtColor(streaks, cv2.COLOR_GRAY2RGB))


def blur(image: Image, sigma: float, _: np.random.Generator) -> Image:
    """Return an image blurred by a Gaussian with a standard deviation of ``sigma`` pixels."""
    return cv2.GaussianBlur(image, (0, 0), max(sigma, 0.1))


def add_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Return an image with noise of that standard deviation, half of it shared by all channels."""
    height, width = image.shape[:2]
    # To draw fewer random numbers, each channel uses the same ones in another order.
    noise = rng.normal(0, sigma / np.sqrt(2), height * width).astype(np.float32)
    shifts = rng.integers(0, noise.size, 3)
    channels = [(noise + np.roll(noise, s)).reshape(height, width) for s in shifts]
    return np.clip(image + np.stack(channels, -1), 0, 255).astype(np.uint8)


def compress(image: Image, loss: float, _: np.random.Generator) -> Image:
    """Return an image after a JPEG compression of the quality 100 - ``loss``."""
    return decode_image(encode_image(image, '.jpg', max(1, round(100 - loss))), 'a JPEG')


def _scaled(
    image: Image, factor: NDArray[np.float32], offset: NDArray[np.float32] | float = 0.0
) -> Image:
    """Return the image times a factor for each pixel, plus an offset."""
    return np.clip(image * factor[..., None] + offset, 0, 255).astype(np.uint8)
