# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The moving road users of a synthetic street: pedestrians, cyclists and cars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
import math

from .canvas import BICYCLIST, PEDESTRIAN
from .layout import TRAFFIC, WALKERS
from .people import STEPS
from .scene import choose, Scene, VIEW
from .textures import dice, ROAD_HALF_WIDTH, Texture


def add_walkers(scene: Scene, side: int) -> None:
    """Add the pedestrians on one pavement: one row walks ahead, one comes towards the camera."""
    for direction, spacing, edge in ((1, 19.0, 0.9), (-1, 23.0, 2.1)):

        def add(roll: Iterator[float], s: float, edge: float = edge) -> None:
            pace = next(roll)
            for mate in range(1 + (next(roll) < 0.3)):  # Some pedestrians walk in pairs.
                u = side * (ROAD_HALF_WIDTH + edge + 0.5 * next(roll) + 0.6 * mate)
                walk = choose(scene.kit.people, roll)
                behind = s - 0.2 * mate
                if scene.sees(behind, 1.5):
                    strides = scene.camera.time * (0.8 + 0.2 * pace) + pace
                    drawing = walk[int(STEPS * strides) % STEPS]
                    scene.add(behind + 0.3 * abs(u), partial(_person, scene, drawing, behind, u))

        row = 2 * side + direction
        _stream(scene, 1.25 * direction, spacing, (WALKERS, row), add)


def add_traffic(scene: Scene) -> None:
    """Add the moving cars and cyclists: a car ahead, oncoming cars, and cyclists both ways."""
    kit, time = scene.kit, scene.camera.time
    gap = 19 + 7 * math.sin(time * 0.23 + 1.0) + 3 * math.sin(time * 0.57)
    leader = choose(kit.cars, iter(dice(kit.seed, TRAFFIC)))
    scene.add_car(leader, scene.camera.s + gap, -1.6 + 0.1 * math.sin(time * 0.7), 1)

    def add_oncoming(roll: Iterator[float], s: float) -> None:
        scene.add_car(choose(kit.cars, roll), s, 1.5 + 0.3 * next(roll), -1)

    _stream(scene, -9.0, 34.0, (TRAFFIC, 1), add_oncoming)
    _stream(scene, 4.6, 52.0, (TRAFFIC, 2), partial(_add_cyclist, scene, -2.75, 0))
    _stream(scene, -4.6, 110.0, (TRAFFIC, 3), partial(_add_cyclist, scene, 2.75, 1))


def _stream(
    scene: Scene,
    speed: float,
    spacing: float,
    keys: tuple[int, int],
    add: Callable[[Iterator[float], float], None],
) -> None:
    """
    Add the visible part of an endless row of road users that move together.

    :param speed: speed along the road in metres per second.
    :param spacing: mean distance between two of them in metres.
    :param keys: the part of the random seed that tells this row from the others.
    :param add: adds one of them, given its random numbers and its position along the road.
    """
    drift = speed * scene.camera.time
    first = math.floor((scene.camera.s - drift) / spacing) - 1
    for index in range(first, first + int(VIEW / spacing) + 3):
        roll = iter(dice(scene.kit.seed, *keys, index))
        add(roll, (index + 0.6 * next(roll)) * spacing + drift)


def _person(scene: Scene, drawing: Texture, s: float, u: float) -> None:
    x, _, z = scene.place(s, u)
    scene.canvas.shadow(x, z, (0.35, 0.2), 0.7)
    scene.canvas.stand(drawing, (x, 0.0, z), PEDESTRIAN)


def _add_cyclist(scene: Scene, u: float, towards: int, roll: Iterator[float], s: float) -> None:
    rider, cycle = choose(scene.kit.cyclists[towards], roll), choose(scene.kit.bicycles, roll)
    u += 0.3 * next(roll)
    if scene.sees(s, 1.2):
        scene.add(s + 0.3 * abs(u), partial(_cyclist, scene, rider, cycle, s, u))


def _cyclist(scene: Scene, rider: list[Texture], cycle: Texture, s: float, u: float) -> None:
    """Draw the bicycle along the road, and its rider from the front or from behind."""
    x, _, z = scene.place(s, u)
    scene.canvas.shadow(x, z, (0.25, 0.8), 0.6)
    slope, (length, height) = scene.camera.slope(s), cycle.size
    corner = (x - length / 2 * slope, height, z - length / 2)
    if corner[2] > 0.5:
        across = (length * slope, 0, length)
        scene.canvas.paste(cycle, corner, across, (0, -height, 0), BICYCLIST)
    turn = int(STEPS * 1.2 * scene.camera.time) % STEPS
    scene.canvas.stand(rider[turn], (x, 0.0, z), BICYCLIST)
