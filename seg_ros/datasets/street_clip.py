# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A short clip of a real street that comes with the package; its frames are seconds apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2

from ..images.image_file import Image, images_in, read_image

FOLDER = Path(__file__).parent / 'clip'
"""The folder of the frames (832x468) and of their licence (CC BY 4.0)."""

RATE = 2.0
"""The frames per second at which the clip is shown, faster than it was recorded."""


def street_clip(size: tuple[int, int]) -> Iterator[Image]:
    """
    Yield the frames in order, uint8 RGB (H, W, 3).

    :param size: width and height in pixels to scale the frames to.
    """
    for path in images_in(FOLDER):
        yield cv2.resize(read_image(path), size, interpolation=cv2.INTER_AREA)
