# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cars of a synthetic street, as solids of flat faces."""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .textures import Colour

PAINTS: Sequence[Colour] = (
    (126, 130, 134), (150, 152, 152), (30, 32, 36), (24, 26, 30), (32, 42, 74), (110, 26, 28),
    (176, 176, 172), (70, 74, 80), (38, 62, 50), (104, 86, 62), (46, 74, 110),
)  # fmt: skip
_PROFILES: Sequence[Sequence[tuple[float, float]]] = (  # rear to front: metres along, metres high
    ((0, 0.3), (0, 0.88), (0.1, 0.97), (0.45, 1.43), (1.75, 1.48), (2.6, 1.0), (3.5, 0.86),
     (3.74, 0.7), (3.8, 0.3)),
    ((0, 0.3), (0, 0.92), (0.62, 0.98), (1.25, 1.41), (2.3, 1.43), (3.2, 0.98), (4.1, 0.86),
     (4.38, 0.7), (4.45, 0.3)),
    ((0, 0.36), (0, 1.0), (0.06, 1.08), (0.24, 1.72), (2.3, 1.76), (3.0, 1.12), (4.0, 1.02),
     (4.28, 0.84), (4.34, 0.36)),
    ((0, 0.36), (0, 1.1), (0.02, 1.3), (0.06, 2.2), (3.2, 2.24), (3.95, 1.32), (4.55, 1.12),
     (4.76, 0.9), (4.82, 0.36)),
)  # fmt: skip


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


def _scale(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)
