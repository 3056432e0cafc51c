# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The frontage of a synthetic street: buildings, gardens and side streets."""

from __future__ import annotations

from functools import partial

import numpy as np

from .canvas import BUILDING, FENCE, SIGN, TREE
from .layout import Lot
from .scene import Scene, VIEW
from .textures import dice, FACADE_LINE

_DEPTH = 9.2
"""Metres from a building's front to its back."""

_ROOF = 2.6
"""Metres from the eaves of a roof up to its ridge."""


def add_frontage(scene: Scene, side: int, block: int) -> None:
    """Add the frontage of one block on one side of the street."""
    s = scene.camera.s
    previous: Lot | None = None
    for lot in scene.kit.lots(side, block):
        if lot.end > s + 1 and lot.start < s + VIEW:
            if lot.kind == 'building':
                hidden = (
                    previous is not None
                    and previous.kind == 'building'
                    and previous.height >= lot.height - 0.3
                )
                scene.add(lot.end + 2, partial(_building, scene, side, lot, not hidden))
            else:
                _add_garden(scene, side, lot)
        previous = lot


def _building(scene: Scene, side: int, lot: Lot, ended: bool) -> None:
    """Draw the end wall (if ``ended``), the roof and the front of a building."""
    kit, canvas = scene.kit, scene.canvas
    shade = scene.camera.sunlit(side) * (0.85 + 0.3 * (lot.choice % 7) / 6)
    pitched = lot.choice % 3 > 0
    ridge = lot.height + (_ROOF if pitched else 0.0)
    x, _, z = scene.place(lot.start, side * FACADE_LINE)
    if ended and z > 0.5:
        heights = ((0, 0), (0, lot.height), (0.5, ridge), (1, lot.height), (1, 0))
        outline = np.array([(x + side * share * _DEPTH, y, z) for share, y in heights])
        corner = (x if side > 0 else x - _DEPTH, ridge, z)
        wall = kit.walls[lot.choice % len(kit.walls)]
        edges = (_DEPTH, 0, 0), (0, -ridge, 0)
        canvas.paste(wall, corner, *edges, BUILDING, 0.9 * shade, outline)
    span = (lot.start, lot.end)
    if pitched:
        (x0, z0), (dx, dz) = scene.along(span, side, FACADE_LINE)
        tiles = kit.roofs[lot.choice % len(kit.roofs)]
        back = side * _DEPTH / 2
        corner, down = (x0 + back, ridge, z0), (-back, -_ROOF, 0)
        canvas.paste(tiles, corner, (dx, 0, dz), down, BUILDING, 1.1 * shade)
        if z > 1:  # Draw a chimney.
            x, _, z1 = scene.place(lot.start + 0.8, side * (FACADE_LINE + 3.6))
            colour = (92 * shade, 70 * shade, 60 * shade)
            canvas.upright((x, x + 0.9 * side), (ridge - 1.2, ridge + 1.1), z1, colour, BUILDING)
    front = kit.facades[lot.choice % len(kit.facades)]
    scene.front(front, span, side, FACADE_LINE, lot.height, BUILDING, shade)
    if lot.choice % 4 == 1 and z > 1:  # Draw a sign that hangs over the pavement.
        x, _, z1 = scene.place(lot.start + 1, side * (FACADE_LINE - 0.6))
        canvas.stand(kit.boards[lot.choice % len(kit.boards)], (x, 2.9, z1), SIGN, shade=0.9)


def _add_garden(scene: Scene, side: int, lot: Lot) -> None:
    """Add a garden with trees, fence and hedge, or the wood at the end of a side street."""
    kit = scene.kit
    roll = iter(dice(kit.seed, lot.choice, side))
    wood = kit.woods[lot.choice % len(kit.woods)]
    behind = FACADE_LINE + (9 if lot.kind == 'green' else 16)
    span, height = (lot.start, lot.end), 5.0 + lot.choice % 4
    scene.add(lot.end + 6, partial(scene.front, wood, span, side, behind, height, TREE, shade=0.8))
    if lot.kind == 'street':
        return
    length = lot.end - lot.start
    for _ in range(int(length / 3.5)):
        s, u = lot.start + length * next(roll), FACADE_LINE + 1.2 + 5 * next(roll)
        scene.add_tree(roll, s, side * u, lot.end + 3 + 0.001 * s)
    pieces = max(1, round(length / 6))
    hedge = kit.hedges[lot.choice % len(kit.hedges)]
    fence = kit.fences[lot.choice % len(kit.fences)]
    for piece in range(pieces):
        span = (lot.start + piece * length / pieces, lot.start + (piece + 1) * length / pieces)
        if lot.choice % 5 < 2:
            scene.add(span[1] + 2, partial(scene.front, hedge, span, side, FACADE_LINE, 1.6, TREE))
        if lot.choice % 5 > 0:
            u = FACADE_LINE - 0.1
            scene.add(span[1] + 2, partial(scene.front, fence, span, side, u, 1.35, FENCE))
