# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of a camera's images, which show that they are black, white or frozen."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...images.image_file import Image

POINTS = 64
"""The most rows and columns of an image whose pixels are sampled."""

WHITE = 250
"""A pixel is saturated if all its channels have at least this value."""


class ImageStatistics(NamedTuple):
    """
    Statistics of one image, taken from a sample of its pixels.

    :param pixels: a copy of the sampled pixels, uint8 RGB, (h, w, 3).
    :param brightness: their mean, 0 to 255.
    :param saturated: the share of saturated pixels, 0 to 1.
    """

    pixels: Image
    brightness: float
    saturated: float


def image_statistics(image: Image) -> ImageStatistics:
    """
    Sample an image's pixels, and return their statistics.

    :param image: uint8 RGB, (H, W, 3), with any strides.
    """
    height, width = image.shape[:2]
    pixels = image[:: -(-height // POINTS), :: -(-width // POINTS)].copy()
    white = cv2.countNonZero(cv2.inRange(pixels, (WHITE,) * 3, (255,) * 3))
    count = pixels.shape[0] * pixels.shape[1]
    return ImageStatistics(pixels, sum(cv2.mean(pixels)[:3]) / 3, white / count)


def same_image(one: ImageStatistics | None, other: ImageStatistics) -> bool:
    """Return whether all sampled pixels of two images are equal; False if ``one`` is None."""
    return one is not None and np.array_equal(one.pixels, other.pixels)
