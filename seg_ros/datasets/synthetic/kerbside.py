# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The kerbside of a synthetic street: lamps, signs, bollards, trees, rails and parked cars."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from .canvas import FENCE, POLE, SIGN
from .layout import BLOCK, KERBSIDE, LEFT
from .scene import choose, Scene
from .textures import dice, ROAD_HALF_WIDTH, Texture

KERB = ROAD_HALF_WIDTH + 0.45
"""Metres from the middle of the road to the lamp posts and signs."""


def add_kerbside(scene: Scene, side: int, block: int) -> None:
    """Add the kerbside of one block on one side of the street."""
    kit = scene.kit
    roll = iter(dice(kit.seed, KERBSIDE, side, block))
    start = block * BLOCK

    def add(s: float, draw: Callable[[float], None]) -> None:
        if scene.sees(s, 1.0):
            scene.add(s + 1.5, partial(draw, s))

    for offset in (3.0, 27.0) if side == LEFT else (35.0,):
        add(start + offset, lambda s: _lamp(scene, s, side))
    for _ in range(2):
        s, sign, height = start + BLOCK * next(roll), choose(kit.signs, roll), next(roll)
        add(s, partial(_sign, scene, side, sign, 2.1 + 0.7 * height))
    if block % 2:  # The ground has a pedestrian crossing in every second block.
        light = kit.lights[int(scene.camera.time / 4 + block) % 3]
        add(start + 35.5, partial(_sign, scene, side, light, 2.3))
    for index in range(int(6 * next(roll))):
        add(start + 20 + 1.6 * index, lambda s: _bollard(scene, s, side))
    if next(roll) < 0.35:
        for s in (start + 8, start + 20, start + 32, start + 44):
            scene.add_tree(roll, s, side * (KERB + 0.5), s + 1.5)
    if next(roll) < 0.4:
        begin = start + 4 + 20 * next(roll)
        for s in (begin, begin + 5, begin + 10):
            if s + 5 > scene.camera.s + 0.5:
                rail, u = kit.fences[3], KERB - 0.2
                scene.add(s + 6.4, partial(scene.front, rail, (s, s + 5), side, u, 1.1, FENCE))
    often, share = (0.2, 0.5) if side == LEFT else (0.5, 0.6)
    parked = share if next(roll) < often else 0.06
    for slot in range(7):
        s, body = start + 4 + 6.4 * slot + next(roll), choose(kit.cars, roll)
        lane = side * (ROAD_HALF_WIDTH - body.half_width - 0.12)
        free = kit.lot(side, s).kind == 'street' or slot == 5
        if next(roll) < parked and not free:
            scene.add_car(body, s, lane, 1 if side == LEFT else -1)


def _post(scene: Scene, x: float, z: float, width: float, height: float, grey: float) -> None:
    """Draw a post: its dark side over its whole width, then its lit side over the left half."""
    for right, tone in ((width / 2, 0.7), (0.0, 1.25)):
        colour = (grey * tone, grey * tone, grey * tone)
        scene.canvas.upright((x - width / 2, x + right), (0, height), z, colour, POLE)


def _lamp(scene: Scene, s: float, side: int) -> None:
    x, _, z = scene.place(s, side * KERB)
    _post(scene, x, z, 0.15, 7.6, 84)
    _post(scene, x, z, 0.22, 1.3, 76)
    arm = ((0, 7.5), (1.6, 8.0), (1.6, 8.12), (0, 7.65))
    points = np.array([(x - side * reach, y, z) for reach, y in arm])
    scene.canvas.polygon(points, (76, 78, 80), POLE)
    ends = (x - side * 1.4, x - side * 2.1)
    scene.canvas.upright(ends, (7.98, 8.16), z, (110, 112, 112), POLE)


def _bollard(scene: Scene, s: float, side: int) -> None:
    x, _, z = scene.place(s, side * (KERB - 0.05))
    _post(scene, x, z, 0.16, 1.0, 44)


def _sign(scene: Scene, side: int, sign: Texture, height: float, s: float) -> None:
    x, _, z = scene.place(s, side * KERB)
    _post(scene, x, z, 0.1, height + sign.size[1], 90)
    scene.canvas.stand(sign, (x, height, z - 0.06), SIGN)
