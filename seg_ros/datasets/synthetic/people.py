# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The people and cyclists of a synthetic street."""

from __future__ import annotations

from collections.abc import Sequence
import math

import cv2
import numpy as np

from .sketch import Sketch
from .textures import Colour, pick, Texture

COATS: Sequence[Colour] = (
    (28, 28, 32), (40, 36, 34), (26, 32, 52), (54, 42, 32), (62, 60, 60), (72, 24, 26),
    (34, 48, 40), (98, 92, 84),
)  # fmt: skip
SKIN: Sequence[Colour] = (
    (186, 142, 116), (168, 124, 98), (120, 84, 62), (196, 156, 132),
)  # fmt: skip
HAIR: Sequence[Colour] = (
    (38, 30, 26), (70, 52, 36), (24, 24, 26), (120, 104, 84),
)  # fmt: skip
TROUSERS: Sequence[Colour] = (
    (30, 32, 40), (40, 48, 66), (26, 26, 26), (66, 60, 52), (52, 58, 74),
)  # fmt: skip
JACKETS: Sequence[Colour] = (
    (150, 170, 30), (34, 34, 38), (120, 30, 30), (40, 60, 100), (60, 60, 62),
)  # fmt: skip
FRAMES: Sequence[Colour] = (
    (126, 130, 134), (150, 152, 152), (30, 32, 36), (24, 26, 30), (32, 42, 74), (110, 26, 28),
    (176, 176, 172), (70, 74, 80), (38, 62, 50), (104, 86, 62), (46, 74, 110),
)  # fmt: skip
STEPS = 8
"""Number of drawings of a stride, or of a turn of the pedals."""


def person(rng: np.random.RandomState) -> list[Texture]:
    """Draw a pedestrian, once for each step of a stride."""
    height = 1.6 + 0.26 * rng.random_sample()
    coat, legs = pick(rng, COATS, 0.3), pick(rng, TROUSERS, 0.2)
    skin, hair = pick(rng, SKIN), pick(rng, HAIR)
    long_coat, bag, stoop = (
        rng.random_sample() < 0.4,
        rng.random_sample() < 0.45,
        rng.randint(-3, 4),
    )
    drawings = []
    for step in range(STEPS):
        swing = math.sin(2 * math.pi * step / STEPS)
        sketch = Sketch(0.96, 1.9)
        hip, shoulder, head = 0.5 * height, 0.82 * height, 0.93 * height
        lean = 0.008 * stoop
        for sign in (-1, 1):
            foot = (sign * 0.09 + sign * 0.17 * swing, 0.05 + max(0.0, sign * swing) * 0.05)
            knee = (sign * 0.09 + sign * 0.1 * swing + 0.02, 0.27 * height)
            tone: Colour = legs if sign > 0 else (legs[0] * 0.75, legs[1] * 0.75, legs[2] * 0.75)
            sketch.line([(sign * 0.07, hip), knee, foot], 0.145, tone)
            sketch.line([foot, (foot[0] + 0.05, foot[1] - 0.01)], 0.09, (22, 20, 20))
        low = hip - (0.22 if long_coat else 0.04)
        sketch.shape(
            [
                (-0.19, low),
                (0.19, low),
                (0.17, hip + 0.1),
                (0.23 + lean, shoulder),
                (0.1 + lean, shoulder + 0.07),
                (-0.1 + lean, shoulder + 0.07),
                (-0.23 + lean, shoulder),
                (-0.17, hip + 0.1),
            ],
            coat,
        )
        sketch.line(
            [(0, low + 0.02), (lean, shoulder)],
            0.02,
            (coat[0] * 0.6, coat[1] * 0.6, coat[2] * 0.6),
        )
        for sign in (-1, 1):
            hand = (sign * 0.25 - sign * 0.12 * swing, hip - 0.02 + 0.04 * abs(swing))
            sleeve: Colour = (coat[0] * 0.8, coat[1] * 0.8, coat[2] * 0.8)
            sketch.line(
                [(sign * 0.21 + lean, shoulder - 0.03), (sign * 0.27, hip + 0.2), hand],
                0.1,
                sleeve,
            )
            sketch.disc(*hand, 0.045, skin)
        if bag:
            sketch.shape(
                [(0.2, hip + 0.02), (0.4, hip + 0.02), (0.38, hip - 0.3), (0.22, hip - 0.3)], hair
            )
        sketch.line([(lean, shoulder + 0.02), (lean, head)], 0.1, skin)
        sketch.disc(lean, head, 0.095, skin, 1.25)
        sketch.disc(lean, head + 0.04, 0.1, hair, 1.0)
        drawings.append(sketch.texture(rng, 0.1))
    return drawings


