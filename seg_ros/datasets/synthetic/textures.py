# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The textures of a synthetic street, and the random numbers and noise that they are made of.

Every texture is drawn from a seeded ``RandomState``, whose stream NumPy keeps unchanged, so that a
seed gives the same street under every version of NumPy. Colours are RGB, as a dash camera sees
them under a bright sky: asphalt and brick near 80, the sky near white.
"""

from __future__ import annotations

from collections.abc import Sequence
import functools

import cv2
import numpy as np
from numpy.typing import NDArray

TEXEL = 0.025
"""Metres per pixel of the textures of ground and facades."""

GRAIN_TEXEL = 0.006
"""Metres per pixel of the texture of the asphalt's stones."""

ROAD_HALF_WIDTH = 4.5
"""Metres from the middle of the road to the kerb."""

FACADE_LINE = 8.6
"""Metres from the middle of the road to the fronts of the buildings."""

GROUND_PERIOD = 96.0
"""Metres of road after which the ground's texture repeats."""

Colour = tuple[float, float, float]
Pixels = NDArray[np.uint8]


class Texture:
    """
    An image to paste on a flat piece of the world, with reduced copies for larger distances.

    :param pixels: RGB and coverage, uint8 (H, W, 4). A coverage of 0 is outside the object, 128
        belongs to it but lets the background show (between branches or railings), 255 is opaque.
    :param size: width and height in metres.
    :param kind: ``solid`` is a full rectangle, ``cutout`` has an outline, and ``lace`` has an
        outline and is partly transparent.
    """

    def __init__(self, pixels: Pixels, size: tuple[float, float], *, kind: str = 'solid') -> None:
        self.size = size
        self.kind = kind
        self._levels: dict[tuple[int, int], Pixels] = {(0, 0): np.ascontiguousarray(pixels)}

    def level(self, x: int, y: int) -> Pixels:
        """Return the texture, halved ``x`` times in width and ``y`` times in height."""
        if (x, y) not in self._levels:
            full = self._levels[0, 0]
            shape = (max(1, full.shape[1] >> x), max(1, full.shape[0] >> y))
            self._levels[x, y] = cv2.resize(full, shape, interpolation=cv2.INTER_AREA)
        return self._levels[x, y]


@functools.lru_cache(maxsize=4096)
def dice(*keys: int) -> tuple[float, ...]:
    """Return 80 random numbers from 0 to 1, always the same ones for the same keys."""
    return tuple(random_state(*keys).random_sample(80).tolist())


def random_state(*keys: int) -> np.random.RandomState:
    """Return a new random generator that is seeded by the keys alone."""
    return np.random.RandomState([key & 0xFFFFFFFF for key in keys])


def noise(rng: np.random.RandomState, height: int, width: int) -> NDArray[np.float32]:
    """Return independent values of mean 0 and standard deviation 1, (H, W), drawn quickly."""
    raw = np.frombuffer(rng.bytes(2 * height * width), np.uint8).astype(np.float32)
    return (raw[::2] + raw[1::2]).reshape(height, width) * (1 / 104.5) - 2.44


def clouds(
    rng: np.random.RandomState, height: int, width: int, cells: float, octaves: int = 4
) -> NDArray[np.float32]:
    """
    Return a sum of smooth noises, each finer and weaker than the one before.

    :param cells: cells of the coarsest noise across the width.
    :param octaves: number of noises; each has cells of half the size of the one before.
    :returns: values of about -2 to 2, (H, W).
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = max(2, min(width, int(cells * 2**octave)))
        rows = max(2, min(height, int(cells * 2**octave * height / width)))
        layer = cv2.resize(
            noise(rng, rows, columns), (width, height), interpolation=cv2.INTER_CUBIC
        )
        total += layer * 0.6**octave
    return total


def pick(rng: np.random.RandomState, choices: Sequence[Colour], spread: float = 0.12) -> Colour:
    """Return a random one of the colours, made a little lighter or darker at random."""
    r, g, b = choices[rng.randint(len(choices))]
    scale = 1 + spread * (2 * rng.random_sample() - 1)
    return (r * scale, g * scale, b * scale)


def to_pixels(colours: NDArray[np.float32], coverage: Pixels | None = None) -> Pixels:
    """Return a texture's pixels, uint8 (H, W, 4); without coverage, all of them are opaque."""
    pixels = np.full((*colours.shape[:2], 4), 255, np.uint8)
    pixels[..., :3] = np.clip(colours, 0, 255)
    if coverage is not None:
        pixels[..., 3] = coverage
    return pixels


def plane(height: int, width: int, colour: Colour) -> NDArray[np.float32]:
    """Return an image of one colour, float32 (H, W, 3)."""
    return np.tile(np.array(colour, np.float32), (height, width, 1))
