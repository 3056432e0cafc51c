# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The layout of a synthetic street, a function of the seed and of the place alone."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from . import buildings, cars, ground, people, plants, signs, textures
from .textures import dice, random_state

BLOCK = 48.0
"""Length in metres of the blocks in which the street is laid out."""

LEFT, RIGHT = -1, 1
"""The sides of the road, which are the signs of u."""

FRONTAGE, KERBSIDE, TRAFFIC, WALKERS, FRAME = range(5)
"""The purposes of random generators, as part of their seeds."""


class Lot(NamedTuple):
    """
    A stretch of one side of the street.

    :param start: its first metre along the road.
    :param end: its last metre along the road.
    :param kind: ``building``, ``green`` (a garden) or ``street`` (a side street).
    :param choice: a random number that chooses its textures.
    :param height: the building's height in metres.
    """

    start: float
    end: float
    kind: str
    choice: int
    height: float


class Kit:
    """All textures and solids of a seed's street, and the street's layout."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = random_state(seed, 77)
        self.ground = ground.ground(rng)
        self.grain = np.clip(128 + 9 * textures.noise(rng, 512, 512), 0, 255).astype(np.uint8)
        self.facades = [
            buildings.facade(rng, (3, 2, 3, 4, 3, 3, 4)[index % 7], rng.randint(2, 6))
            for index in range(18)
        ]
        self.walls = [buildings.side_wall(rng) for _ in range(5)]
        self.roofs = [buildings.roof(rng) for _ in range(4)]
        self.trees = [plants.bare_tree(rng) for _ in range(5)] + [
            plants.leafy_tree(rng) for _ in range(4)
        ]
        self.hedges = [plants.hedge(rng, 1.7) for _ in range(3)]
        self.woods = [plants.hedge(rng, 7.0) for _ in range(3)]
        self.fences = [
            ground.fence(rng, kind) for kind in ('railings', 'railings', 'boards', 'railings')
        ]
        self.people = [people.person(rng) for _ in range(10)]
        self.cyclists = [
            [people.cyclist(rng, towards=towards) for _ in range(3)] for towards in (False, True)
        ]
        self.bicycles = [people.bicycle(rng) for _ in range(3)]
        self.signs = [signs.road_sign(rng, index % 6) for index in range(12)]
        self.boards = [sign for sign in self.signs if sign.size[0] > 1]
        self.lights = [signs.traffic_light(state) for state in range(3)]
        self.cars = [cars.car(rng, index) for index in range(22)]
        self.bends = [
            (
                5.0 + 3 * rng.random_sample(),
                58.0 + 20 * rng.random_sample(),
                7 * rng.random_sample(),
            ),
            (1.6, 27.0, 7 * rng.random_sample()),
        ]
        self.phases = [2 * math.pi * rng.random_sample() for _ in range(8)]
        self.sun_side = LEFT if rng.random_sample() < 0.5 else RIGHT
        self._lots: dict[tuple[int, int], list[Lot]] = {}

    def bend(self, s: float) -> float:
        """Return how many metres right of straight ahead the road's middle is at ``s`` metres."""
        return sum(size * math.sin(s / scale + phase) for size, scale, phase in self.bends)

    def heading(self, s: float) -> float:
        """Return the slope of :meth:`bend` at ``s`` metres."""
        return sum(size / scale * math.cos(s / scale + phase) for size, scale, phase in self.bends)

    def lots(self, side: int, block: int) -> list[Lot]:
        """Return the lots of one block on one side of the street, in order."""
        if (side, block) not in self._lots:
            roll = iter(dice(self.seed, FRONTAGE, side, block))
            lots: list[Lot] = []
            start, end = block * BLOCK, (block + 1) * BLOCK
            green = 0.1 if next(roll) < 0.7 else 0.55
            while start < end:
                chance, choice = next(roll), int((1 << 16) * next(roll))
                front = self.facades[choice % len(self.facades)]
                kind, width = 'building', front.size[0]
                if chance < green:
                    kind, width = 'green', 8 + 10 * next(roll)
                elif chance < green + 0.07:
                    kind, width = 'street', 8.0
                stop = end if end - start - width < 5 else start + width
                lots.append(
                    Lot(start, stop, kind, choice, front.size[1] * (0.92 + 0.2 * next(roll)))
                )
                start = stop
            if len(self._lots) > 200:  # A long drive must not keep all the lots behind it.
                self._lots.clear()
            self._lots[side, block] = lots
        return self._lots[side, block]

    def lot(self, side: int, s: float) -> Lot:
        """Return the lot beside the road at ``s`` metres."""
        lots = self.lots(side, math.floor(s / BLOCK))
        return next((lot for lot in lots if s < lot.end), lots[-1])


@functools.lru_cache(maxsize=2)
def kit_of(seed: int) -> Kit:
    """Return the kit of a seed, which is made only once."""
    return Kit(seed)