def cyclist(rng: np.random.RandomState, *, towards: bool) -> list[Texture]:
    """Draw a cyclist, from the front if ``towards``, once for each step of a pedal turn."""
    jacket, legs = pick(rng, JACKETS), pick(rng, TROUSERS)
    skin, helmet = (
        pick(rng, SKIN),
        pick(rng, ((34, 34, 36), (150, 150, 150), (120, 40, 36), (40, 30, 24))),
    )
    drawings = []
    for step in range(STEPS):
        turn = 2 * math.pi * step / STEPS
        sketch = Sketch(1.0, 1.86)
        sketch.disc(0, 0.34, 0.045, (24, 24, 26), 7.3)
        sketch.line([(0, 0.5), (0, 0.9)], 0.05, (70, 40, 40))
        sketch.line([(-0.29, 1.02), (0.29, 1.02)], 0.045, (30, 30, 32))
        for sign in (-1, 1):
            pedal = (sign * 0.14, 0.3 + 0.16 * math.sin(turn) * sign)
            knee = (sign * 0.21, 0.56 + 0.12 * math.sin(turn) * sign)
            sketch.line([(sign * 0.1, 0.92), knee, pedal], 0.145, legs)
            sketch.line([pedal, (pedal[0], pedal[1] - 0.05)], 0.1, (22, 20, 20))
        sway = 0.02 * math.sin(turn)
        sketch.shape(
            [
                (-0.2, 0.86),
                (0.2, 0.86),
                (0.2 + sway, 1.15),
                (0.24 + sway, 1.38),
                (0.1 + sway, 1.5),
                (-0.1 + sway, 1.5),
                (-0.24 + sway, 1.38),
                (-0.2 + sway, 1.15),
            ],
            jacket,
        )
        for sign in (-1, 1):
            sketch.line(
                [(sign * 0.22 + sway, 1.38), (sign * 0.33, 1.18), (sign * 0.27, 1.02)], 0.1, jacket
            )
        sketch.line([(sway, 1.46), (sway, 1.6)], 0.1, skin)
        sketch.disc(sway, 1.62, 0.095, skin, 1.2)
        sketch.disc(sway, 1.67, 0.11, helmet, 0.9)
        if towards:
            sketch.disc(0, 1.0, 0.05, (200, 200, 190))
        else:
            sketch.disc(0, 0.74, 0.035, (190, 30, 30))
        drawings.append(sketch.texture(rng, 0.1))
    return drawings


def bicycle(rng: np.random.RandomState) -> Texture:
    """Draw a bicycle from the side."""
    sketch = Sketch(1.76, 1.1)
    frame = pick(rng, FRAMES)
    for x in (-0.54, 0.54):
        pixels = sketch.at(x, 0.34)
        for image, colour in ((sketch.image, (24, 24, 26)), (sketch.coverage, 255)):
            cv2.circle(image, pixels, round(0.32 * sketch.scale), colour, 5)
            cv2.circle(image, pixels, 4, colour, -1)
    tubes = [(-0.54, 0.34), (-0.08, 0.3), (0.38, 0.82), (-0.2, 0.8), (-0.08, 0.3)]
    sketch.line(tubes, 0.05, frame)
    sketch.line([(-0.54, 0.34), (-0.2, 0.8), (-0.24, 0.94)], 0.045, frame)
    sketch.line([(0.54, 0.34), (0.36, 0.98), (0.24, 1.02)], 0.05, frame)
    sketch.line([(-0.38, 0.95), (-0.12, 0.95)], 0.06, (28, 26, 26))
    return sketch.texture(rng, 0.05)
