# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drawings of small flat things, in metres."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .textures import Colour, noise, Texture


class Sketch:
    """
    A drawing and its coverage, with x from its middle and y from the ground, in metres.

    :param width: width in metres.
    :param height: height in metres.
    :param scale: pixels per metre.
    """

    def __init__(self, width: float, height: float, scale: float = 110.0) -> None:
        self.size = (width, height)
        self.scale = scale
        self.image = np.zeros((round(height * scale), round(width * scale), 3), np.float32)
        self.coverage = np.zeros(self.image.shape[:2], np.uint8)

    def at(self, x: float, y: float) -> tuple[int, int]:
        """Return the pixel (column, row) of a point given in metres."""
        return round((x + self.size[0] / 2) * self.scale), round((self.size[1] - y) * self.scale)

    def line(
        self, points: Sequence[tuple[float, float]], thickness: float, colour: Colour
    ) -> None:
        """Draw a line through points, such as a limb or a tube, ``thickness`` metres thick."""
        pixels = np.array([self.at(*point) for point in points], np.int32)
        width = max(1, round(thickness * self.scale))
        cv2.polylines(self.image, [pixels], False, colour, width)
        cv2.polylines(self.coverage, [pixels], False, 255, width)

    def shape(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""
        pixels = np.array([self.at(*point) for point in points], np.int32)
        cv2.fillPoly(self.image, [pixels], colour)
        cv2.fillPoly(self.coverage, [pixels], 255)

    def disc(self, x: float, y: float, radius: float, colour: Colour, tall: float = 1.0) -> None:
        """Fill a circle, or an ellipse that is ``tall`` times as high as wide."""
        axes = (max(1, round(radius * self.scale)), max(1, round(radius * tall * self.scale)))
        cv2.ellipse(self.image, self.at(x, y), axes, 0, 0, 360, colour, -1)
        cv2.ellipse(self.coverage, self.at(x, y), axes, 0, 0, 360, 255, -1)

    def texture(self, rng: np.random.RandomState, roughness: float) -> Texture:
        """Return the drawing as a texture, lit from one side and roughened by noise."""
        height, width = self.coverage.shape
        side = np.linspace(1.16, 0.84, width, dtype=np.float32)
        colours = self.image * side[None, :, None]
        colours *= (1 + roughness * noise(rng, height, width))[..., None]
        pixels = np.dstack([np.clip(colours, 0, 255).astype(np.uint8), self.coverage])
        return Texture(pixels, self.size, kind='cutout')
