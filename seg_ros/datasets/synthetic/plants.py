# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The trees and hedges of a synthetic street."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from .textures import clouds, Colour, noise, pick, Pixels, plane, Texture, to_pixels


def bare_tree(rng: np.random.RandomState) -> Texture:
    """Draw a tree without leaves, like most trees in CamVid: the sky shows between its twigs."""
    height, width = 400, 320
    wood = np.zeros((height, width), np.uint8)
    twigs = [(160.0, 399.0, -math.pi / 2, 84.0, 9.0, 0)]
    while twigs:
        x, y, angle, length, thickness, depth = twigs.pop()
        x2, y2 = x + length * math.cos(angle), y + length * math.sin(angle)
        cv2.line(wood, (int(x), int(y)), (int(x2), int(y2)), 255, max(1, int(thickness)))
        if depth < 8:
            for _ in range(3 if depth in (1, 2, 4) else 2):
                bend = (rng.random_sample() - 0.5) * 1.5
                reach = length * (0.66 + 0.22 * rng.random_sample())
                up = min(0.1, max(-math.pi - 0.1, angle + bend))  # Twigs do not hang down.
                twigs.append((x2, y2, up, reach, thickness * 0.6, depth + 1))
    outline = cv2.morphologyEx(
        cv2.copyMakeBorder(wood, 30, 30, 30, 30, cv2.BORDER_CONSTANT),
        cv2.MORPH_CLOSE,
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (27, 27)),
    )[30:-30, 30:-30]
    speckle = noise(rng, height, width)
    fine = (outline > 0) & (speckle > 0.75) & (np.arange(height) < 290)[:, None]
    coverage = np.where(wood > 0, 255, np.where(fine, 225, np.where(outline > 0, 128, 0)))
    colour = pick(rng, ((62, 58, 52), (74, 68, 60), (58, 60, 46)))
    image = plane(height, width, colour) * (1 + 0.3 * speckle)[..., None]
    return Texture(to_pixels(image, coverage.astype(np.uint8)), (8.0, 10.0), kind='lace')


def _leaves(
    rng: np.random.RandomState, coverage: Pixels, colour: Colour, gaps: float
) -> tuple[NDArray[np.float32], Pixels]:
    """Fill an outline with foliage: clumps lit from above, leaves, and gaps in thin places."""
    height, width = coverage.shape
    clumps = clouds(rng, height, width, width / 34, 3)
    lit = clumps - np.roll(clumps, -9, 0)
    speckle = cv2.GaussianBlur(noise(rng, height, width), (0, 0), 0.9)
    shade = 0.95 + 0.4 * lit + 0.16 * clumps + 1.3 * speckle
    image = plane(height, width, colour) * np.clip(shade, 0.15, 2.6)[..., None]
    thin = (clumps + 1.6 * speckle < -gaps) & (coverage > 0)
    return image, np.where(thin, 128, coverage).astype(np.uint8)


def leafy_tree(rng: np.random.RandomState) -> Texture:
    """Draw a tree or tall shrub with leaves."""
    height, width = 400, 320
    coverage = np.zeros((height, width), np.uint8)
    cv2.rectangle(coverage, (154, 230), (166, 399), 255, -1)
    slim = 0.55 + 0.45 * rng.random_sample()
    for _ in range(60):
        angle, reach = rng.random_sample() * 2 * math.pi, math.sqrt(rng.random_sample())
        centre = (
            int(160 + 112 * slim * reach * math.cos(angle)),
            int(160 + 116 * reach * math.sin(angle)),
        )
        cv2.circle(coverage, centre, int(rng.randint(18, 44)), 255, -1)
    ragged = clouds(rng, height, width, 22, 3)
    edge = cv2.GaussianBlur(coverage, (0, 0), 5).astype(np.float32) / 255 + 0.16 * ragged > 0.5
    coverage = np.where(edge, 255, 0).astype(np.uint8)
    cv2.rectangle(coverage, (154, 270), (166, 399), 255, -1)
    colour = pick(rng, ((70, 78, 54), (58, 68, 48), (82, 80, 60), (84, 90, 66)))
    image, coverage = _leaves(rng, coverage, colour, 1.5)
    image[290:, 150:170] = (
        np.array((64, 56, 48), np.float32) * (1 + 0.2 * noise(rng, 110, 20))[..., None]
    )
    return Texture(to_pixels(image, coverage), (8.0, 10.0), kind='lace')


def hedge(rng: np.random.RandomState, height_m: float) -> Texture:
    """Draw 12 m of a hedge, or of the edge of a wood."""
    height, width = round(height_m / 0.03), 400
    top = height * 0.1 * (1 + clouds(rng, 8, width, 6)[4])
    coverage = np.where(np.arange(height)[:, None] > top[None], 255, 0).astype(np.uint8)
    image, coverage = _leaves(
        rng, coverage, pick(rng, ((56, 66, 40), (70, 74, 52), (78, 76, 58))), 2.2
    )
    return Texture(to_pixels(image, coverage), (12.0, height_m), kind='lace')
