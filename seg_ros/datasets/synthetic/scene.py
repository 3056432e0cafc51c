# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The things to draw in a frame of a synthetic street, sorted by their distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from .camera_state import CameraState
from .canvas import Canvas, CAR, TREE
from .cars import Solid
from .layout import LEFT
from .textures import Texture

VIEW = 150.0
"""Metres of the street ahead of the camera that are drawn."""

_T = TypeVar('_T')


def choose(things: Sequence[_T], roll: Iterator[float]) -> _T:
    """Choose one of ``things`` by the next random number, from 0 to 1."""
    return things[int(len(things) * next(roll))]


class Scene:
    """
    Collects things, and then draws them from far to near.

    Points are given by their distance along the road (s) and right of its middle (u), in metres.
    """

    def __init__(self, camera: CameraState, canvas: Canvas) -> None:
        self.camera, self.canvas, self.kit = camera, canvas, camera.kit
        self._things: list[tuple[float, Callable[[], None]]] = []

    def add(self, key: float, draw: Callable[[], None]) -> None:
        """Add a thing by the function that draws it; things with greater keys are drawn first."""
        self._things.append((key, draw))

    def draw(self) -> None:
        """Draw all things that were added, from far to near."""
        for _, draw in sorted(self._things, key=lambda thing: -thing[0]):
            draw()

    def place(self, s: float, u: float) -> tuple[float, float, float]:
        """Return the camera coordinates x, y, z of a point of the ground."""
        return self.camera.x(s, u), 0.0, s - self.camera.s

    def sees(self, s: float, nearest: float) -> bool:
        """Return whether a point is at least ``nearest`` and at most :data:`VIEW` metres ahead."""
        return nearest < s - self.camera.s < VIEW

    def along(
        self, span: tuple[float, float], side: int, u: float
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """
        Return the foot of a front (a wall or fence along the road) in camera coordinates.

        :param span: its start and end along the road.
        :param side: its side of the road.
        :param u: its distance from the road's middle.
        :returns: x and z of its left end as seen from the road, and the vector to its right end.
        """
        start, end = span if side == LEFT else span[::-1]
        (x1, _, z1), (x2, _, z2) = self.place(start, side * u), self.place(end, side * u)
        return (x1, z1), (x2 - x1, z2 - z1)

    def front(
        self,
        texture: Texture,
        span: tuple[float, float],
        side: int,
        u: float,
        height: float,
        label: int,
        shade: float = 1.0,
    ) -> None:
        """Draw a texture upright along the road; its place is as in :meth:`along`."""
        (x, z), (dx, dz) = self.along(span, side, u)
        self.canvas.paste(texture, (x, height, z), (dx, 0, dz), (0, -height, 0), label, shade)

    def add_tree(self, roll: Iterator[float], s: float, u: float, key: float) -> None:
        """Add a tree of a random kind and height."""
        tree, canvas = choose(self.kit.trees, roll), self.canvas
        scale, mirrored = 0.65 + 0.5 * next(roll), next(roll) < 0.5
        if self.sees(s, 1.5):
            place = self.place(s, u)
            self.add(key, lambda: canvas.stand(tree, place, TREE, scale=scale, mirrored=mirrored))

    def add_car(self, body: Solid, s: float, u: float, facing: int) -> None:
        """Add a car and the shadow below it; ``facing`` is as in :meth:`Canvas.solid`."""
        half = body.length / 2
        if self.sees(s + half, 0.4):
            x, _, z = self.place(s, u)
            slope = self.camera.slope(s)

            def draw() -> None:
                for grow, factor in ((0.35, 0.8), (0.02, 0.45)):
                    size = (body.half_width + grow, half + grow)
                    self.canvas.shadow(x, z, size, factor, slope)
                self.canvas.solid(body, (x, z, slope), facing, CAR)

            self.add(s + 0.3 * abs(u), draw)
