# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A synthetic drive through a street, with exact labels in CamVid's classes.

The street is a function of the seed and of the distance along the road, its traffic one of the time as well:
any frame can be drawn on its own. The world is flat and traffic keeps left; the camera is a pin-hole 1.35 m
above the ground. Turns of the camera are small enough to be drawn as shears.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import functools
import math
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_ros.datasets import street_figures as figures
from seg_ros.datasets import street_textures as textures
from seg_ros.datasets.street_canvas import Canvas, haze
from seg_ros.datasets.street_textures import (
    dice, FACADE_LINE, Pixels, random_state, ROAD_HALF_WIDTH, Texture,
)  # fmt: skip
from seg_ros.inference.labels import CAMVID

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)

BLOCK = 48.0  # metres of street laid out at a time
VIEW = 150.0  # metres ahead that are drawn
SPEED = 8.0  # of the camera, in metres per second
CAMERA_HEIGHT = 1.35
KERB = ROAD_HALF_WIDTH + 0.45  # where lamp posts and signs stand

_T = TypeVar('_T')
_LEFT, _RIGHT = -1, 1
_FRONTAGE, _KERBSIDE, _TRAFFIC, _WALKERS, _FRAME = range(5)  # what a generator is for


class Lot(NamedTuple):
    """A stretch of one side of the street: what stands along it, and its random number."""

    start: float
    end: float
    kind: str  # building, green, or street: a side street
    choice: int
    height: float


class Kit:
    """All textures and solids of a seed, and its street's layout."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = random_state(seed, 77)
        self.ground = textures.ground(rng)
        self.grain = np.clip(128 + 9 * textures.noise(rng, 512, 512), 0, 255).astype(np.uint8)
        self.facades = [textures.facade(rng, (2, 3, 2, 1, 2, 3, 4)[index % 7], rng.randint(2, 6)) for index in range(18)]
        self.walls = [textures.side_wall(rng) for _ in range(5)]
        self.roofs = [textures.roof(rng) for _ in range(4)]
        self.trees = [textures.bare_tree(rng) for _ in range(5)] + [textures.leafy_tree(rng) for _ in range(4)]
        self.hedges = [textures.hedge(rng, 1.7) for _ in range(3)]
        self.woods = [textures.hedge(rng, 7.0) for _ in range(3)]
        self.fences = [textures.fence(rng, kind) for kind in ('railings', 'railings', 'boards', 'railings')]
        self.people = [figures.person(rng) for _ in range(10)]
        self.cyclists = [[figures.cyclist(rng, towards=towards) for _ in range(3)] for towards in (False, True)]
        self.bicycles = [figures.bicycle(rng) for _ in range(3)]
        self.signs = [figures.road_sign(rng) for _ in range(12)]
        self.lights = [figures.traffic_light(state) for state in range(3)]
        self.cars = [figures.car(rng) for _ in range(14)]
        self.bends = [(5.0 + 3 * rng.random_sample(), 58.0 + 20 * rng.random_sample(), 7 * rng.random_sample()),
                      (1.6, 27.0, 7 * rng.random_sample())]  # fmt: skip
        self.phases = [2 * math.pi * rng.random_sample() for _ in range(8)]
        self.sun_side = _LEFT if rng.random_sample() < 0.5 else _RIGHT
        self._lots: dict[tuple[int, int], list[Lot]] = {}

    def bend(self, s: float) -> float:
        """Give how far right of straight ahead the road's middle is after `s` metres."""
        return sum(size * math.sin(s / scale + phase) for size, scale, phase in self.bends)

    def heading(self, s: float) -> float:
        """Give the slope of `bend`."""
        return sum(size / scale * math.cos(s / scale + phase) for size, scale, phase in self.bends)

    def lots(self, side: int, block: int) -> list[Lot]:
        """Lay out one block of one side of the street, front to front."""
        if (side, block) not in self._lots:
            roll = iter(dice(self.seed, _FRONTAGE, side, block))
            lots: list[Lot] = []
            start, end = block * BLOCK, (block + 1) * BLOCK
            green = 0.12 if next(roll) < 0.6 else 0.6
            while start < end:
                chance, choice = next(roll), int((1 << 16) * next(roll))
                front = self.facades[choice % len(self.facades)]
                kind, width = 'building', front.size[0]
                if chance < green:
                    kind, width = 'green', 8 + 10 * next(roll)
                elif chance < green + 0.07:
                    kind, width = 'street', 8.0
                stop = end if end - start - width < 5 else start + width
                lots.append(Lot(start, stop, kind, choice, front.size[1] * (0.92 + 0.2 * next(roll))))
                start = stop
            if len(self._lots) > 200:  # a long drive forgets what lies behind
                self._lots.clear()
            self._lots[side, block] = lots
        return self._lots[side, block]


