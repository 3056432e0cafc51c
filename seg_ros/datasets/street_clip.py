# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A real street that comes with the package: consecutive frames, some seconds apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2

from ..images.image_file import Image, images_in, read_image

FOLDER = Path(__file__).parent / 'clip'
"""Of the frames, 832x468, and of their licence, CC BY 4.0."""

RATE = 2.0
"""Frames a second that the clip is shown at, which is faster than the drive was."""


def street_clip(size: tuple[int, int]) -> Iterator[Image]:
    """
    Yield the frames in their order, uint8 RGB (H, W, 3).

    :param size: width and height to scale them to.
    """
    for path in images_in(FOLDER):
        yield cv2.resize(read_image(path), size, interpolation=cv2.INTER_AREA)
