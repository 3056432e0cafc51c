# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One frame of a synthetic street, painted from far to near."""

from __future__ import annotations

import math

from .backdrop import paint_ground, paint_sky
from .camera_state import CameraState
from .canvas import Canvas, TREE
from .frontage import add_frontage
from .kerbside import add_kerbside
from .layout import BLOCK, LEFT, RIGHT
from .road_users import add_traffic, add_walkers
from .scene import Scene, VIEW
from .textures import Pixels

CAMERA_HEIGHT = 1.35
"""The camera's height above the ground in metres."""


def draw(camera: CameraState, size: tuple[int, int], focal: float) -> Pixels:
    """
    Draw the street as the camera sees it.

    :param size: width and height of the frame in pixels.
    :param focal: focal length in pixels.
    :returns: RGB and train id of each pixel, uint8 (H, W, 4).
    """
    centre = ((size[0] - 1) / 2, (size[1] - 1) / 2 + focal * camera.pitch)
    canvas = Canvas(size, focal, centre, CAMERA_HEIGHT)
    paint_sky(canvas, camera)
    paint_ground(canvas, camera)
    middle = camera.x(camera.s + VIEW, 0)
    for index in range(-6, 6):  # A wood closes the view at the end of the street.
        corner = (middle + 12 * index, 7.5, VIEW)
        canvas.paste(camera.kit.woods[0], corner, (12, 0, 0), (0, -7.5, 0), TREE, 0.9)
    scene = Scene(camera, canvas)
    first, last = math.floor(camera.s / BLOCK), math.floor((camera.s + VIEW) / BLOCK)
    for side in (LEFT, RIGHT):
        for block in range(first, last + 1):
            add_frontage(scene, side, block)
            add_kerbside(scene, side, block)
        add_walkers(scene, side)
    add_traffic(scene)
    scene.draw()
    return canvas.pixels
