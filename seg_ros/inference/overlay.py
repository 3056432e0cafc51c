# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of labels, for people: class colours, overlays, a legend."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .image_file import Image
from .labels import IGNORE, LabelSet, Palette


@lru_cache(maxsize=16)
def _table(palette: Palette) -> Image:
    """Return the palette as OpenCV's look-up table; ids without a colour are black."""
    table = np.zeros((1, 256, 3), np.uint8)
    table[0, : len(palette)] = palette
    return table


def colorize(mask: Image, palette: Palette) -> Image:
    """
    Paint each pixel of a mask in its class's colour.

    :param mask: class ids, (H, W).
    :param palette: one colour an id; the result has the palette's channel order.
    :returns: (H, W, 3); unlabeled pixels are black.
    """
    return cv2.LUT(cv2.merge([mask, mask, mask]), _table(palette))


def overlay(image: Image, mask: Image, palette: Palette, opacity: float = 0.5) -> Image:
    """
    Lay a mask's colours over an image of the same size and channel order.

    :param opacity: of the colours, 0 to 1; unlabeled pixels stay as they are.
    :returns: (H, W, 3).
    """
    blended = cv2.addWeighted(colorize(mask, palette), opacity, image, 1 - opacity, 0)
    return cv2.copyTo(image, cv2.compare(mask, IGNORE, cv2.CMP_EQ), blended)


def legend(labels: LabelSet, height: int) -> Image:
    """
    Draw the class names beside their colours.

    :param height: of the picture in pixels; the rows share it evenly.
    :returns: RGB, (height, W, 3), black letters on white.
    """
    row = height / len(labels)
    scale = min(row / 32, 0.6)
    font = cv2.FONT_HERSHEY_SIMPLEX
    widest = max(cv2.getTextSize(name, font, scale, 1)[0][0] for name in labels.names)
    picture = np.full((height, round(2 * row) + widest + 8, 3), 255, np.uint8)
    for i, (name, color) in enumerate(zip(labels.names, labels.palette)):
        top, bottom = round(i * row) + 1, round((i + 1) * row) - 1
        cv2.rectangle(picture, (3, top), (round(1.5 * row), bottom), color, cv2.FILLED)
        corner = (round(2 * row), round((i + 0.5) * row + 10 * scale))
        cv2.putText(picture, name, corner, font, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return picture
