# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cars of a synthetic street, as solids of flat faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .textures import Colour

Span = tuple[float, float]
"""A first and a last coordinate, or a point of a plane."""

GLASS: Colour = (34, 40, 46)
PAINTS: Sequence[Colour] = (
    (126, 130, 134), (150, 152, 152), (30, 32, 36), (24, 26, 30), (32, 42, 74), (110, 26, 28),
    (176, 176, 172), (70, 74, 80), (38, 62, 50), (104, 86, 62), (46, 74, 110),
)  # fmt: skip
_PROFILES: Sequence[Sequence[tuple[float, float]]] = (
    ((0, 0.3), (0, 0.88), (0.1, 0.97), (0.45, 1.43), (1.75, 1.48), (2.6, 1.0), (3.5, 0.86),
     (3.74, 0.7), (3.8, 0.3)),
    ((0, 0.3), (0, 0.92), (0.62, 0.98), (1.25, 1.41), (2.3, 1.43), (3.2, 0.98), (4.1, 0.86),
     (4.38, 0.7), (4.45, 0.3)),
    ((0, 0.36), (0, 1.0), (0.06, 1.08), (0.24, 1.72), (2.3, 1.76), (3.0, 1.12), (4.0, 1.02),
     (4.28, 0.84), (4.34, 0.36)),
    ((0, 0.36), (0, 1.1), (0.02, 1.3), (0.06, 2.2), (3.2, 2.24), (3.95, 1.32), (4.55, 1.12),
     (4.76, 0.9), (4.82, 0.36)),
)  # fmt: skip
"""Outlines from the rear to the front (metres along, metres high) of the four kinds of cars."""


class Face(NamedTuple):
    """
    A flat piece of a solid.

    :param points: its corners in metres, x right, y up, z ahead, (N, 3).
    :param detail: whether it is too small to be drawn at a distance.
    """

    points: NDArray[np.float64]
    colour: Colour
    detail: bool


class Solid:
    """
    A body made of flat faces, nearly convex, so that one drawing order suits every view.

    :param faces: the faces in the order in which they are drawn.
    :param size: half the width, and the length from z = 0, in metres.
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


def _scale(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


class _Body:
    """Collects the faces of a car, which are given in the coordinates of their own plane."""

    def __init__(self, kind: int) -> None:
        self.profile = _PROFILES[kind]
        self.half, self.top = 0.86 + 0.02 * kind, 0.66 + 0.06 * kind
        self.length = self.profile[-1][0]
        self.waist = self.profile[2][1]
        self.faces: list[Face] = []

    def width(self, y: float) -> float:
        """Return half the car's width at a height, in metres."""
        return self.half if y <= self.waist + 0.05 else self.top

    def add(
        self, points: Sequence[tuple[float, float, float]], colour: Colour, detail: bool = False
    ) -> None:
        """Add a face in any plane."""
        self.faces.append(Face(np.array(points, np.float64), colour, detail))

    def rear(self, x: Span, y: Span, colour: Colour, detail: bool = False) -> None:
        """Add a rectangle at the rear."""
        corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
        self.add([(across, up, -0.01) for across, up in corners], colour, detail)

    def front(self, x: Span, y: Span, colour: Colour, detail: bool = False) -> None:
        """Add a rectangle at the front, which is inclined backwards."""
        z, high = self.profile[-2]
        slope = (self.length - z) / (high - 0.3)
        corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
        self.add(
            [(across, up, self.length + 0.01 - slope * (up - 0.3)) for across, up in corners],
            colour,
            detail,
        )

    def sides(
        self, points: Sequence[Span], colour: Colour, detail: bool = False, out: float = 0.0
    ) -> None:
        """
        Add a polygon to both sides.

        :param points: its corners: metres along the car and metres up.
        :param out: how far it protrudes, in metres.
        """
        for sign in (-1, 1):
            flat = [(sign * (self.width(up) + out), up, along) for along, up in points]
            self.add(flat, colour, detail)


def car(rng: np.random.RandomState, index: int) -> Solid:
    """Build car ``index``: a hatchback, saloon, van or delivery van, with its rear at z = 0."""
    kind = (0, 1, 0, 2, 0, 1, 0, 3)[index % 8]
    paint = _scale(PAINTS[index % len(PAINTS)], 0.85 + 0.3 * rng.random_sample())
    body = _Body(kind)
    _shell(body, paint, (0.5, 0.92) if kind == 3 else (0.12, 0.88))
    _end(body, body.rear, body.profile[1][1], paint, (150, 22, 20), (176, 152, 40))
    _end(body, body.front, body.profile[-2][1], paint, (206, 206, 198), (196, 196, 190))
    high = body.profile[-2][1]
    body.front((-0.45, 0.45), (high - 0.22, high - 0.08), (26, 26, 28), True)
    _flanks(body, paint, 0.7 if kind == 3 else 0.0)
    return Solid(body.faces, (body.half, body.length))


