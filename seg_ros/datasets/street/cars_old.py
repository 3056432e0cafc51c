# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who and what stands or moves in a synthetic street: people, cyclists, signs, and cars as solids."""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .textures import COATS, Colour, noise, pick, Texture

SKIN: Sequence[Colour] = ((186, 142, 116), (168, 124, 98), (120, 84, 62), (196, 156, 132))
HAIR: Sequence[Colour] = ((38, 30, 26), (70, 52, 36), (24, 24, 26), (120, 104, 84))
TROUSERS: Sequence[Colour] = ((30, 32, 40), (40, 48, 66), (26, 26, 26), (66, 60, 52), (52, 58, 74))
JACKETS: Sequence[Colour] = (
    (150, 170, 30),
    (34, 34, 38),
    (120, 30, 30),
    (40, 60, 100),
    (60, 60, 62),
)
PAINTS: Sequence[Colour] = (
    (126, 130, 134),
    (150, 152, 152),
    (30, 32, 36),
    (24, 26, 30),
    (32, 42, 74),
    (110, 26, 28),
    (176, 176, 172),
    (70, 74, 80),
    (38, 62, 50),
    (104, 86, 62),
    (46, 74, 110),
)
STEPS = 8  # drawings of a walk or of a turn of the pedals


class _Sketch:
    """A drawing and its coverage, `scale` pixels to the metre, x from the middle and y from the ground."""

    def __init__(self, width: float, height: float, scale: float = 110.0) -> None:
        self.size = (width, height)
        self.scale = scale
        self.image = np.zeros((round(height * scale), round(width * scale), 3), np.float32)
        self.coverage = np.zeros(self.image.shape[:2], np.uint8)

    def at(self, x: float, y: float) -> tuple[int, int]:
        """Turn metres into a pixel."""
        return round((x + self.size[0] / 2) * self.scale), round((self.size[1] - y) * self.scale)

    def line(
        self, points: Sequence[tuple[float, float]], thickness: float, colour: Colour
    ) -> None:
        """Draw a bent limb or tube."""
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
        """Fill a circle, or an ellipse `tall` times as high as wide."""
        axes = (max(1, round(radius * self.scale)), max(1, round(radius * tall * self.scale)))
        cv2.ellipse(self.image, self.at(x, y), axes, 0, 0, 360, colour, -1)
        cv2.ellipse(self.coverage, self.at(x, y), axes, 0, 0, 360, 255, -1)

    def texture(self, rng: np.random.RandomState, roughness: float) -> Texture:
        """Shade the drawing (light from above and from one side) and make it a texture."""
        height, width = self.coverage.shape
        side = np.linspace(1.16, 0.84, width, dtype=np.float32)
        colours = self.image * side[None, :, None]
        colours *= (1 + roughness * noise(rng, height, width))[..., None]
        pixels = np.dstack([np.clip(colours, 0, 255).astype(np.uint8), self.coverage])
        return Texture(pixels, self.size, kind='cutout')


def person(rng: np.random.RandomState) -> list[Texture]:
    """Draw somebody on foot, once for each step of a stride."""
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
        sketch = _Sketch(0.96, 1.9)
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
    """Draw a cyclist seen from behind, or from the front, once for each step of a pedal turn."""
    jacket, legs = pick(rng, JACKETS), pick(rng, TROUSERS)
    skin, helmet = (
        pick(rng, SKIN),
        pick(rng, ((34, 34, 36), (150, 150, 150), (120, 40, 36), (40, 30, 24))),
    )
    drawings = []
    for step in range(STEPS):
        turn = 2 * math.pi * step / STEPS
        sketch = _Sketch(1.0, 1.86)
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
    """Draw a bicycle from its side."""
    sketch = _Sketch(1.76, 1.1)
    frame = pick(rng, PAINTS)
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


def road_sign(rng: np.random.RandomState) -> Texture:
    """Draw a traffic sign: a ring, a triangle, a blue disc, or a board with a word on it."""
    kind = rng.randint(6)
    if kind < 4:
        sketch = _Sketch(0.8, 0.8, 90)
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
    sketch = _Sketch(1.1, 0.8, 80)
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
    """Draw a signal head with lamp `state` lit: 0 red, 1 amber, 2 green."""
    sketch = _Sketch(0.5, 1.15, 90)
    sketch.shape([(-0.24, 0.01), (0.24, 0.01), (0.24, 1.14), (-0.24, 1.14)], (24, 24, 26))
    lit: Sequence[Colour] = ((255, 60, 40), (255, 190, 60), (60, 240, 180))
    for lamp, y in enumerate((0.92, 0.58, 0.24)):
        sketch.disc(0, y, 0.14, lit[lamp] if lamp == state else (44, 40, 38))
    return sketch.texture(np.random.RandomState(state), 0.03)


class Face(NamedTuple):
    """A flat piece of a solid: 3D corners (x right, y up, z ahead) and a colour."""

    points: NDArray[np.float64]
    colour: Colour
    detail: bool  # too small to be worth drawing from afar


