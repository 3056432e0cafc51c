# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The sky and the ground of a synthetic street, on which everything else is painted."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from . import textures
from .camera_state import CameraState
from .canvas import Canvas, haze, PAVEMENT, ROAD, SKY, TREE
from .layout import LEFT, RIGHT
from .textures import FACADE_LINE, Pixels, random_state, ROAD_HALF_WIDTH

_FARTHEST = 600.0
"""The distance in metres at which the ground meets the sky."""

_CELL = 0.5
"""Metres of road that share one look-up of the side streets and shadows beside them."""

Map = NDArray[np.float32]
"""A value for each pixel."""


def paint_sky(canvas: Canvas, camera: CameraState) -> None:
    """Paint the sky above the horizon, and label everything below the horizon as road."""
    horizon = int(min(canvas.rows, max(0, canvas.centre[1] + 1)))
    layers = _sky(camera.kit.seed, canvas.width, canvas.rows)
    # The clouds drift, and move as the camera turns; a sine keeps the view inside their image.
    offset = (camera.turn * canvas.focal + 0.8 * camera.time) / (0.45 * canvas.width)
    left = int(canvas.width * (0.5 + 0.45 * math.sin(offset)))
    clear, grey = (layer[canvas.rows - horizon :, left : left + canvas.width] for layer in layers)
    canvas.pixels[:horizon] = cv2.addWeighted(clear, camera.sun, grey, 1 - camera.sun, 0)
    canvas.pixels[:horizon, :, 3] = SKY
    canvas.pixels[horizon:, :, 3] = ROAD


@functools.lru_cache(maxsize=2)
def _sky(seed: int, width: int, rows: int) -> tuple[Pixels, Pixels]:
    """Draw two skies, twice as wide as the frame: one of clear weather, one of grey weather."""
    rng = random_state(seed, 5)
    field = textures.clouds(rng, 180, 640, 5, 5)
    field = cv2.resize(field, (2 * width, rows), interpolation=cv2.INTER_LINEAR)
    high = np.linspace(1, 0, rows, dtype=np.float32)[:, None, None]
    white = np.clip(0.5 + 0.55 * field, 0, 1)[..., None]
    blue = np.array((196, 226, 242), np.float32) - high * np.array((58, 30, 8), np.float32)
    clear = blue + (np.array((238, 245, 246), np.float32) - blue) * white
    grey = np.array((230, 242, 243), np.float32) * (1 - 0.08 * high * (1 - white) - 0.05 * high)
    first, second = (
        np.dstack([np.clip(layer, 0, 255), np.zeros(field.shape)]).astype(np.uint8)
        for layer in (clear, grey)
    )
    return first, second


def paint_ground(canvas: Canvas, camera: CameraState) -> None:
    """Paint everything below the horizon: road, pavements, side streets, shadows of buildings."""
    first = int(min(canvas.rows, max(0, canvas.centre[1] + 1)))
    depth = canvas.focal * canvas.height / (np.arange(first, canvas.rows) - canvas.centre[1])
    depth = np.minimum(depth, _FARTHEST)
    middle = np.array([camera.x(camera.s + z, 0) for z in depth.tolist()])
    columns = np.arange(canvas.width) - canvas.centre[0]
    u = ((depth / canvas.focal)[:, None] * columns - middle[:, None]).astype(np.float32)

    distance = np.abs(u)
    labels = np.where(distance <= ROAD_HALF_WIDTH, ROAD, PAVEMENT).astype(np.uint8)
    labels[distance > FACADE_LINE] = TREE
    across = np.clip(u, -9.9, 9.9)
    shadow = np.zeros(u.shape, bool)
    cell = (depth / _CELL).astype(int)
    for side in (LEFT, RIGHT):
        street, reach = _beside(camera, side)
        rows = street[cell]
        if rows.any():  # The road's asphalt continues into a side street.
            part = u[rows]
            beyond = part * side > ROAD_HALF_WIDTH
            labels[rows] = np.where(beyond, ROAD, labels[rows])
            across[rows] = np.where(beyond, side * (0.5 + np.abs(part) % 1.8), across[rows])
        if side == camera.kit.sun_side:
            # The sun is a little ahead of the camera, so that shadows lean towards it.
            source = depth[:, None].astype(np.float32) + 0.6 * (FACADE_LINE - side * u)
            index = np.clip(source / _CELL, 0, len(reach) - 1).astype(int)
            shadow = side * u > FACADE_LINE - reach[index]
    ground = canvas.pixels[first:]
    _lay(canvas, camera, ground, depth, across, u)
    if camera.sun > 0.15:
        dark = cv2.convertScaleAbs(ground, alpha=1 - 0.36 * camera.sun)
        lit = cv2.convertScaleAbs(ground, alpha=1 + 0.22 * camera.sun)
        ground[:] = np.where(shadow[..., None], dark, lit)
    ground[..., 3] = labels


def _beside(camera: CameraState, side: int) -> tuple[NDArray[np.bool_], Map]:
    """
    Look up one side of the road, cell by cell ahead of the camera.

    :returns: whether there is a side street, and the length of the building's shadow in metres.
    """
    count = int(_FARTHEST / _CELL) + 1
    street, reach = np.zeros(count, bool), np.zeros(count, np.float32)
    end = int(200 / _CELL)  # Beyond 200 m neither can be seen.
    lot = camera.kit.lot(side, camera.s)
    for index in range(end):
        s = camera.s + index * _CELL
        if s >= lot.end:
            lot = camera.kit.lot(side, s)
        street[index] = lot.kind == 'street'
        reach[index] = 0.8 * lot.height if lot.kind == 'building' else 0.0
    return street, reach


def _lay(
    canvas: Canvas,
    camera: CameraState,
    ground: Pixels,
    depth: NDArray[np.float64],
    across: Map,
    u: Map,
) -> None:
    """Texture the rows of the ground, each from the reduced copy that suits its distance."""
    texture = camera.kit.ground
    footprint = depth * depth / (canvas.focal * canvas.height)
    wanted = np.clip(np.log2(np.maximum(footprint / textures.TEXEL, 1)), 0, 6).astype(int)
    row = 0
    while row < len(depth):
        end = row + int(np.argmax(np.append(wanted[row:] != wanted[row], True)))
        sideways = depth[row] / canvas.focal / textures.TEXEL
        source = texture.level(min(4, int(math.log2(max(1.0, sideways)))), int(wanted[row]))
        along = (camera.s + depth[row:end]) % textures.GROUND_PERIOD / textures.GROUND_PERIOD
        y = np.repeat((along * source.shape[0] - 0.5).astype(np.float32)[:, None], canvas.width, 1)
        x = ((across[row:end] + 10) * (source.shape[1] / 20) - 0.5).astype(np.float32)
        part = cv2.remap(source, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        keep, add = haze(float(depth[row]))
        ground[row:end] = cv2.convertScaleAbs(part, alpha=keep, beta=add)
        row = end
    near = int(np.argmax(np.append(depth < 14, True)))
    if near < len(depth):  # Stones in the asphalt are visible in near rows only.
        period = textures.GRAIN_TEXEL * camera.kit.grain.shape[0]
        y = ((camera.s + depth[near:]) % period / textures.GRAIN_TEXEL).astype(np.float32)
        x = (u[near:] % period / textures.GRAIN_TEXEL).astype(np.float32)
        y = np.repeat(y[:, None], canvas.width, 1)
        grain = cv2.remap(camera.kit.grain, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        stones = cv2.merge([grain] * 4).astype(np.int16) - 128
        ground[near:] = cv2.add(ground[near:], stones, dtype=cv2.CV_8U)
