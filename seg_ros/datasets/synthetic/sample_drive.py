# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A synthetic drive through a street, with exact labels in CamVid's classes.

The street is a function of the seed and of the distance along the road, and its traffic one of
the time as well, so that any frame can be drawn on its own. The world is flat and traffic keeps
left. The camera is a pin-hole 1.35 m above the ground; its turns are so small that they are drawn
as shears.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ...images.labels import CAMVID
from . import textures
from .camera_state import CameraState
from .layout import FRAME, kit_of
from .textures import Pixels, random_state
from .view import draw


class SampleDrive:
    """
    A synthetic drive as a sequence of frames.

    :param seed: the seed of the street, its traffic and its weather.
    :param frames: number of frames.
    :param size: width and height in pixels, 16 or more.
    :param rate: frames per second.
    :raises ValueError: the size, rate or number of frames is too small.
    """

    labels = CAMVID

    def __init__(
        self,
        seed: int = 0,
        frames: int = 300,
        size: tuple[int, int] = (640, 360),
        rate: float = 10.0,
    ) -> None:
        if frames < 1 or min(size) < 16 or not rate > 0:
            raise ValueError(
                'expected at least 1 frame, a size of 16x16 pixels or more and a rate above 0; '
                f'found frames={frames}, size={size[0]}x{size[1]}, rate={rate}'
            )
        self.seed, self.frames, self.size, self.rate = seed, frames, size, rate
        self.focal = 0.95 * math.sqrt(size[0] * size[1])
        self._kit = kit_of(seed)
        self._optics = _Optics(seed, size)

    @property
    def camera_matrix(self) -> NDArray[np.float64]:
        """
        The matrix, (3, 3), that projects points (x right, y down, z ahead) to pixels.

        The centres of pixels have integer coordinates.
        """
        width, height = self.size
        f = self.focal
        return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]], np.float64)

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        """
        Draw a frame.

        :returns: the image, uint8 RGB (H, W, 3), and its train ids, uint8 (H, W).
        :raises IndexError: there is no such frame.
        """
        index = range(self.frames)[index]
        camera = CameraState(self._kit, index / self.rate)
        pixels = draw(camera, self.size, self.focal)
        image = self._optics.photograph(pixels[..., :3], camera, index)
        return image, pixels[..., 3].copy()


class _Optics:
    """The effects of lens and sensor on the image."""

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        width, height = size
        rng = random_state(seed, FRAME)
        self.scale = math.sqrt(width * height) / 480
        grain = textures.noise(rng, height + 32, 3 * (width + 32)).reshape(
            height + 32, width + 32, 3
        )
        smooth = cv2.GaussianBlur(grain, (3, 3), 0.6)
        self.grain = np.clip(3.4 * smooth + 0.8 * grain, -20, 20).astype(np.int16)
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]  # type: ignore[misc]
        self.vignette = np.repeat(
            (255 * (1 - 0.13 * (x * x + y * y)))[..., None].astype(np.uint8), 3, 2
        )

    def photograph(self, colours: Pixels, camera: CameraState, index: int) -> Pixels:
        """Return the frame with blur of motion and lens, exposure, dark corners and noise."""
        height, width = colours.shape[:2]
        image = np.ascontiguousarray(colours)
        zoom = 1.001 + 0.003 * math.sin(camera.time * 0.9) ** 2
        x, y = (width - 1) / 2, (height - 1) / 2
        ahead = np.array([[zoom, 0, x * (1 - zoom)], [0, zoom, y * (1 - zoom) + 0.4 * camera.bob]])
        moved = cv2.warpAffine(image, ahead, (width, height), borderMode=cv2.BORDER_REPLICATE)
        image = cv2.addWeighted(image, 0.5, moved, 0.5, 0)
        image = cv2.GaussianBlur(image, (0, 0), 0.25 + 0.2 * self.scale)
        soft = cv2.GaussianBlur(image, (0, 0), 0.4 + 0.8 * self.scale)
        image = cv2.addWeighted(image, 1.5, soft, -0.5, 0)  # Cameras sharpen their images.
        image = cv2.LUT(image, camera.exposure())
        image = cv2.multiply(image, self.vignette, scale=1 / 255)
        rng = random_state(camera.kit.seed, FRAME, index)
        top, left = rng.randint(0, 32, 2)
        grain = self.grain[top : top + height, left : left + width]
        return cv2.add(image, grain, dtype=cv2.CV_8U)