_PROFILES: Sequence[Sequence[tuple[float, float]]] = (  # rear to front: metres along, metres high
    (
        (0, 0.3),
        (0, 0.88),
        (0.1, 0.97),
        (0.45, 1.43),
        (1.75, 1.48),
        (2.6, 1.0),
        (3.5, 0.86),
        (3.74, 0.7),
        (3.8, 0.3),
    ),
    (
        (0, 0.3),
        (0, 0.92),
        (0.62, 0.98),
        (1.25, 1.41),
        (2.3, 1.43),
        (3.2, 0.98),
        (4.1, 0.86),
        (4.38, 0.7),
        (4.45, 0.3),
    ),
    (
        (0, 0.36),
        (0, 1.0),
        (0.06, 1.08),
        (0.24, 1.72),
        (2.3, 1.76),
        (3.0, 1.12),
        (4.0, 1.02),
        (4.28, 0.84),
        (4.34, 0.36),
    ),
    (
        (0, 0.36),
        (0, 1.1),
        (0.02, 1.3),
        (0.06, 2.2),
        (3.2, 2.24),
        (3.95, 1.32),
        (4.55, 1.12),
        (4.76, 0.9),
        (4.82, 0.36),
    ),
)


def _scale(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


class Solid:
    """
    Faces in the order to draw them, of a shape so nearly convex that this order serves every view.

    :param size: half the width, and the length from z = 0, in metres
    """

    def __init__(self, faces: Sequence[Face], size: tuple[float, float]) -> None:
        self.half_width, self.length = size
        self.colours = [face.colour for face in faces]
        self.details = [face.detail for face in faces]
        self.points = np.concatenate([face.points for face in faces])
        self.ends = np.cumsum([len(face.points) for face in faces]).tolist()
        self.centres = np.array([face.points.mean(0) for face in faces])
        normals = [np.cross(f.points[1] - f.points[0], f.points[2] - f.points[1]) for f in faces]
        outwards = self.centres - np.array((0, 0.7, self.length / 2))
        signs = np.sign(np.sum(normals * outwards, axis=1))
        self.normals = np.array(normals) * signs[:, None]


def car(rng: np.random.RandomState, index: int) -> Solid:
    """Build car `index`: a hatchback, saloon, van or delivery van, its rear at z = 0."""
    kind = (0, 1, 0, 2, 0, 1, 0, 3)[index % 8]
    profile = _PROFILES[kind]
    paint = _scale(PAINTS[index % len(PAINTS)], 0.85 + 0.3 * rng.random_sample())
    glass: Colour = (34, 40, 46)
    half, top = 0.86 + 0.02 * kind, 0.66 + 0.06 * kind
    length = profile[-1][0]
    waist = profile[2][1]
    faces: list[Face] = []

    def add(
        points: Sequence[tuple[float, float, float]], colour: Colour, detail: bool = False
    ) -> None:
        faces.append(Face(np.array(points, np.float64), colour, detail))

    def width(y: float) -> float:
        return half if y <= waist + 0.05 else top

    # Across the car, from the rear bumper over the roof to the front bumper.
    shades = (0.85, 1.1, 0.85, 1.35, 1.05, 1.28, 1.05, 0.85)
    for index, ((z1, y1), (z2, y2)) in enumerate(zip(profile, profile[1:])):
        w1, w2 = width(y1), width(y2)
        quad = [(-w1, y1, z1), (w1, y1, z1), (w2, y2, z2), (-w2, y2, z2)]
        add(quad, _scale(paint, shades[index]))
        if index in (2, 4):  # the rear window and the windscreen
            a, b = (0.12, 0.88) if kind != 3 else (0.5, 0.92)
            inner = [
                (
                    (1 - t) * (w1 - 0.1) * s + t * (w2 - 0.07) * s,
                    y1 + t * (y2 - y1),
                    z1 + t * (z2 - z1),
                )
                for s, t in ((-1, a), (1, a), (1, b), (-1, b))
            ]
            add(inner, _scale(glass, 1.1))
            sky = [
                ((p[0] + q[0]) / 2, (p[1] + q[1]) / 2, (p[2] + q[2]) / 2)
                for p, q in ((inner[0], inner[3]), (inner[1], inner[2]))
            ]
            add([sky[0], sky[1], inner[2], inner[3]], _scale(glass, 2.0), True)
    # Its ends: bumpers, lamps, plates; z faces backwards at the rear and forwards at the front.
    nose = profile[-2]
    for z, sign, lamp, plate in (
        (-0.01, 1, (150, 22, 20), (176, 152, 40)),
        (length + 0.01, -1, (206, 206, 198), (196, 196, 190)),
    ):

        def rectangle(
            x1: float,
            x2: float,
            y1: float,
            y2: float,
            colour: Colour,
            detail: bool = False,
            z: float = z,
            sign: int = sign,
        ) -> None:
            slope = 0.0 if sign > 0 else (length - nose[0]) / (nose[1] - 0.3)
            corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
            add([(sign * x, y, z - slope * (y - 0.3)) for x, y in corners], colour, detail)

        high = profile[1][1] if sign > 0 else nose[1]
        for rise, tone in ((0.7, 0.92), (0.62, 0.84), (0.55, 0.74), (0.47, 0.58), (0.38, 0.48)):
            rectangle(-half, half, 0.3, rise, _scale(paint, tone))
        rectangle(-0.75 * half, 0.75 * half, 0.36, 0.43, (30, 30, 31), True)
        rectangle(-0.84 * half, 0.84 * half, 0.14, 0.31, (14, 14, 15))
        for x in (-half * 0.8, half * 0.8):
            rectangle(x - 0.1, x + 0.1, 0.0, 0.3, (20, 20, 21))
            rectangle(x - 0.14, x + 0.14, high - 0.25, high - 0.06, _scale(lamp, 0.7))
            rectangle(x - 0.1, x + 0.09, high - 0.21, high - 0.09, lamp, True)
        rectangle(-0.27, 0.27, 0.5, 0.62, plate, True)
        if sign < 0:
            rectangle(-0.45, 0.45, high - 0.22, high - 0.08, (26, 26, 28), True)
    # Its sides: shaded in bands, with windows, a door line and wheels.
    window = profile[2:6]
    for sign in (-1, 1):
        body = [*profile[:3], *profile[5:]]
        x = sign * half

        def side(
            points: Sequence[tuple[float, float]],
            colour: Colour,
            detail: bool = False,
            inset: float = 0.0,
            sign: int = sign,
        ) -> None:
            ordered = points if sign > 0 else points[::-1]
            add([(sign * (width(y) - inset), y, z) for z, y in ordered][::-1], colour, detail)

        side(body, _scale(paint, 1.08))
        flank = waist - 0.3
        for share, tone in (
            (0.86, 0.98),
            (0.7, 0.88),
            (0.54, 0.8),
            (0.48, 0.66),
            (0.3, 0.56),
            (0.12, 0.46),
        ):
            y = 0.3 + share * flank
            nose_z = length if y < 0.5 else length - 0.12
            side([(0.0, 0.3), (0.0, y), (nose_z, y), (nose_z, 0.3)], _scale(paint, tone))
        side([(0.2, 0.22), (0.2, 0.3), (length - 0.2, 0.3), (length - 0.2, 0.22)], (14, 14, 15))
        side(window, _scale(paint, 0.9))
        (z1, y1), (z2, y2), (z3, y3), (z4, y4) = window
        pane = [
            (z1 + 0.22, y1 + 0.06),
            (z2 + 0.14, y2 - 0.08),
            (z3 - 0.02, y3 - 0.08),
            (z4 - 0.28, y4 + 0.06),
        ]
        pane = pane if kind != 3 else [(z3 - 0.7, y1 + 0.02), (z3 - 0.7, y2 - 0.2), *pane[2:]]
        side(pane, glass)
        side(
            [
                *pane[:1],
                ((pane[0][0] + pane[1][0]) / 2, (y1 + y2) / 2),
                ((pane[2][0] + pane[3][0]) / 2, (y3 + y4) / 2),
                pane[3],
            ],
            _scale(glass, 0.72),
            True,
        )
        side(
            [(pane[1][0], y2 - 0.16), *pane[1:3], (pane[2][0], y3 - 0.16)],
            _scale(glass, 1.7),
            True,
        )
        middle = (pane[0][0] + pane[3][0]) / 2
        side(
            [
                (middle - 0.05, y1),
                (middle - 0.05, y2 - 0.05),
                (middle + 0.05, y2 - 0.05),
                (middle + 0.05, y1),
            ],
            _scale(paint, 0.6),
            True,
        )
        side(
            [(middle, 0.34), (middle, waist), (middle + 0.03, waist), (middle + 0.03, 0.34)],
            _scale(paint, 0.45),
            True,
        )
        side(
            [
                (middle - 0.3, waist - 0.14),
                (middle - 0.3, waist - 0.1),
                (middle - 0.1, waist - 0.1),
                (middle - 0.1, waist - 0.14),
            ],
            _scale(paint, 0.5),
            True,
        )
        for axle in (0.18 * length, 0.81 * length):
            for radius, rise, colour, detail in (
                (0.38, 0.34, (14, 14, 15), False),
                (0.31, 0.31, (26, 26, 27), False),
                (0.2, 0.31, (70, 71, 73), True),
                (0.15, 0.31, (92, 93, 95), True),
                (0.06, 0.31, (40, 40, 42), True),
            ):
                rim = [
                    (
                        axle - radius * math.cos(a * math.pi / 6),
                        max(0.0, rise + radius * math.sin(a * math.pi / 6)),
                    )
                    for a in range(12)
                ]
                side(rim, colour, detail, -0.01)
    return Solid(faces, (half, length))