def _choose(things: Sequence[_T], roll: Iterator[float]) -> _T:
    return things[int(len(things) * next(roll))]


@functools.lru_cache(maxsize=2)
def _kit(seed: int) -> Kit:
    return Kit(seed)


class SampleDrive:
    """
    A drive as a sequence of frames.

    :param seed: of the street, its traffic and its weather
    :param frames: how many
    :param size: width and height in pixels, 16 or more
    :param rate: frames per second
    :raises ValueError: a size, rate or length that cannot be drawn
    """

    labels = CAMVID

    def __init__(
        self, seed: int = 0, frames: int = 300, size: tuple[int, int] = (640, 360), rate: float = 10.0
    ) -> None:
        if frames < 1 or min(size) < 16 or not rate > 0:
            raise ValueError(
                'expected at least 1 frame, a size of 16x16 pixels or more and a rate above 0; '
                f'found frames={frames}, size={size[0]}x{size[1]}, rate={rate}'
            )
        self.seed, self.frames, self.size, self.rate = seed, frames, size, rate
        self.focal = 0.95 * math.sqrt(size[0] * size[1])
        self._kit = _kit(seed)
        self._optics = _Optics(seed, size)

    @property
    def camera_matrix(self) -> NDArray[np.float64]:
        """The 3x3 matrix that maps x right, y down, z ahead to pixels, a pixel's centre being whole."""
        width, height = self.size
        f = self.focal
        return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]], np.float64)

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        """
        Draw a frame.

        :returns: image, uint8 RGB HxWx3; class ids, uint8 HxW
        :raises IndexError: there is no such frame
        """
        index = range(self.frames)[index]
        view = _View(self._kit, self, index / self.rate)
        pixels = view.draw()
        image = self._optics.photograph(pixels[..., :3], view, index)
        return image, pixels[..., 3].copy()


class _Optics:
    """What lens and sensor do to the image."""

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        width, height = size
        rng = random_state(seed, _FRAME)
        self.scale = math.sqrt(width * height) / 480
        grain = textures.noise(rng, height + 32, 3 * (width + 32)).reshape(height + 32, width + 32, 3)
        smooth = cv2.GaussianBlur(grain, (3, 3), 0.6)
        self.grain = np.clip(3.4 * smooth + 0.8 * grain, -20, 20).astype(np.int16)
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]  # type: ignore[misc]
        self.vignette = np.repeat((255 * (1 - 0.13 * (x * x + y * y)))[..., None].astype(np.uint8), 3, 2)

    def photograph(self, colours: Pixels, view: _View, index: int) -> Pixels:
        """Blur by motion and lens, expose, shade the corners, and add noise."""
        height, width = colours.shape[:2]
        image = np.ascontiguousarray(colours)
        zoom = 1.004 + 0.004 * math.sin(view.time * 0.9) ** 2
        x, y = view.canvas.centre
        ahead = np.array([[zoom, 0, x * (1 - zoom)], [0, zoom, y * (1 - zoom) + 0.4 * view.bob]])
        moved = cv2.warpAffine(image, ahead, (width, height), borderMode=cv2.BORDER_REPLICATE)
        image = cv2.addWeighted(image, 0.5, moved, 0.5, 0)
        image = cv2.GaussianBlur(image, (0, 0), 0.45 + 0.25 * self.scale)
        image = cv2.LUT(image, view.exposure())
        image = cv2.multiply(image, self.vignette, scale=1 / 255)
        rng = random_state(view.kit.seed, _FRAME, index)
        top, left = rng.randint(0, 32, 2)
        grain = self.grain[top : top + height, left : left + width]
        return cv2.add(image, grain, dtype=cv2.CV_8U)


