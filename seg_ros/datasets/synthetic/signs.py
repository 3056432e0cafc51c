# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The signs and signals of a synthetic street."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .sketch import Sketch
from .textures import Colour, Texture


def road_sign(rng: np.random.RandomState, kind: int) -> Texture:
    """
    Draw a road sign.

    :param kind: 0 is a speed limit, 1 a warning, 2 a direction, 3 no entry, and 4 or more a board
        with writing.
    """
    if kind < 4:
        sketch = Sketch(0.8, 0.8, 90)
        if kind == 0:
            sketch.disc(0, 0.4, 0.38, (148, 36, 40))
            sketch.disc(0, 0.4, 0.28, (196, 196, 190))
            sketch.line(
                [(-0.13, 0.5), (-0.13, 0.3), (-0.05, 0.3), (-0.05, 0.42)], 0.045, (26, 26, 26)
            )
            sketch.line(
                [(0.06, 0.5), (0.06, 0.3), (0.15, 0.3), (0.15, 0.5), (0.06, 0.5)],
                0.045,
                (26, 26, 26),
            )
        elif kind == 1:
            sketch.shape([(-0.39, 0.03), (0.39, 0.03), (0, 0.76)], (148, 36, 40))
            sketch.shape([(-0.24, 0.12), (0.24, 0.12), (0, 0.57)], (196, 196, 190))
            sketch.line([(0, 0.42), (0, 0.2)], 0.05, (26, 26, 26))
        elif kind == 2:
            sketch.disc(0, 0.4, 0.38, (34, 62, 116))
            sketch.line([(0.14, 0.6), (-0.14, 0.24), (-0.14, 0.42)], 0.06, (220, 220, 220))
        else:
            sketch.disc(0, 0.4, 0.38, (148, 36, 40))
            sketch.line([(-0.22, 0.4), (0.22, 0.4)], 0.12, (220, 220, 216))
        return sketch.texture(rng, 0.04)
    sketch = Sketch(1.1, 0.8, 80)
    board, ink = (
        ((24, 66, 46), (220, 218, 190)),
        ((36, 60, 108), (222, 222, 222)),
        ((206, 206, 198), (30, 30, 30)),
        ((168, 140, 50), (24, 24, 24)),
    )[rng.randint(4)]
    sketch.shape([(-0.54, 0.01), (0.54, 0.01), (0.54, 0.79), (-0.54, 0.79)], ink)
    sketch.shape([(-0.5, 0.05), (0.5, 0.05), (0.5, 0.75), (-0.5, 0.75)], board)
    for y in (0.6, 0.4, 0.2):
        x = -0.42
        while x < 0.3:
            end = x + 0.04 + 0.1 * rng.random_sample()
            sketch.line([(x, y), (end, y + 0.05), (end, y - 0.05)], 0.035, ink)
            x = end + 0.06
    return sketch.texture(rng, 0.04)


def traffic_light(state: int) -> Texture:
    """Draw a traffic light whose lamp ``state`` is lit: 0 red, 1 amber, 2 green."""
    sketch = Sketch(0.5, 1.15, 90)
    sketch.shape([(-0.24, 0.01), (0.24, 0.01), (0.24, 1.14), (-0.24, 1.14)], (24, 24, 26))
    lit: Sequence[Colour] = ((255, 60, 40), (255, 190, 60), (60, 240, 180))
    for lamp, y in enumerate((0.92, 0.58, 0.24)):
        sketch.disc(0, y, 0.14, lit[lamp] if lamp == state else (44, 40, 38))
    return sketch.texture(np.random.RandomState(state), 0.03)
