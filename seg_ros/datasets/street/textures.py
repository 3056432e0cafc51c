# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a synthetic street is made of: ground, facades, trees, people, signs, as textures.

Every texture is drawn from a seeded `RandomState`, whose stream NumPy froze, so that a seed gives the
same street under every NumPy. Colours are RGB and follow what a dash camera sees under a bright sky:
asphalt and brick near 80, a sky near white.
"""

from __future__ import annotations

from collections.abc import Sequence
import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

TEXEL = 0.025  # metres per texture pixel of ground and facades
GRAIN_TEXEL = 0.006  # metres per pixel of the asphalt's stones
ROAD_HALF_WIDTH = 4.5  # metres from the middle of the road to the kerb
FACADE_LINE = 8.6  # metres from the middle of the road to the fronts of the buildings
GROUND_PERIOD = 96.0  # metres of road after which its texture repeats

Colour = tuple[float, float, float]
Pixels = NDArray[np.uint8]

BRICKS: Sequence[Colour] = (
    (138, 124, 100), (112, 82, 68), (188, 188, 182), (160, 150, 128), (114, 102, 86),
    (106, 107, 108), (80, 66, 58), (124, 106, 84), (92, 86, 80), (146, 138, 124),
)  # fmt: skip
FASCIAS: Sequence[Colour] = (
    (84, 28, 30), (24, 50, 42), (30, 36, 66), (24, 24, 26), (140, 130, 104), (60, 44, 34),
    (44, 72, 100), (46, 46, 44), (112, 84, 50), (150, 148, 142),
)  # fmt: skip
COATS: Sequence[Colour] = (
    (28, 28, 32), (40, 36, 34), (26, 32, 52), (54, 42, 32), (62, 60, 60), (72, 24, 26),
    (34, 48, 40), (98, 92, 84),
)  # fmt: skip


class Texture:
    """
    An image to paste on a flat piece of the world, with reduced copies for when it is far.

    :param pixels: uint8 HxWx4, RGB and coverage: 0 is outside the object, 128 belongs to it but lets
        the background show (between branches or railings), 255 is opaque
    :param size: width and height in metres
    """

    def __init__(self, pixels: Pixels, size: tuple[float, float], *, kind: str = 'solid') -> None:
        self.size = size
        self.kind = kind  # solid: a full rectangle; cutout: with an outline; lace: also see-through
        self._levels: dict[tuple[int, int], Pixels] = {(0, 0): np.ascontiguousarray(pixels)}

    def level(self, x: int, y: int) -> Pixels:
        """Give the texture reduced `x` times to half its width and `y` times to half its height."""
        if (x, y) not in self._levels:
            full = self._levels[0, 0]
            shape = (max(1, full.shape[1] >> x), max(1, full.shape[0] >> y))
            self._levels[x, y] = cv2.resize(full, shape, interpolation=cv2.INTER_AREA)
        return self._levels[x, y]


@functools.lru_cache(maxsize=4096)
def dice(*keys: int) -> tuple[float, ...]:
    """Draw the 80 numbers from 0 to 1 that belong to these keys, and remember them."""
    return tuple(random_state(*keys).random_sample(80).tolist())


def random_state(*keys: int) -> np.random.RandomState:
    """Make the generator that belongs to these keys, whatever was drawn before."""
    return np.random.RandomState([key & 0xFFFFFFFF for key in keys])


def noise(rng: np.random.RandomState, height: int, width: int) -> NDArray[np.float32]:
    """Draw independent values of mean 0 and standard deviation 1, quickly."""
    raw = np.frombuffer(rng.bytes(2 * height * width), np.uint8).astype(np.float32)
    return (raw[::2] + raw[1::2]).reshape(height, width) * (1 / 104.5) - 2.44


def clouds(
    rng: np.random.RandomState, height: int, width: int, cells: float, octaves: int = 4
) -> NDArray[np.float32]:
    """Sum smooth noise of `cells` cells across the width and of finer ones; about -2 to 2."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = max(2, min(width, int(cells * 2**octave)))
        rows = max(2, min(height, int(cells * 2**octave * height / width)))
        layer = cv2.resize(noise(rng, rows, columns), (width, height), interpolation=cv2.INTER_CUBIC)
        total += layer * 0.6**octave
    return total


def pick(rng: np.random.RandomState, choices: Sequence[Colour], spread: float = 0.12) -> Colour:
    """Choose a colour and make it a little lighter or darker."""
    r, g, b = choices[rng.randint(len(choices))]
    scale = 1 + spread * (2 * rng.random_sample() - 1)
    return (r * scale, g * scale, b * scale)


