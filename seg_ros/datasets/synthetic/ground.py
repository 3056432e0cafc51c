# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The textures of a synthetic street's ground and fences."""

from __future__ import annotations

import cv2
import numpy as np

from .textures import (
    clouds,
    Colour,
    FACADE_LINE,
    GROUND_PERIOD,
    noise,
    pick,
    plane,
    ROAD_HALF_WIDTH,
    TEXEL,
    Texture,
    to_pixels,
)


def ground(rng: np.random.RandomState) -> Texture:
    """Draw one period of the ground, along the road by rows, 10 m to either side by columns."""
    height, width = round(GROUND_PERIOD / TEXEL), round(20 / TEXEL)
    across = (np.arange(width, dtype=np.float32) + 0.5) * TEXEL - 10
    image = plane(height, width, (74, 77, 81))
    relief = clouds(rng, height, width, 3, 5)
    wheel = np.exp(-((np.abs(np.abs(across) - 1.9) - 0.75) ** 2) / 0.08).astype(np.float32)
    image *= (1 + 0.05 * relief - 0.07 * wheel)[..., None]
    for _ in range(26):  # repairs, and below manholes
        x, y = rng.randint(150, width - 150), rng.randint(0, height - 200)
        w, h = rng.randint(16, 70), rng.randint(20, 190)
        image[y : y + h, x : x + w] *= 0.82 + 0.26 * rng.random_sample()
    for _ in range(10):
        centre = (int(rng.randint(240, width - 240)), int(rng.randint(60, height - 60)))
        cv2.circle(image, centre, 12, (62, 62, 62), -1)
        cv2.circle(image, centre, 12, (98, 98, 98), 1)
    for _ in range(14):  # cracks filled with tar
        x, y = rng.randint(230, width - 230), rng.randint(0, height - 300)
        steps = np.cumsum(rng.randint(-3, 4, 40))
        line = np.stack([x + steps, y + 7 * np.arange(40)], 1).astype(np.int32)
        cv2.polylines(image, [line], False, (58, 58, 60), 1)
    worn = 0.82 + 0.09 * relief

    def mark(y: float, length: float, x: float, thickness: float, colour: Colour) -> None:
        """Paint a rectangle from ``y`` metres along the road, whose middle is ``x`` across it."""
        rows = slice(round(y / TEXEL), round((y + length) / TEXEL))
        columns = slice(
            round((x - thickness / 2 + 10) / TEXEL), round((x + thickness / 2 + 10) / TEXEL)
        )
        part = image[rows, columns]
        paint = np.array(colour, np.float32) * worn[rows, columns, None]
        part += (paint - part) * 0.9

    for start in np.arange(0, GROUND_PERIOD, 6.0):
        mark(float(start), 2.6, 0.0, 0.13, (214, 214, 208))
    for side in (-1, 1):
        for inset in (0.28, 0.5):
            mark(0 if side < 0 else 40, 56, side * (ROAD_HALF_WIDTH - inset), 0.09, (176, 158, 88))
        mark(60, 20, side * (ROAD_HALF_WIDTH - 1.95), 0.1, (205, 205, 200))
    for stripe in range(8):  # a pedestrian crossing
        mark(84, 2.8, -4.1 + 1.1 * stripe, 0.55, (218, 218, 212))
    mark(80.5, 0.3, -ROAD_HALF_WIDTH / 2, ROAD_HALF_WIDTH - 0.3, (214, 214, 208))

    slabs = plane(height, width, (76, 77, 78)) * (1 + 0.06 * relief)[..., None]
    tint = noise(rng, height // 24 + 1, width // 24 + 1).repeat(24, 0).repeat(24, 1)
    slabs *= (1 + 0.05 * tint[:height, :width])[..., None]
    slabs[::24] *= 0.72
    slabs[:, ::24] *= 0.72
    grass = plane(height, width, (74, 82, 52)) * (1 + 0.2 * noise(rng, height, width))[..., None]
    image = np.where((np.abs(across) > ROAD_HALF_WIDTH)[:, None], slabs, image)
    image = np.where((np.abs(across) > FACADE_LINE)[:, None], grass, image)
    kerb = (np.abs(across) > ROAD_HALF_WIDTH) & (np.abs(across) < ROAD_HALF_WIDTH + 0.17)
    image[:, kerb] = 104 * (1 + 0.08 * relief[:, kerb, None])
    image[::36, kerb] *= 0.7
    gutter = (np.abs(across) > ROAD_HALF_WIDTH - 0.1) & (np.abs(across) <= ROAD_HALF_WIDTH)
    image[:, gutter] *= 0.62
    image *= (1 + 0.05 * noise(rng, height, width))[..., None]
    return Texture(to_pixels(image), (20.0, GROUND_PERIOD))


def fence(rng: np.random.RandomState, kind: str) -> Texture:
    """Draw 6 m of railings (``kind`` is ``railings``) or of a fence of boards."""
    height, width = 60, 300
    coverage = np.full((height, width), 128, np.uint8)
    if kind == 'railings':
        image = plane(height, width, pick(rng, ((34, 36, 36), (44, 52, 46), (96, 98, 98))))
        coverage[:, ::6] = coverage[:, 1::6] = 255
        coverage[4:8] = coverage[50:54] = 255
        coverage[:, ::100] = coverage[:, 1::100] = coverage[:, 2::100] = 255
    else:
        image = plane(height, width, pick(rng, ((92, 76, 58), (74, 64, 52), (58, 56, 50))))
        image *= (1 + 0.12 * noise(rng, 1, 50).repeat(6, 1))[..., None]
        image[:, ::6] *= 0.5
        coverage[:] = 255
    image *= (1 + 0.1 * noise(rng, height, width))[..., None]
    return Texture(to_pixels(image, coverage), (6.0, 1.2), kind='lace')