class _View:
    """The street as the camera sees it at one time."""

    def __init__(self, kit: Kit, drive: SampleDrive, time: float) -> None:
        self.kit, self.time = kit, time
        p = kit.phases
        self.s = self.travelled(time)
        self.u = -1.6 + 0.2 * math.sin(time * 0.31 + p[0])
        self.turn = kit.heading(self.s) + 0.012 * math.sin(time * 0.47 + p[1])
        self.bob = math.sin(time * 9.1 + p[2]) + math.sin(time * 5.3 + p[3])
        width, height = drive.size
        pitch = 0.012 + 0.0018 * self.bob
        centre = ((width - 1) / 2, (height - 1) / 2 + drive.focal * pitch)
        self.canvas = Canvas(drive.size, drive.focal, centre, CAMERA_HEIGHT)
        self.sun = min(1.0, max(0.0, 0.45 + 0.75 * math.sin(time * 0.19 + p[4])))
        self.gain = 0.98 + 0.2 * math.sin(time * 0.29 + p[5]) - 0.05 * self.sun
        self.warmth = 0.035 * math.sin(time * 0.13 + p[6]) + 0.03 * self.sun - 0.03
        self._things: list[tuple[float, Callable[[], None]]] = []

    def travelled(self, time: float) -> float:
        """Give the camera's distance along the road."""
        return SPEED * time + 9 * math.sin(time * 0.21 + self.kit.phases[7])

    def x(self, s: float, u: float) -> float:
        """Give the camera's x of a point `s` along the road and `u` right of its middle."""
        ahead = s - self.s
        return u - self.u + self.kit.bend(s) - self.kit.bend(self.s) - self.turn * ahead

    def add(self, key: float, draw: Callable[..., None], *args: object, **options: object) -> None:
        """Note something to draw; what has the greater key is farther and is drawn first."""
        self._things.append((key, functools.partial(draw, *args, **options)))

    def exposure(self) -> Pixels:
        """Give the table from scene colours to the camera's, 1x256x3."""
        scene = np.arange(256) / 255
        columns = []
        for tint in (1 + self.warmth, 1.0, 1 - self.warmth):
            # A little contrast around middle grey, and highlights that saturate softly.
            level = scene * self.gain * tint
            level = level + 0.1 * (level - 0.4) * (1 - np.abs(2 * level - 1))
            columns.append(np.clip(255 * level, 0, 255))
        return np.stack(columns, 1)[None].astype(np.uint8)

    def draw(self) -> Pixels:
        """Paint everything, far to near."""
        self._sky()
        self._ground()
        canvas, kit = self.canvas, self.kit
        wood = kit.woods[0]
        middle = self.x(self.s + VIEW, 0)
        for index in range(-6, 6):
            corner = (middle + 12 * index, 7.5, VIEW)
            canvas.paste(wood, corner, (12, 0, 0), (0, -7.5, 0), TREE, 0.9)
        for side in (_LEFT, _RIGHT):
            for block in range(math.floor(self.s / BLOCK), math.floor((self.s + VIEW) / BLOCK) + 1):
                self._frontage(side, block)
                self._kerbside(side, block)
            self._walkers(side)
        self._traffic()
        for _, draw in sorted(self._things, key=lambda thing: -thing[0]):
            draw()
        return canvas.pixels

    def _sky(self) -> None:
        canvas = self.canvas
        horizon = int(min(canvas.rows, max(0, canvas.centre[1] + 1)))
        offset = self.turn * canvas.focal + self.time * 0.8
        canvas.pixels[:horizon] = _sky(self.kit.seed, canvas.width, canvas.rows).crop(horizon, offset, self.sun)
        canvas.pixels[horizon:, :, 3] = ROAD

    def _ground(self) -> None:
        canvas, kit = self.canvas, self.kit
        first = int(min(canvas.rows, max(0, canvas.centre[1] + 1)))
        depth = canvas.focal * canvas.height / (np.arange(first, canvas.rows) - canvas.centre[1])
        depth = np.minimum(depth, 4 * VIEW)
        middle = np.array([self.x(self.s + z, 0) for z in depth.tolist()])
        columns = np.arange(canvas.width) - canvas.centre[0]
        u = ((depth / canvas.focal)[:, None] * columns - middle[:, None]).astype(np.float32)
        ground = canvas.pixels[first:]
        labels = np.where(np.abs(u) <= ROAD_HALF_WIDTH, ROAD, PAVEMENT).astype(np.uint8)
        labels[np.abs(u) > FACADE_LINE] = TREE
        across = np.clip(u, -9.9, 9.9)
        shadow = np.zeros(u.shape, bool)
        for side in (_LEFT, _RIGHT):
            lots = [self._lot(side, self.s + z) for z in depth.tolist()]
            for row, lot in enumerate(lots):
                if lot.kind == 'street' and depth[row] < VIEW:
                    beyond = u[row] * side > ROAD_HALF_WIDTH
                    labels[row, beyond] = ROAD
                    across[row, beyond] = side * (0.5 + np.abs(u[row, beyond]) % 1.8)
            if side == kit.sun_side:
                reach = np.array([0.75 * lot.height if lot.kind == 'building' else 0.0 for lot in lots])
                shadow = u * side > (FACADE_LINE - reach)[:, None].astype(np.float32)
        self._lay(ground, depth, across, u)
        if self.sun > 0.15:
            dark = cv2.convertScaleAbs(ground, alpha=1 - 0.42 * self.sun)
            lit = cv2.convertScaleAbs(ground, alpha=1 + 0.3 * self.sun)
            ground[:] = np.where(shadow[..., None], dark, lit)
        ground[..., 3] = labels

    def _lay(
        self, ground: Pixels, depth: NDArray[np.float64], across: NDArray[np.float32], u: NDArray[np.float32]
    ) -> None:
        """Texture the ground's rows, each from the copy that is reduced as its distance asks."""
        canvas, kit = self.canvas, self.kit
        footprint = depth * depth / (canvas.focal * canvas.height)
        wanted = np.clip(np.log2(np.maximum(footprint / textures.TEXEL, 1)), 0, 6).astype(int)
        row = 0
        while row < len(depth):
            end = row + int(np.argmax(np.append(wanted[row:] != wanted[row], True)))
            y_level = int(wanted[row])
            x_level = max(0, min(4, int(math.log2(max(1.0, depth[row] / canvas.focal / textures.TEXEL)))))
            source = kit.ground.level(x_level, y_level)
            along = (self.s + depth[row:end]) % textures.GROUND_PERIOD / textures.GROUND_PERIOD
            y = np.repeat((along * source.shape[0] - 0.5).astype(np.float32)[:, None], canvas.width, 1)
            x = (across[row:end] + 10) * (source.shape[1] / 20) - 0.5
            part = cv2.remap(source, x.astype(np.float32), y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            keep, add = haze(float(depth[row]))
            ground[row:end] = cv2.convertScaleAbs(part, alpha=keep, beta=add)
            row = end
        near = int(np.argmax(np.append(depth < 14, True)))
        if near < len(depth):  # the stones in the asphalt, which only close rows show
            y = np.repeat(((self.s + depth[near:]) % 64 / 0.006).astype(np.float32)[:, None], canvas.width, 1)
            x = u[near:] / 0.006
            grain = cv2.remap(kit.grain, x.astype(np.float32) % 512, y % 512, cv2.INTER_LINEAR,
                              borderMode=cv2.BORDER_WRAP)  # fmt: skip
            part = cv2.add(ground[near:], cv2.merge([grain] * 4).astype(np.int16) - 128, dtype=cv2.CV_8U)
            ground[near:] = part

    def _lot(self, side: int, s: float) -> Lot:
        for lot in self.kit.lots(side, math.floor(s / BLOCK)):
            if s < lot.end:
                return lot
        return lot

    def _along(self, s1: float, s2: float, side: int, u: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Give where a front from `s1` to `s2` starts, at its left as seen from the road, and where it leads."""
        start, end = (s1, s2) if side == _LEFT else (s2, s1)
        x = self.x(start, side * u)
        return (x, start - self.s), (self.x(end, side * u) - x, end - start)

    def _wall_of(
        self, texture: Texture, span: tuple[float, float], side: int, u: float, height: float, label: int,
        shade: float = 1.0,
    ) -> None:  # fmt: skip
        (x, z), (dx, dz) = self._along(*span, side, u)
        self.canvas.paste(texture, (x, height, z), (dx, 0, dz), (0, -height, 0), label, shade)

    def _sunlit(self, side: int) -> float:
        return 1.0 + 0.2 * self.sun if side != self.kit.sun_side else 1.0 - 0.28 * self.sun

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
        shade = self._sunlit(side) * (0.85 + 0.3 * (lot.choice % 7) / 6)
        pitched = lot.choice % 3 > 0
        ridge = lot.height + (2.6 if pitched else 0.0)
        z = lot.start - self.s
        if z > 0.5 and (previous is None or previous.kind != 'building' or previous.height < lot.height - 0.3):
            x = self.x(lot.start, side * FACADE_LINE)
            outline = [(x, 0, z), (x, lot.height, z), (x + side * 4.6, ridge, z),
                       (x + side * 9.2, lot.height, z), (x + side * 9.2, 0, z)]  # fmt: skip
            corner = (x if side > 0 else x - 9.2, ridge, z)
            canvas.paste(
                kit.walls[lot.choice % len(kit.walls)], corner, (9.2, 0, 0), (0, -ridge, 0), BUILDING,
                0.9 * shade, np.array(outline),
            )  # fmt: skip
        if pitched:
            (x, z0), (dx, dz) = self._along(lot.start, lot.end, side, FACADE_LINE)
            tiles = kit.roofs[lot.choice % len(kit.roofs)]
            canvas.paste(
                tiles, (x + side * 4.6, ridge, z0), (dx, 0, dz), (-side * 4.6, -2.6, 0), BUILDING, 1.1 * shade
            )
            if z > 1:
                s = lot.start + 0.8
                x, z1 = self.x(s, side * (FACADE_LINE + 3.6)), s - self.s
                stack = np.array([(x, ridge - 1.2, z1), (x + 0.9 * side, ridge - 1.2, z1),
                                  (x + 0.9 * side, ridge + 1.1, z1), (x, ridge + 1.1, z1)])  # fmt: skip
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
        self.add(lot.end + 6, self._wall_of, wood, span, side, FACADE_LINE + back, 5.0 + lot.choice % 4, TREE, 0.8)
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
                self.add(span[1] + 2, self._wall_of, fence, span, side, FACADE_LINE - 0.1, 1.35, FENCE)

    def _tree(self, roll: Iterator[float], s: float, u: float, key: float) -> None:
        tree = _choose(self.kit.trees, roll)
        scale, mirrored = 0.65 + 0.5 * next(roll), next(roll) < 0.5
        if 1.5 < s - self.s < VIEW:
            place = (self.x(s, u), 0.0, s - self.s)
            self.add(key, self.canvas.stand, tree, place, TREE, scale=scale, mirrored=mirrored)

    def _kerbside(self, side: int, block: int) -> None:
        """Note what stands between road and fronts: lamps, signs, trees, rails, parked cars."""
        kit = self.kit
        roll = iter(dice(kit.seed, _KERBSIDE, side, block))
        start = block * BLOCK
        for offset in (3.0, 27.0) if side == _LEFT else (15.0, 39.0):
            self._standing(start + offset, side, self._lamp)
        for _ in range(3):
            s, sign = start + BLOCK * next(roll), _choose(kit.signs, roll)
            self._standing(s, side, self._sign, sign, 2.1 + 0.7 * next(roll))
        if block % 2:  # at the pedestrian crossing, which comes once in each period of the ground
            light = kit.lights[int(self.time / 4 + block) % 3]
            self._standing(start + 35.5, side, self._sign, light, 2.3)
        for index in range(int(8 * next(roll))):
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
                    self.add(span[1] + 1.4, self._wall_of, rail, span, side, KERB - 0.2, 1.1, FENCE)
        crowded = (0.35, 0.5) if side == _LEFT else (0.6, 0.6)
        parked = crowded[1] if next(roll) < crowded[0] else 0.06
        for slot in range(7):
            s, body = start + 4 + 6.4 * slot + next(roll), _choose(kit.cars, roll)
            lane = side * (ROAD_HALF_WIDTH - body.half_width - 0.12)
            if next(roll) < parked and self._lot(side, s).kind != 'street' and slot != 5:
                self._car(body, s, lane, 1 if side == _LEFT else -1)

    def _standing(self, s: float, side: int, draw: Callable[..., None], *args: object) -> None:
        if 1.0 < s - self.s < VIEW:
            self.add(s + 1.5, draw, s, side, *args)

    def _post(self, x: float, z: float, width: float, bottom: float, top: float, grey: float) -> None:
        for share, tone in ((1.0, 0.7), (0.5, 1.25)):  # its dark side, its lit side
            half = width / 2
            corners = [(x - half, bottom, z), (x - half + width * share, bottom, z),
                       (x - half + width * share, top, z), (x - half, top, z)]  # fmt: skip
            self.canvas.polygon(np.array(corners), (grey * tone, grey * tone, grey * tone), POLE)

    def _lamp(self, s: float, side: int) -> None:
        x, z = self.x(s, side * KERB), s - self.s
        self._post(x, z, 0.17, 0, 7.6, 84)
        self._post(x, z, 0.24, 0, 1.3, 76)
        arm = np.array([(x, 7.5, z), (x - side * 1.6, 8.0, z), (x - side * 1.6, 8.12, z), (x, 7.65, z)])
        self.canvas.polygon(arm, (76, 78, 80), POLE)
        head = np.array([(x - side * 1.4, 7.95, z), (x - side * 2.1, 8.0, z), (x - side * 2.1, 8.16, z),
                         (x - side * 1.4, 8.16, z)])  # fmt: skip
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
        slope = self.kit.heading(s) - self.turn
        self.add(s + 0.3 * abs(u), self._draw_car, body, (self.x(s, u), z, slope), facing)

    def _draw_car(self, body: figures.Solid, place: tuple[float, float, float], facing: int) -> None:
        x, z, slope = place
        half = body.length / 2
        for grow, factor in ((0.35, 0.8), (0.02, 0.45)):
            w, l = body.half_width + grow, half + grow
            corners = [(x + i * w + slope * j * l, 0.0, z + j * l) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            self.canvas.darken(np.array(corners), factor)
        self.canvas.solid(body, place, facing, CAR)

    def _walkers(self, side: int) -> None:
        """Note people on one pavement; each walks at a pace of their own, and follows the one before."""
        kit = self.kit
        for direction, spacing, edge in ((1, 13.0, 0.9), (-1, 17.0, 1.9)):
            drift = 1.25 * direction * self.time
            first = math.floor((self.s - drift) / spacing)
            for index in range(first, first + int(VIEW / spacing) + 2):
                roll = iter(dice(kit.seed, _WALKERS, side, direction, index))
                pace = next(roll)
                for mate in range(1 + (next(roll) < 0.3)):
                    s = index * spacing + drift + 8 * next(roll) + 0.2 * mate
                    u = side * (ROAD_HALF_WIDTH + edge + 0.5 * next(roll) + 0.6 * mate)
                    somebody = _choose(kit.people, roll)
                    if 1.5 < s - self.s < VIEW:
                        step = int(figures.STEPS * (self.time * (0.8 + 0.2 * pace) + pace)) % figures.STEPS
                        place = (self.x(s, u), 0.0, s - self.s)
                        self.add(s + 0.3 * abs(u), self._person, somebody[step], place)

    def _person(self, drawing: Texture, place: tuple[float, float, float]) -> None:
        x, _, z = place
        self.canvas.darken(np.array([(x - 0.35, 0, z - 0.2), (x + 0.35, 0, z - 0.2), (x + 0.35, 0, z + 0.2),
                                     (x - 0.35, 0, z + 0.2)]), 0.7)  # fmt: skip
        self.canvas.stand(drawing, place, PEDESTRIAN)

    def _traffic(self) -> None:
        """Note moving cars and cyclists: one car ahead, others and cyclists either way."""
        kit, t = self.kit, self.time
        gap = 19 + 7 * math.sin(t * 0.23 + 1.0) + 3 * math.sin(t * 0.57)
        self._car(kit.cars[0], self.s + gap, -1.7 + 0.1 * math.sin(t * 0.7), 1)
        self._stream(-9.0 * t, 34.0, 10, lambda roll, s: self._car(
            _choose(kit.cars, roll), s, 1.5 + 0.3 * next(roll), -1))  # fmt: skip
        self._stream(4.6 * t, 31.0, 11, lambda roll, s: self._cyclist(roll, s, -3.0, 0))
        self._stream(-4.6 * t, 43.0, 12, lambda roll, s: self._cyclist(roll, s, 2.75, 1))

    def _stream(
        self, drift: float, spacing: float, which: int, draw: Callable[[Iterator[float], float], None]
    ) -> None:
        """Note an endless row of things that all move by `drift` metres, `spacing` apart."""
        first = math.floor((self.s - drift) / spacing) - 1
        for index in range(first, first + int(VIEW / spacing) + 3):
            roll = iter(dice(self.kit.seed, _TRAFFIC, which, index))
            draw(roll, (index + 0.6 * next(roll)) * spacing + drift)

    def _cyclist(self, roll: Iterator[float], s: float, u: float, towards: int) -> None:
        if not 1.2 < s - self.s < VIEW:
            return
        rider, cycle = _choose(self.kit.cyclists[towards], roll), _choose(self.kit.bicycles, roll)
        self.add(s + 0.3 * abs(u), self._draw_cyclist, rider, cycle, s, u + 0.3 * next(roll))

    def _draw_cyclist(self, rider: list[Texture], cycle: Texture, s: float, u: float) -> None:
        x, z = self.x(s, u), s - self.s
        self.canvas.darken(np.array([(x - 0.25, 0, z - 0.8), (x + 0.25, 0, z - 0.8), (x + 0.25, 0, z + 0.8),
                                     (x - 0.25, 0, z + 0.8)]), 0.6)  # fmt: skip
        slope = self.kit.heading(s) - self.turn
        corner = (x - 0.88 * slope, 1.1, z - 0.88)
        if corner[2] > 0.5:
            self.canvas.paste(cycle, corner, (1.76 * slope, 0, 1.76), (0, -1.1, 0), BICYCLIST)
        step = int(figures.STEPS * 1.2 * self.time) % figures.STEPS
        self.canvas.stand(rider[step], (x, 0.0, z), BICYCLIST)


class _Sky:
    """Clouds over a horizon, larger than the frame, in clear and in grey weather."""

    def __init__(self, seed: int, width: int, rows: int) -> None:
        rng = random_state(seed, 5)
        self.rows = rows
        field = textures.clouds(rng, max(8, rows // 2), width, 5, 5)
        field = cv2.resize(field, (2 * width, rows), interpolation=cv2.INTER_LINEAR)
        high = np.linspace(1, 0, rows, dtype=np.float32)[:, None, None]
        white = np.clip(0.5 + 0.55 * field, 0, 1)[..., None]
        blue = np.array((196, 224, 242), np.float32) - high * np.array((72, 40, 12), np.float32)
        clear = blue + (np.array((238, 243, 245), np.float32) - blue) * white
        grey = np.array((226, 238, 240), np.float32) * (1 - 0.1 * high * (1 - white) - 0.06 * high)
        self.layers = [
            np.dstack([np.clip(layer, 0, 255), np.full(field.shape, SKY)]).astype(np.uint8)
            for layer in (clear, grey)
        ]

    def crop(self, horizon: int, offset: float, sun: float) -> Pixels:
        """Cut out what is above row `horizon`, turned by `offset` pixels."""
        width = self.layers[0].shape[1] // 2
        left = int(width / 2 + 0.45 * width * math.sin(offset / (0.45 * width)))
        clear, grey = (layer[self.rows - horizon :, left : left + width] for layer in self.layers)
        return cv2.addWeighted(clear, sun, grey, 1 - sun, 0)


@functools.lru_cache(maxsize=2)
def _sky(seed: int, width: int, rows: int) -> _Sky:
    return _Sky(seed, width, rows)
