# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random changes to an image and its labels together, for training."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..inference.image_file import Image
from ..inference.labels import IGNORE


@dataclass(frozen=True)
class Augmentation:
    """
    Flip, scale, crop and photometric change.

    :param crop: (height, width) of the result; what lies outside the image is ignored.
    :param scale: smallest and largest factor; drawn evenly on a logarithmic scale.
    :param stretch: largest change of the width against the height, as a factor.
    :param flip: whether to mirror half of the images.
    :param jitter: largest relative change of brightness, contrast and saturation.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    stretch: float = 1.0
    flip: bool = True
    jitter: float = 0.4

    def __call__(
        self, image: Image, labels: Image, rng: np.random.Generator
    ) -> tuple[Image, Image]:
        """
        Return a changed copy of both.

        :param image: uint8 RGB, (H, W, 3).
        :param labels: uint8 train ids, (H, W).
        :returns: uint8 (*crop, 3) and (*crop).
        """
        factor = np.exp(rng.uniform(*np.log(self.scale)))
        stretch = np.exp(rng.uniform(-1, 1) * np.log(self.stretch))
        height = max(1, round(image.shape[0] * factor))
        width = max(1, round(image.shape[1] * factor * stretch))
        smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, (width, height), interpolation=smooth)
        labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        image, labels = self._crop(image, labels, rng)
        if self.flip and rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return self._photometric(image, rng), np.ascontiguousarray(labels)

    def _crop(self, image: Image, labels: Image, rng: np.random.Generator) -> tuple[Image, Image]:
        crop_height, crop_width = self.crop
        missing = (max(0, crop_height - image.shape[0]), max(0, crop_width - image.shape[1]))
        if any(missing):
            # A random share of the border on each side, so that no place is special.
            top, left = (int(rng.integers(0, m + 1)) for m in missing)
            border = (top, missing[0] - top, left, missing[1] - left, cv2.BORDER_CONSTANT)
            image = cv2.copyMakeBorder(image, *border, value=(124, 116, 104))
            labels = cv2.copyMakeBorder(labels, *border, value=IGNORE)
        y = int(rng.integers(0, image.shape[0] - crop_height + 1))
        x = int(rng.integers(0, image.shape[1] - crop_width + 1))
        window = np.s_[y : y + crop_height, x : x + crop_width]
        return image[window], labels[window]

    def _photometric(self, image: Image, rng: np.random.Generator) -> Image:
        brightness, contrast, saturation = 1 + rng.uniform(-self.jitter, self.jitter, 3)
        # Brightness and contrast act on each value alone: one table does both.
        values = np.arange(256) * brightness
        table = np.clip((values - values.mean()) * contrast + values.mean(), 0, 255)
        image = cv2.LUT(np.ascontiguousarray(image), table.astype(np.uint8))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return cv2.addWeighted(
            image, saturation, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1 - saturation, 0
        )