def _to_pixels(colours: NDArray[np.float32], coverage: Pixels | None = None) -> Pixels:
    pixels = np.full((*colours.shape[:2], 4), 255, np.uint8)
    pixels[..., :3] = np.clip(colours, 0, 255)
    if coverage is not None:
        pixels[..., 3] = coverage
    return pixels


def _plane(height: int, width: int, colour: Colour) -> NDArray[np.float32]:
    return np.tile(np.array(colour, np.float32), (height, width, 1))


def ground(rng: np.random.RandomState) -> Texture:
    """Draw one period of the ground: rows run along the road, columns from -10 to 10 m across."""
    height, width = round(GROUND_PERIOD / TEXEL), round(20 / TEXEL)
    across = (np.arange(width, dtype=np.float32) + 0.5) * TEXEL - 10
    image = _plane(height, width, (74, 77, 81))
    relief = clouds(rng, height, width, 3, 5)
    wheel = np.exp(-((np.abs(np.abs(across) - 1.9) - 0.75) ** 2) / 0.08).astype(np.float32)
    image *= (1 + 0.05 * relief - 0.07 * wheel)[..., None]
    for _ in range(26):  # repairs and manholes
        x, y = rng.randint(150, width - 150), rng.randint(0, height - 200)
        w, h = rng.randint(16, 70), rng.randint(20, 190)
        image[y : y + h, x : x + w] *= 0.82 + 0.26 * rng.random_sample()
    for _ in range(10):
        centre = (int(rng.randint(240, width - 240)), int(rng.randint(60, height - 60)))
        cv2.circle(image, centre, 12, (62, 62, 62), -1)
        cv2.circle(image, centre, 12, (98, 98, 98), 1)
    for _ in range(14):  # cracks filled with tar
        x, y = rng.randint(230, width - 230), rng.randint(0, height - 300)
        steps = np.cumsum(rng.randint(-3, 4, 40))
        line = np.stack([x + steps, y + 7 * np.arange(40)], 1).astype(np.int32)
        cv2.polylines(image, [line], False, (58, 58, 60), 1)
    worn = 0.82 + 0.09 * relief

    def mark(y: float, length: float, x: float, thickness: float, colour: Colour) -> None:
        """Paint a rectangle: `y` metres along the road, `x` across, to its middle."""
        rows = slice(round(y / TEXEL), round((y + length) / TEXEL))
        columns = slice(round((x - thickness / 2 + 10) / TEXEL), round((x + thickness / 2 + 10) / TEXEL))
        part = image[rows, columns]
        paint = np.array(colour, np.float32) * worn[rows, columns, None]
        part += (paint - part) * 0.9

    for start in np.arange(0, GROUND_PERIOD, 6.0):
        mark(float(start), 2.6, 0.0, 0.13, (214, 214, 208))
    for side in (-1, 1):
        for x in (ROAD_HALF_WIDTH - 0.28, ROAD_HALF_WIDTH - 0.5):
            mark(0 if side < 0 else 40, 56, side * x, 0.09, (176, 158, 88))
        mark(60, 20, side * (ROAD_HALF_WIDTH - 1.95), 0.1, (205, 205, 200))
    for x in np.arange(-4.1, 4.2, 1.1):  # a pedestrian crossing
        mark(84, 2.8, float(x), 0.55, (218, 218, 212))
    mark(80.5, 0.3, -ROAD_HALF_WIDTH / 2, ROAD_HALF_WIDTH - 0.3, (214, 214, 208))

    slabs = _plane(height, width, (76, 77, 78)) * (1 + 0.06 * relief)[..., None]
    tint = noise(rng, height // 24 + 1, width // 24 + 1).repeat(24, 0).repeat(24, 1)
    slabs *= (1 + 0.05 * tint[:height, :width])[..., None]
    slabs[::24] *= 0.72
    slabs[:, ::24] *= 0.72
    grass = _plane(height, width, (74, 82, 52)) * (1 + 0.2 * noise(rng, height, width))[..., None]
    image = np.where((np.abs(across) > ROAD_HALF_WIDTH)[:, None], slabs, image)
    image = np.where((np.abs(across) > FACADE_LINE)[:, None], grass, image)
    kerb = (np.abs(across) > ROAD_HALF_WIDTH) & (np.abs(across) < ROAD_HALF_WIDTH + 0.17)
    image[:, kerb] = 104 * (1 + 0.08 * relief[:, kerb, None])
    image[::36, kerb] *= 0.7
    gutter = (np.abs(across) > ROAD_HALF_WIDTH - 0.1) & (np.abs(across) <= ROAD_HALF_WIDTH)
    image[:, gutter] *= 0.62
    image *= (1 + 0.05 * noise(rng, height, width))[..., None]
    return Texture(_to_pixels(image), (20.0, GROUND_PERIOD))


def _wall(rng: np.random.RandomState, height: int, width: int) -> NDArray[np.float32]:
    colour = pick(rng, BRICKS)
    image = _plane(height, width, colour)
    rendered = min(colour) > 140 or rng.random_sample() < 0.2
    if not rendered:
        bricks = noise(rng, height // 3 + 1, width // 9 + 1).repeat(3, 0).repeat(9, 1)
        image *= (1 + 0.15 * bricks[:height, :width])[..., None]
        image[::3] *= 1.08
    image *= (1 + 0.07 * clouds(rng, height, width, 3) + 0.08 * noise(rng, height, width))[..., None]
    return image


def _window(
    rng: np.random.RandomState, image: NDArray[np.float32], x: int, y: int, w: int, h: int, frame: Colour
) -> None:
    """Draw one window with frame, glazing bars, a reflection, a lintel and a sill."""
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
    rng: np.random.RandomState, image: NDArray[np.float32], x: int, y: int, w: int, h: int, ink: Colour
) -> None:
    """Draw strokes that read as writing from a distance."""
    step = max(3, int(h * 0.75))
    for left in range(x, x + w - step, step):
        if rng.random_sample() < 0.15:
            continue
        points = np.stack([left + rng.randint(0, max(1, step - 2), 4), y + rng.randint(0, h, 4)], 1)
        cv2.polylines(image, [points.astype(np.int32)], False, ink, max(1, h // 7))


def _shop(rng: np.random.RandomState, image: NDArray[np.float32], top: int) -> None:
    """Draw a shop front from row `top` to the pavement."""
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
            goods = np.float32(rng.randint(20, 200)) + np.array(rng.randint(-30, 31, 3), np.float32)
            image[py : min(bottom, py + rng.randint(4, 26)), px : min(x + w, px + rng.randint(4, 18))] = goods
        image[y:bottom, x + w // 3 : x + w // 2] += 14
        x += w + 5


def facade(rng: np.random.RandomState, floors: int, bays: int) -> Texture:
    """Draw the front of a building, `floors` high and `bays` windows wide."""
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
    return Texture(_to_pixels(image * fade[:, None, None]), (width * TEXEL, height * TEXEL))


def side_wall(rng: np.random.RandomState) -> Texture:
    """Draw the windowless end of a building, 10 m square."""
    image = _wall(rng, 400, 400)
    for _ in range(rng.randint(0, 4)):
        _window(rng, image, rng.randint(20, 330), rng.randint(20, 300), 34, 52, (190, 190, 184))
    return Texture(_to_pixels(image * 0.85), (10.0, 10.0))


def roof(rng: np.random.RandomState) -> Texture:
    """Draw slates or tiles, 10 m by 4 m."""
    colour = pick(rng, ((66, 66, 72), (72, 70, 70), (98, 64, 50), (84, 74, 66)))
    image = _plane(160, 400, colour)
    image *= (1 + 0.12 * noise(rng, 32, 50).repeat(5, 0).repeat(8, 1))[..., None]
    image[::5] *= 0.75
    image[:4] *= 1.3
    return Texture(_to_pixels(image), (10.0, 4.0))


def bare_tree(rng: np.random.RandomState) -> Texture:
    """Draw a tree in winter: the sky shows between its twigs, as it does in most of CamVid's."""
    height, width = 400, 320
    wood = np.zeros((height, width), np.uint8)
    twigs = [(160.0, 399.0, -math.pi / 2, 84.0, 9.0, 0)]
    while twigs:
        x, y, angle, length, thickness, depth = twigs.pop()
        x2, y2 = x + length * math.cos(angle), y + length * math.sin(angle)
        cv2.line(wood, (int(x), int(y)), (int(x2), int(y2)), 255, max(1, int(thickness)))
        if depth < 8:
            for _ in range(3 if depth in (1, 2, 4) else 2):
                bend = (rng.random_sample() - 0.5) * 1.5
                reach = length * (0.66 + 0.22 * rng.random_sample())
                twigs.append((x2, y2, angle + bend, reach, thickness * 0.6, depth + 1))
    outline = cv2.morphologyEx(
        cv2.copyMakeBorder(wood, 30, 30, 30, 30, cv2.BORDER_CONSTANT), cv2.MORPH_CLOSE,
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (27, 27)),
    )[30:-30, 30:-30]  # fmt: skip
    speckle = noise(rng, height, width)
    fine = (outline > 0) & (speckle > 0.75) & (np.arange(height) < 290)[:, None]
    coverage = np.where(wood > 0, 255, np.where(fine, 225, np.where(outline > 0, 128, 0)))
    colour = pick(rng, ((62, 58, 52), (74, 68, 60), (58, 60, 46)))
    image = _plane(height, width, colour) * (1 + 0.3 * speckle)[..., None]
    return Texture(_to_pixels(image, coverage.astype(np.uint8)), (8.0, 10.0), kind='lace')


def _leaves(
    rng: np.random.RandomState, coverage: Pixels, colour: Colour, gaps: float
) -> tuple[NDArray[np.float32], Pixels]:
    """Fill an outline with foliage: clumps lit from above, leaves, and gaps where it is thin."""
    height, width = coverage.shape
    clumps = clouds(rng, height, width, width / 34, 3)
    lit = clumps - np.roll(clumps, -9, 0)
    speckle = cv2.GaussianBlur(noise(rng, height, width), (0, 0), 0.9)
    shade = 0.95 + 0.4 * lit + 0.16 * clumps + 1.3 * speckle
    image = _plane(height, width, colour) * np.clip(shade, 0.15, 2.6)[..., None]
    thin = (clumps + 1.6 * speckle < -gaps) & (coverage > 0)
    return image, np.where(thin, 128, coverage).astype(np.uint8)


def leafy_tree(rng: np.random.RandomState) -> Texture:
    """Draw a tree or tall shrub with leaves."""
    height, width = 400, 320
    coverage = np.zeros((height, width), np.uint8)
    cv2.rectangle(coverage, (154, 230), (166, 399), 255, -1)
    slim = 0.55 + 0.45 * rng.random_sample()
    for _ in range(60):
        angle, reach = rng.random_sample() * 2 * math.pi, math.sqrt(rng.random_sample())
        centre = (int(160 + 112 * slim * reach * math.cos(angle)), int(160 + 116 * reach * math.sin(angle)))
        cv2.circle(coverage, centre, int(rng.randint(18, 44)), 255, -1)
    ragged = clouds(rng, height, width, 22, 3)
    edge = cv2.GaussianBlur(coverage, (0, 0), 5).astype(np.float32) / 255 + 0.16 * ragged > 0.5
    coverage = np.where(edge, 255, 0).astype(np.uint8)
    cv2.rectangle(coverage, (154, 270), (166, 399), 255, -1)
    colour = pick(rng, ((70, 78, 54), (58, 68, 48), (82, 80, 60), (84, 90, 66)))
    image, coverage = _leaves(rng, coverage, colour, 1.5)
    image[290:, 150:170] = np.array((64, 56, 48), np.float32) * (1 + 0.2 * noise(rng, 110, 20))[..., None]
    return Texture(_to_pixels(image, coverage), (8.0, 10.0), kind='lace')


def hedge(rng: np.random.RandomState, height_m: float) -> Texture:
    """Draw 12 m of hedge or of the edge of a wood."""
    height, width = round(height_m / 0.03), 400
    top = height * 0.1 * (1 + clouds(rng, 8, width, 6)[4])
    coverage = np.where(np.arange(height)[:, None] > top[None], 255, 0).astype(np.uint8)
    image, coverage = _leaves(rng, coverage, pick(rng, ((56, 66, 40), (70, 74, 52), (78, 76, 58))), 2.2)
    return Texture(_to_pixels(image, coverage), (12.0, height_m), kind='lace')


def fence(rng: np.random.RandomState, kind: str) -> Texture:
    """Draw 6 m of railings or of boarded fence."""
    height, width = 60, 300
    coverage = np.full((height, width), 128, np.uint8)
    if kind == 'railings':
        image = _plane(height, width, pick(rng, ((34, 36, 36), (44, 52, 46), (96, 98, 98))))
        coverage[:, ::6] = coverage[:, 1::6] = 255
        coverage[4:8] = coverage[50:54] = 255
        coverage[:, ::100] = coverage[:, 1::100] = coverage[:, 2::100] = 255
    else:
        image = _plane(height, width, pick(rng, ((92, 76, 58), (74, 64, 52), (58, 56, 50))))
        image *= (1 + 0.12 * noise(rng, 1, 50).repeat(6, 1))[..., None]
        image[:, ::6] *= 0.5
        coverage[:] = 255
    image *= (1 + 0.1 * noise(rng, height, width))[..., None]
    return Texture(_to_pixels(image, coverage), (6.0, 1.2), kind='lace')
