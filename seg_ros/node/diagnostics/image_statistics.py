# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a camera's pictures are black, white or always the same, from a few of the pixels."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...images.image_file import Image

POINTS = 64
"""Of how many rows and columns a picture is looked at, about."""

WHITE = 250
"""A pixel is saturated from here on in all its channels."""


class Look(NamedTuple):
    """
    What was seen of one picture.

    :param pixels: a copy of some of them, uint8 RGB, (h, w, 3).
    :param brightness: their mean, 0 to 255.
    :param saturated: the share of those that are white, 0 to 1.
    """

    pixels: Image
    brightness: float
    saturated: float


def look(image: Image) -> Look:
    """
    Look at a picture.

    :param image: uint8 RGB, (H, W, 3), with any strides.
    """
    height, width = image.shape[:2]
    pixels = image[:: -(-height // POINTS), :: -(-width // POINTS)].copy()
    white = cv2.countNonZero(cv2.inRange(pixels, (WHITE,) * 3, (255,) * 3))
    seen = pixels.shape[0] * pixels.shape[1]
    return Look(pixels, sum(cv2.mean(pixels)[:3]) / 3, white / seen)


def same(one: Look | None, other: Look) -> bool:
    """Return whether nothing differs between two pictures, as far as they were looked at."""
    return one is not None and np.array_equal(one.pixels, other.pixels)
