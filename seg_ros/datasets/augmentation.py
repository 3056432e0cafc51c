# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random changes to an image and its labels together, for training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from ..images.image_file import Image
from ..images.labels import IGNORE
from .appearance import Appearance


@dataclass(frozen=True)
class Augmentation:
    """
    Scale, crop, flip and change the appearance of an image, and scale, crop and flip its labels.

    :param crop: (height, width) of the result; pixels that lie outside the image are ignored.
    :param scale: smallest and largest factor; drawn evenly on a logarithmic scale.
    :param stretch: largest change of the width against the height, as a factor.
    :param flip: whether to mirror half of the images.
    :param appearance: changes of the image that leave its labels as they are.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    stretch: float = 1.0
    flip: bool = True
    appearance: Appearance = field(default_factory=Appearance)

    def __call__(
        self, image: Image, labels: Image, rng: np.random.Generator
    ) -> tuple[Image, Image]:
        """
        Return changed copies of an image and its labels.

        :param image: uint8 RGB, (H, W, 3).
        :param labels: uint8 train ids, (H, W).
        :returns: uint8 (*crop, 3) and (*crop).
        """
        factor = np.exp(rng.uniform(*np.log(self.scale)))
        stretch = np.exp(rng.uniform(-1, 1) * np.log(self.stretch))
        # Crop before resizing: most pixels of a large image would be resized in vain.
        rows = _window(image.shape[0], self.crop[0], factor, rng)
        columns = _window(image.shape[1], self.crop[1], factor * stretch, rng)
        window = np.s_[rows.start : rows.stop, columns.start : columns.stop]
        size = (columns.length, rows.length)
        smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image[window], size, interpolation=smooth)
        labels = cv2.resize(labels[window], size, interpolation=cv2.INTER_NEAREST_EXACT)
        if (rows.length, columns.length) != self.crop:
            border = (*rows.border, *columns.border, cv2.BORDER_CONSTANT)
            image = cv2.copyMakeBorder(image, *border, value=(124, 116, 104))
            labels = cv2.copyMakeBorder(labels, *border, value=IGNORE)
        if self.flip and rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return self.appearance(image, rng), np.ascontiguousarray(labels)


class _Window(NamedTuple):
    """
    A crop along one axis of an image.

    :param start: first pixel of the image that is cut out.
    :param stop: the pixel behind the last one.
    :param length: the length that the cut-out is scaled to, in pixels.
    :param border: ignored pixels that are added before and behind it.
    """

    start: int
    stop: int
    length: int
    border: tuple[int, int]


def _window(image: int, crop: int, factor: float, rng: np.random.Generator) -> _Window:
    """
    Choose at random which part of an image becomes the crop, along one axis.

    :param image: length of the image in pixels.
    :param crop: length of the crop in pixels.
    :param factor: the factor to scale by.
    """
    cut = min(image, max(1, round(crop / factor)))
    # If the whole image is used, its length is scaled as exactly as whole pixels allow.
    length = crop if cut < image else min(crop, max(1, round(image * factor)))
    start = int(rng.integers(0, image - cut + 1))
    # The border is split at random between both sides, so that the image has no fixed place.
    before = int(rng.integers(0, crop - length + 1))
    return _Window(start, start + cut, length, (before, crop - length - before))
