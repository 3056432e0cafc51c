# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ego masks: the part of a camera's image that shows the vehicle that carries the camera."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from .image_file import Image, ImageFileError, read_channels
from .labels import IGNORE

SIZES = 4
"""How many sizes of a mask are kept: the camera's and the network's, before and after a change."""


def read_ego_mask(path: str | Path) -> Image:
    """
    Read an ego mask: an image whose pixels are not black where the vehicle is.

    White on black will do, and so will a cut-out of the vehicle. A pixel counts if any of its
    colour channels is not zero and it is not fully transparent.

    :returns: uint8 (H, W), 255 where the vehicle is, else 0.
    :raises ImageFileError: the file is not an image, is a JPEG (which changes pixels), or shows no
        vehicle.
    :raises OSError: the file cannot be read.
    """
    channels = read_channels(path)
    if channels.ndim == 2:
        vehicle = channels != 0
    elif channels.shape[2] == 4:
        vehicle = channels[:, :, :3].any(axis=2) & (channels[:, :, 3] != 0)
    else:
        vehicle = channels.any(axis=2)
    if not vehicle.any():
        raise ImageFileError(
            f'{path}: expected pixels other than black where the vehicle is; found none. Paint it '
            'white, or leave the parameter empty where the camera does not see the vehicle'
        )
    return vehicle.view(np.uint8) * np.uint8(IGNORE)


class EgoMask:
    """
    An ego mask for images of any size. Several threads may use it at once.

    :param path: the image file to read the mask from.
    :raises ImageFileError: as :func:`read_ego_mask`.
    :raises OSError: as :func:`read_ego_mask`.
    """

    def __init__(self, path: str | Path) -> None:
        mask = read_ego_mask(path)

        @lru_cache(SIZES)
        def resized(height: int, width: int) -> tuple[Image, Image]:
            """Return the mask at a size, and its inverse."""
            vehicle = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
            return vehicle, ~vehicle

        self._resized = resized

    def apply(self, labels: Image, confidence: Image | None = None) -> None:
        """
        Mark the vehicle's pixels as unlabeled, in place.

        :param labels: class ids, uint8 (H, W); they become 255 where the vehicle is.
        :param confidence: uint8 of the same size; it becomes 0 where the vehicle is.
        """
        vehicle, elsewhere = self._resized(*labels.shape)
        # Bitwise operations do the same as a choice by mask here, and are 20 times faster.
        np.bitwise_or(labels, vehicle, out=labels)
        if confidence is not None:
            np.bitwise_and(confidence, elsewhere, out=confidence)
