# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The walls, fronts and roofs of a synthetic street."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .textures import clouds, Colour, noise, pick, plane, TEXEL, Texture, to_pixels

BRICKS: Sequence[Colour] = (
    (138, 124, 100), (112, 82, 68), (188, 188, 182), (160, 150, 128), (114, 102, 86),
    (106, 107, 108), (80, 66, 58), (124, 106, 84), (92, 86, 80), (146, 138, 124),
)  # fmt: skip
FASCIAS: Sequence[Colour] = (
    (84, 28, 30), (24, 50, 42), (30, 36, 66), (24, 24, 26), (140, 130, 104), (60, 44, 34),
    (44, 72, 100), (46, 46, 44), (112, 84, 50), (150, 148, 142),
)  # fmt: skip


def _wall(rng: np.random.RandomState, height: int, width: int) -> NDArray[np.float32]:
    colour = pick(rng, BRICKS)
    image = plane(height, width, colour)
    rendered = min(colour) > 140 or rng.random_sample() < 0.2
    if not rendered:
        bricks = noise(rng, height // 3 + 1, width // 9 + 1).repeat(3, 0).repeat(9, 1)
        image *= (1 + 0.15 * bricks[:height, :width])[..., None]
        image[::3] *= 1.08
    image *= (1 + 0.07 * clouds(rng, height, width, 3) + 0.08 * noise(rng, height, width))[
        ..., None
    ]
    return image


def _window(
    rng: np.random.RandomState,
    image: NDArray[np.float32],
    x: int,
    y: int,
    w: int,
    h: int,
    frame: Colour,
) -> None:
    """Draw a window with its frame, glazing bars, reflection, lintel and sill."""
    dark = 12 + 24 * rng.random_sample()
    light = dark + 80 * rng.random_sample() ** 2
    ramp = np.linspace(light, dark, h, dtype=np.float32)[:, None, None]
    pane = np.ones((h, w, 3), np.float32) * ramp * np.array((0.94, 1.0, 1.06), np.float32)
    if rng.random_sample() < 0.45:  # curtains or a blind
        depth = int(w * (0.12 + 0.2 * rng.random_sample()))
        pane[:, :depth] += 55
        pane[:, w - depth :] += 55
    elif rng.random_sample() < 0.3:
        pane[: int(h * rng.random_sample())] += 70
    pane *= (1 + 0.2 * clouds(rng, h, w, 2, 2))[..., None]
    image[max(0, y - 8) : y, x - 3 : x + w + 3] *= 1.15
    image[y : y + h, x : x + w] = pane
    cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), frame, 3)
    image[y + h // 2 - 1 : y + h // 2 + 1, x : x + w] = frame
    image[y : y + h, x + w // 2 - 1 : x + w // 2 + 1] = frame
    image[y : y + 5, x : x + w] *= 0.6
    image[y + h : y + h + 4, x - 4 : x + w + 4] *= 1.2
    image[y + h + 4 : y + h + 8, x - 4 : x + w + 4] *= 0.7


def _lettering(
    rng: np.random.RandomState,
    image: NDArray[np.float32],
    x: int,
    y: int,
    w: int,
    h: int,
    ink: Colour,
) -> None:
    """Draw strokes that look like writing from a distance."""
    step = max(3, int(h * 0.75))
    for left in range(x, x + w - step, step):
        if rng.random_sample() < 0.15:
            continue
        points = np.stack(
            [left + rng.randint(0, max(1, step - 2), 4), y + rng.randint(0, h, 4)], 1
        )
        cv2.polylines(image, [points.astype(np.int32)], False, ink, max(1, h // 7))


def _shop(rng: np.random.RandomState, image: NDArray[np.float32], top: int) -> None:
    """Draw a shop front from row ``top`` down to the pavement."""
    height, width = image.shape[:2]
    colour = pick(rng, FASCIAS)
    ink = (225.0, 220.0, 200.0) if sum(colour) < 260 else (40.0, 30.0, 30.0)
    image[top:, :] = np.array(colour, np.float32) * 0.9
    fascia = 26
    image[top : top + fascia] = colour
    _lettering(rng, image, width // 6, top + 7, int(width * 0.66), 13, ink)
    image[top + fascia : top + fascia + 4] *= 0.4
    x = 10
    while x < width - 30:
        w = int(min(rng.randint(36, 90), width - 10 - x))
        bottom = height - (4 if w < 44 else 20)
        y = top + fascia + 6
        inside = 26 + 14 * clouds(rng, bottom - y, w, 4, 3)[..., None]
        image[y:bottom, x : x + w] = np.clip(inside, 6, 90) * np.array((1.1, 1.0, 0.9), np.float32)
        for _ in range(rng.randint(2, 7)):  # goods, posters, lamps
            px, py = x + rng.randint(0, max(1, w - 8)), y + rng.randint(0, max(1, bottom - y - 12))
            goods = np.float32(rng.randint(20, 200)) + np.array(
                rng.randint(-30, 31, 3), np.float32
            )
            image[
                py : min(bottom, py + rng.randint(4, 26)), px : min(x + w, px + rng.randint(4, 18))
            ] = goods
        image[y:bottom, x + w // 3 : x + w // 2] += 14
        x += w + 5


def facade(rng: np.random.RandomState, floors: int, bays: int) -> Texture:
    """Draw the front of a building of ``floors`` storeys, ``bays`` windows wide."""
    storey, bay = 112 + rng.randint(0, 16), 84 + rng.randint(0, 36)
    ground_floor = 132
    height, width = ground_floor + storey * (floors - 1) + 22, bay * bays
    image = _wall(rng, height, width)
    frame = pick(rng, ((205, 205, 200), (205, 205, 200), (70, 62, 54), (40, 44, 42)))
    w, h = 38 + rng.randint(0, 16), 58 + rng.randint(0, 12)
    for floor in range(floors - 1):
        y = height - ground_floor - storey * (floor + 1) + 26
        for column in range(bays):
            _window(rng, image, column * bay + (bay - w) // 2, y, w, h, frame)
    if rng.random_sample() < 0.5:
        _shop(rng, image, height - ground_floor + 6)
    else:
        door = rng.randint(bays)
        for column in range(bays):
            x = column * bay + (bay - w) // 2
            if column == door:
                colour = pick(rng, FASCIAS)
                image[height - 88 : height - 2, x : x + 40] = colour
                cv2.rectangle(image, (x - 3, height - 104), (x + 42, height - 1), frame, 3)
                image[height - 101 : height - 90, x : x + 40] = 50
            else:
                _window(rng, image, x, height - 108, w, 64, frame)
        image[height - 24 :] *= 0.82
    image[:7] *= 1.2  # cornice and its shadow
    image[7:14] *= 0.6
    pipe = bay * rng.randint(1, bays) if bays > 1 else 4
    image[14:, pipe - 2 : pipe + 2] *= 0.55
    image[:, :2] *= 0.6
    image[:, -2:] *= 0.6
    fade = np.linspace(1.06, 0.86, height, dtype=np.float32)
    return Texture(to_pixels(image * fade[:, None, None]), (width * TEXEL, height * TEXEL))


def side_wall(rng: np.random.RandomState) -> Texture:
    """Draw the windowless end of a building, 10 m square."""
    image = _wall(rng, 400, 400)
    for _ in range(rng.randint(0, 4)):
        _window(rng, image, rng.randint(20, 330), rng.randint(20, 300), 34, 52, (190, 190, 184))
    return Texture(to_pixels(image * 0.85), (10.0, 10.0))


def roof(rng: np.random.RandomState) -> Texture:
    """Draw a roof of slates or tiles, 10 m by 4 m."""
    colour = pick(rng, ((66, 66, 72), (72, 70, 70), (98, 64, 50), (84, 74, 66)))
    image = plane(160, 400, colour)
    image *= (1 + 0.12 * noise(rng, 32, 50).repeat(5, 0).repeat(8, 1))[..., None]
    image[::5] *= 0.75
    image[:4] *= 1.3
    return Texture(to_pixels(image), (10.0, 4.0))
