# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One frame of a synthetic street, painted far to near."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import functools
import math
from typing import TypeVar

import numpy as np

from . import figures
from .backdrop import paint_ground, paint_sky
from .canvas import BICYCLIST, BUILDING, Canvas, CAR, FENCE, PEDESTRIAN, POLE, SIGN, TREE
from .layout import BLOCK, KERBSIDE, LEFT, Lot, RIGHT, TRAFFIC, WALKERS
from .moment import Moment
from .textures import dice, FACADE_LINE, Pixels, ROAD_HALF_WIDTH, Texture

VIEW = 150.0  # metres ahead that are drawn
CAMERA_HEIGHT = 1.35
KERB = ROAD_HALF_WIDTH + 0.45  # where lamp posts and signs stand

_T = TypeVar('_T')


def _choose(things: Sequence[_T], roll: Iterator[float]) -> _T:
    return things[int(len(things) * next(roll))]


class View:
    """
    The street as the camera sees it.

    :param size: width and height of the frame in pixels
    :param focal: focal length in pixels
    """

    def __init__(self, moment: Moment, size: tuple[int, int], focal: float) -> None:
        self.moment, self.kit, self.time = moment, moment.kit, moment.time
        self.s, self.x = moment.s, moment.x
        centre = ((size[0] - 1) / 2, (size[1] - 1) / 2 + focal * moment.pitch)
        self.canvas = Canvas(size, focal, centre, CAMERA_HEIGHT)
        self._things: list[tuple[float, Callable[[], None]]] = []

    def add(self, key: float, draw: Callable[..., None], *args: object, **options: object) -> None:
        """Note something to draw; what has the greater key is farther and is drawn first."""
        self._things.append((key, functools.partial(draw, *args, **options)))

    def draw(self) -> Pixels:
        """Paint everything, far to near."""
        paint_sky(self.canvas, self.moment)
        paint_ground(self.canvas, self.moment)
        canvas, kit = self.canvas, self.kit
        wood = kit.woods[0]
        middle = self.x(self.s + VIEW, 0)
        for index in range(-6, 6):
            corner = (middle + 12 * index, 7.5, VIEW)
            canvas.paste(wood, corner, (12, 0, 0), (0, -7.5, 0), TREE, 0.9)
        for side in (LEFT, RIGHT):
            for block in range(
                math.floor(self.s / BLOCK), math.floor((self.s + VIEW) / BLOCK) + 1
            ):
                self._frontage(side, block)
                self._kerbside(side, block)
            self._walkers(side)
        self._traffic()
        for _, draw in sorted(self._things, key=lambda thing: -thing[0]):
            draw()
        return canvas.pixels

    def _along(
        self, s1: float, s2: float, side: int, u: float
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Give where a front from `s1` to `s2` starts, at its left as seen from the road, and where it leads."""
        start, end = (s1, s2) if side == LEFT else (s2, s1)
        x = self.x(start, side * u)
        return (x, start - self.s), (self.x(end, side * u) - x, end - start)

    def _wall_of(
        self,
        texture: Texture,
        span: tuple[float, float],
        side: int,
        u: float,
        height: float,
        label: int,
        shade: float = 1.0,
    ) -> None:
        (x, z), (dx, dz) = self._along(*span, side, u)
        self.canvas.paste(texture, (x, height, z), (dx, 0, dz), (0, -height, 0), label, shade)

    def _frontage(self, side: int, block: int) -> None:
        previous: Lot | None = None
        for lot in self.kit.lots(side, block):
            if lot.end > self.s + 1 and lot.start < self.s + VIEW:
                if lot.kind == 'building':
                    self.add(lot.end + 2, self._building, side, lot, previous)
                else:
                    self._garden(side, lot)
            previous = lot

    def _building(self, side: int, lot: Lot, previous: Lot | None) -> None:
        kit, canvas = self.kit, self.canvas
        shade = self.moment.sunlit(side) * (0.85 + 0.3 * (lot.choice % 7) / 6)
        pitched = lot.choice % 3 > 0
        ridge = lot.height + (2.6 if pitched else 0.0)
        z = lot.start - self.s
        if z > 0.5 and (
            previous is None or previous.kind != 'building' or previous.height < lot.height - 0.3
        ):
            x = self.x(lot.start, side * FACADE_LINE)
            outline = [
                (x, 0, z),
                (x, lot.height, z),
                (x + side * 4.6, ridge, z),
                (x + side * 9.2, lot.height, z),
                (x + side * 9.2, 0, z),
            ]
            corner = (x if side > 0 else x - 9.2, ridge, z)
            canvas.paste(
                kit.walls[lot.choice % len(kit.walls)],
                corner,
                (9.2, 0, 0),
                (0, -ridge, 0),
                BUILDING,
                0.9 * shade,
                np.array(outline),
            )
        if pitched:
            (x, z0), (dx, dz) = self._along(lot.start, lot.end, side, FACADE_LINE)
            tiles = kit.roofs[lot.choice % len(kit.roofs)]
            canvas.paste(
                tiles,
                (x + side * 4.6, ridge, z0),
                (dx, 0, dz),
                (-side * 4.6, -2.6, 0),
                BUILDING,
                1.1 * shade,
            )
            if z > 1:
                s = lot.start + 0.8
                x, z1 = self.x(s, side * (FACADE_LINE + 3.6)), s - self.s
                stack = np.array(
                    [
                        (x, ridge - 1.2, z1),
                        (x + 0.9 * side, ridge - 1.2, z1),
                        (x + 0.9 * side, ridge + 1.1, z1),
                        (x, ridge + 1.1, z1),
                    ]
                )
                canvas.polygon(stack, (92 * shade, 70 * shade, 60 * shade), BUILDING)
        front = kit.facades[lot.choice % len(kit.facades)]
        self._wall_of(front, (lot.start, lot.end), side, FACADE_LINE, lot.height, BUILDING, shade)
        if lot.choice % 4 == 1 and z > 1:  # a hanging shop sign
            s = lot.start + 1.0
            board = kit.signs[lot.choice % len(kit.signs)]
            x = self.x(s, side * (FACADE_LINE - 0.6))
            canvas.stand(board, (x, 2.9, s - self.s), SIGN, shade=0.9)

    def _garden(self, side: int, lot: Lot) -> None:
        kit = self.kit
        roll = iter(dice(kit.seed, lot.choice, side))
        wood = kit.woods[lot.choice % len(kit.woods)]
        span = (lot.start, lot.end)
        back = 9.0 if lot.kind == 'green' else 16.0
        self.add(
            lot.end + 6,
            self._wall_of,
            wood,
            span,
            side,
            FACADE_LINE + back,
            5.0 + lot.choice % 4,
            TREE,
            0.8,
        )
        if lot.kind == 'street':
            return
        for _ in range(int((lot.end - lot.start) / 3.5)):
            s = lot.start + (lot.end - lot.start) * next(roll)
            u = side * (FACADE_LINE + 1.2 + 5 * next(roll))
            self._tree(roll, s, u, lot.end + 3 + 0.001 * s)
        pieces = max(1, round((lot.end - lot.start) / 6))
        step = (lot.end - lot.start) / pieces
        for piece in range(pieces):
            span = (lot.start + piece * step, lot.start + (piece + 1) * step)
            if lot.choice % 5 < 2:
                hedge = kit.hedges[lot.choice % len(kit.hedges)]
                self.add(span[1] + 2, self._wall_of, hedge, span, side, FACADE_LINE, 1.6, TREE)
            if lot.choice % 5 > 0:
                fence = kit.fences[lot.choice % len(kit.fences)]
                self.add(
                    span[1] + 2, self._wall_of, fence, span, side, FACADE_LINE - 0.1, 1.35, FENCE
                )

    def _tree(self, roll: Iterator[float], s: float, u: float, key: float) -> None:
        tree = _choose(self.kit.trees, roll)
        scale, mirrored = 0.65 + 0.5 * next(roll), next(roll) < 0.5
        if 1.5 < s - self.s < VIEW:
            place = (self.x(s, u), 0.0, s - self.s)
            self.add(key, self.canvas.stand, tree, place, TREE, scale=scale, mirrored=mirrored)

    def _kerbside(self, side: int, block: int) -> None:
        """Note what stands between road and fronts: lamps, signs, trees, rails, parked cars."""
        kit = self.kit
        roll = iter(dice(kit.seed, KERBSIDE, side, block))
        start = block * BLOCK
        for offset in (3.0, 27.0) if side == LEFT else (35.0,):
            self._standing(start + offset, side, self._lamp)
        for _ in range(2):
            s, sign = start + BLOCK * next(roll), _choose(kit.signs, roll)
            self._standing(s, side, self._sign, sign, 2.1 + 0.7 * next(roll))
        if block % 2:  # at the pedestrian crossing, which comes once in each period of the ground
            light = kit.lights[int(self.time / 4 + block) % 3]
            self._standing(start + 35.5, side, self._sign, light, 2.3)
        for index in range(int(6 * next(roll))):
            self._standing(start + 20 + 1.6 * index, side, self._bollard)
        if next(roll) < 0.35:
            for offset in (8.0, 20.0, 32.0, 44.0):
                self._tree(roll, start + offset, side * (KERB + 0.5), start + offset + 1.5)
        if next(roll) < 0.4:
            begin = start + 4 + 20 * next(roll)
            for piece in range(3):
                span = (begin + 5 * piece, begin + 5 * piece + 5)
                if span[1] > self.s + 0.5:
                    rail = kit.fences[3]
                    self.add(
                        span[1] + 1.4, self._wall_of, rail, span, side, KERB - 0.2, 1.1, FENCE
                    )
        crowded = (0.3, 0.5) if side == LEFT else (0.5, 0.6)
        parked = crowded[1] if next(roll) < crowded[0] else 0.06
        for slot in range(7):
            s, body = start + 4 + 6.4 * slot + next(roll), _choose(kit.cars, roll)
            lane = side * (ROAD_HALF_WIDTH - body.half_width - 0.12)
            if next(roll) < parked and self.kit.lot(side, s).kind != 'street' and slot != 5:
                self._car(body, s, lane, 1 if side == LEFT else -1)

    def _standing(self, s: float, side: int, draw: Callable[..., None], *args: object) -> None:
        if 1.0 < s - self.s < VIEW:
            self.add(s + 1.5, draw, s, side, *args)

    def _post(
        self, x: float, z: float, width: float, bottom: float, top: float, grey: float
    ) -> None:
        for share, tone in ((1.0, 0.7), (0.5, 1.25)):  # its dark side, its lit side
            half = width / 2
            corners = [
                (x - half, bottom, z),
                (x - half + width * share, bottom, z),
                (x - half + width * share, top, z),
                (x - half, top, z),
            ]
            self.canvas.polygon(np.array(corners), (grey * tone, grey * tone, grey * tone), POLE)

    def _lamp(self, s: float, side: int) -> None:
        x, z = self.x(s, side * KERB), s - self.s
        self._post(x, z, 0.15, 0, 7.6, 84)
        self._post(x, z, 0.22, 0, 1.3, 76)
        arm = np.array(
            [(x, 7.5, z), (x - side * 1.6, 8.0, z), (x - side * 1.6, 8.12, z), (x, 7.65, z)]
        )
        self.canvas.polygon(arm, (76, 78, 80), POLE)
        head = np.array(
            [
                (x - side * 1.4, 7.95, z),
                (x - side * 2.1, 8.0, z),
                (x - side * 2.1, 8.16, z),
                (x - side * 1.4, 8.16, z),
            ]
        )
        self.canvas.polygon(head, (110, 112, 112), POLE)

    def _bollard(self, s: float, side: int) -> None:
        self._post(self.x(s, side * (KERB - 0.05)), s - self.s, 0.16, 0, 1.0, 44)

    def _sign(self, s: float, side: int, sign: Texture, height: float) -> None:
        x, z = self.x(s, side * KERB), s - self.s
        self._post(x, z, 0.1, 0, height + sign.size[1], 90)
        self.canvas.stand(sign, (x, height, z - 0.06), SIGN)

    def _car(self, body: figures.Solid, s: float, u: float, facing: int) -> None:
        z = s - self.s
        if not 0.4 < z + body.length / 2 < VIEW:
            return
        slope = self.moment.slope(s)
        self.add(s + 0.3 * abs(u), self._draw_car, body, (self.x(s, u), z, slope), facing)

    def _draw_car(
        self, body: figures.Solid, place: tuple[float, float, float], facing: int
    ) -> None:
        x, z, slope = place
        half = body.length / 2
        for grow, factor in ((0.35, 0.8), (0.02, 0.45)):
            w, l = body.half_width + grow, half + grow
            corners = [
                (x + i * w + slope * j * l, 0.0, z + j * l)
                for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            ]
            self.canvas.darken(np.array(corners), factor)
        self.canvas.solid(body, place, facing, CAR)

    def _walkers(self, side: int) -> None:
        """Note people on one pavement; each walks at a pace of their own, and follows the one before."""
        kit = self.kit
        for direction, spacing, edge in ((1, 19.0, 0.9), (-1, 23.0, 2.1)):
            drift = 1.25 * direction * self.time
            first = math.floor((self.s - drift) / spacing)
            for index in range(first, first + int(VIEW / spacing) + 2):
                roll = iter(dice(kit.seed, WALKERS, side, direction, index))
                pace = next(roll)
                for mate in range(1 + (next(roll) < 0.3)):
                    s = index * spacing + drift + 8 * next(roll) + 0.2 * mate
                    u = side * (ROAD_HALF_WIDTH + edge + 0.5 * next(roll) + 0.6 * mate)
                    somebody = _choose(kit.people, roll)
                    if 1.5 < s - self.s < VIEW:
                        step = (
                            int(figures.STEPS * (self.time * (0.8 + 0.2 * pace) + pace))
                            % figures.STEPS
                        )
                        place = (self.x(s, u), 0.0, s - self.s)
                        self.add(s + 0.3 * abs(u), self._person, somebody[step], place)

    def _person(self, drawing: Texture, place: tuple[float, float, float]) -> None:
        x, _, z = place
        self.canvas.darken(
            np.array(
                [
                    (x - 0.35, 0, z - 0.2),
                    (x + 0.35, 0, z - 0.2),
                    (x + 0.35, 0, z + 0.2),
                    (x - 0.35, 0, z + 0.2),
                ]
            ),
            0.7,
        )
        self.canvas.stand(drawing, place, PEDESTRIAN)

    def _traffic(self) -> None:
        """Note moving cars and cyclists: one car ahead, others and cyclists either way."""
        kit, t = self.kit, self.time
        gap = 19 + 7 * math.sin(t * 0.23 + 1.0) + 3 * math.sin(t * 0.57)
        self._car(
            _choose(kit.cars, iter(dice(kit.seed, TRAFFIC))),
            self.s + gap,
            -1.6 + 0.1 * math.sin(t * 0.7),
            1,
        )
        self._stream(
            -9.0 * t,
            34.0,
            10,
            lambda roll, s: self._car(_choose(kit.cars, roll), s, 1.5 + 0.3 * next(roll), -1),
        )
        self._stream(4.6 * t, 52.0, 11, lambda roll, s: self._cyclist(roll, s, -2.75, 0))
        self._stream(-4.6 * t, 110.0, 12, lambda roll, s: self._cyclist(roll, s, 2.75, 1))

    def _stream(
        self,
        drift: float,
        spacing: float,
        which: int,
        draw: Callable[[Iterator[float], float], None],
    ) -> None:
        """Note an endless row of things that all move by `drift` metres, `spacing` apart."""
        first = math.floor((self.s - drift) / spacing) - 1
        for index in range(first, first + int(VIEW / spacing) + 3):
            roll = iter(dice(self.kit.seed, TRAFFIC, which, index))
            draw(roll, (index + 0.6 * next(roll)) * spacing + drift)

    def _cyclist(self, roll: Iterator[float], s: float, u: float, towards: int) -> None:
        if not 1.2 < s - self.s < VIEW:
            return
        rider, cycle = _choose(self.kit.cyclists[towards], roll), _choose(self.kit.bicycles, roll)
        self.add(s + 0.3 * abs(u), self._draw_cyclist, rider, cycle, s, u + 0.3 * next(roll))

    def _draw_cyclist(self, rider: list[Texture], cycle: Texture, s: float, u: float) -> None:
        x, z = self.x(s, u), s - self.s
        self.canvas.darken(
            np.array(
                [
                    (x - 0.25, 0, z - 0.8),
                    (x + 0.25, 0, z - 0.8),
                    (x + 0.25, 0, z + 0.8),
                    (x - 0.25, 0, z + 0.8),
                ]
            ),
            0.6,
        )
        slope = self.moment.slope(s)
        corner = (x - 0.88 * slope, 1.1, z - 0.88)
        if corner[2] > 0.5:
            self.canvas.paste(cycle, corner, (1.76 * slope, 0, 1.76), (0, -1.1, 0), BICYCLIST)
        step = int(figures.STEPS * 1.2 * self.time) % figures.STEPS
        self.canvas.stand(rider[step], (x, 0.0, z), BICYCLIST)