def _shell(body: _Body, paint: Colour, pane: Span) -> None:
    """Add the faces across the whole car, from the rear bumper over the roof to the front one."""
    shades = (0.85, 1.1, 0.85, 1.35, 1.05, 1.28, 1.05, 0.85)
    for index, ((z1, y1), (z2, y2)) in enumerate(zip(body.profile, body.profile[1:])):
        w1, w2 = body.width(y1), body.width(y2)
        quad = [(-w1, y1, z1), (w1, y1, z1), (w2, y2, z2), (-w2, y2, z2)]
        body.add(quad, _scale(paint, shades[index]))
        if index in (2, 4):  # The rear window and the windscreen reflect the sky at their top.
            for low, tone in ((pane[0], 1.1), ((pane[0] + pane[1]) / 2, 2.0)):
                glass = [
                    (
                        side * ((1 - t) * (w1 - 0.1) + t * (w2 - 0.07)),
                        y1 + t * (y2 - y1),
                        z1 + t * (z2 - z1),
                    )
                    for side, t in ((-1, low), (1, low), (1, pane[1]), (-1, pane[1]))
                ]
                body.add(glass, _scale(GLASS, tone), tone > 1.5)


def _end(
    body: _Body,
    rectangle: Callable[..., None],
    high: float,
    paint: Colour,
    lamp: Colour,
    plate: Colour,
) -> None:
    """Add a rear or front: bumper, tyres, lamps up to the height ``high``, number plate."""
    half = body.half
    for rise, tone in ((0.7, 0.92), (0.62, 0.84), (0.55, 0.74), (0.47, 0.58), (0.38, 0.48)):
        rectangle((-half, half), (0.3, rise), _scale(paint, tone))
    rectangle((-0.75 * half, 0.75 * half), (0.36, 0.43), (30, 30, 31), True)
    rectangle((-0.84 * half, 0.84 * half), (0.14, 0.31), (14, 14, 15))
    for x in (-0.8 * half, 0.8 * half):
        rectangle((x - 0.1, x + 0.1), (0.0, 0.3), (20, 20, 21))
        rectangle((x - 0.14, x + 0.14), (high - 0.25, high - 0.06), _scale(lamp, 0.7))
        rectangle((x - 0.1, x + 0.09), (high - 0.21, high - 0.09), lamp, True)
    rectangle((-0.27, 0.27), (0.5, 0.62), plate, True)


def _flanks(body: _Body, paint: Colour, cab: float) -> None:
    """
    Add both sides, shaded in bands, with windows, a door and wheels.

    :param cab: length in metres of the side windows of a delivery van's cab; 0 for other cars.
    """
    length, waist, profile = body.length, body.waist, body.profile
    body.sides([*profile[:3], *profile[5:]], _scale(paint, 1.08))
    for share, tone in (
        (0.86, 0.98), (0.7, 0.88), (0.54, 0.8), (0.48, 0.66), (0.3, 0.56), (0.12, 0.46),
    ):  # fmt: skip
        y = 0.3 + share * (waist - 0.3)
        nose = length if y < 0.5 else length - 0.12
        body.sides([(0, 0.3), (0, y), (nose, y), (nose, 0.3)], _scale(paint, tone))
    body.sides(_box(0.2, length - 0.2, 0.22, 0.3), (14, 14, 15))
    body.sides(profile[2:6], _scale(paint, 0.9))
    (z1, y1), (z2, y2), (z3, y3), (z4, y4) = profile[2:6]
    a, b = (z1 + 0.22, y1 + 0.06), (z2 + 0.14, y2 - 0.08)
    c, d = (z3 - 0.02, y3 - 0.08), (z4 - 0.28, y4 + 0.06)
    if cab:
        a, b = (z3 - cab, y1 + 0.02), (z3 - cab, y2 - 0.2)
    body.sides([a, b, c, d], GLASS)
    middle_left, middle_right = ((p[0] + q[0]) / 2 for p, q in ((a, b), (c, d)))
    low = [a, (middle_left, (y1 + y2) / 2), (middle_right, (y3 + y4) / 2), d]
    body.sides(low, _scale(GLASS, 0.72), True)
    body.sides([(b[0], y2 - 0.16), b, c, (c[0], y3 - 0.16)], _scale(GLASS, 1.7), True)
    door = (a[0] + d[0]) / 2
    body.sides(_box(door - 0.05, door + 0.05, y1, y2 - 0.05), _scale(paint, 0.6), True)
    body.sides(_box(door, door + 0.03, 0.34, waist), _scale(paint, 0.45), True)
    handle = _box(door - 0.3, door - 0.1, waist - 0.14, waist - 0.1)
    body.sides(handle, _scale(paint, 0.5), True)
    for axle in (0.18 * length, 0.81 * length):
        for radius, rise, grey, detail in (
            (0.38, 0.34, 14, False), (0.31, 0.31, 26, False), (0.2, 0.31, 70, True),
            (0.15, 0.31, 92, True), (0.06, 0.31, 40, True),
        ):  # fmt: skip
            body.sides(_circle(axle, radius, rise), (grey, grey, grey + 1), detail, 0.01)


def _box(z1: float, z2: float, y1: float, y2: float) -> list[Span]:
    return [(z1, y1), (z1, y2), (z2, y2), (z2, y1)]


def _circle(z: float, radius: float, y: float) -> list[Span]:
    """Return the outline of a wheel, cut off at the ground."""
    angles = [index * math.pi / 6 for index in range(12)]
    return [(z - radius * math.cos(a), max(0.0, y + radius * math.sin(a))) for a in angles]
