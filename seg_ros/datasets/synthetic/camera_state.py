# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The camera's position and direction on a synthetic street, and the light, at one time."""

from __future__ import annotations

import math

import numpy as np

from .layout import Kit
from .textures import Pixels

SPEED = 8.0
"""The camera's mean speed in metres per second."""


class CameraState:
    """
    The state of camera and light at one time of a drive.

    :param kit: the street.
    :param time: seconds since the start of the drive.
    :ivar s: position along the road in metres.
    :ivar u: position right of the road's middle in metres.
    :ivar turn: heading as a slope: metres to the right per metre along the road.
    :ivar bob: vertical shake, -2 to 2.
    :ivar pitch: how far the vanishing point is below the image's centre, in focal lengths.
    :ivar sun: share of sunlight, 0 to 1.
    :ivar gain: exposure, a factor on brightness.
    :ivar warmth: colour cast, which is added to red's gain and subtracted from blue's.
    """

    def __init__(self, kit: Kit, time: float) -> None:
        self.kit, self.time = kit, time
        p = kit.phases
        self.s = SPEED * time + 9 * math.sin(time * 0.21 + p[7])
        self.u = -1.5 + 0.2 * math.sin(time * 0.31 + p[0])
        self.turn = kit.heading(self.s) + 0.012 * math.sin(time * 0.47 + p[1])
        self.bob = math.sin(time * 9.1 + p[2]) + math.sin(time * 5.3 + p[3])
        self.pitch = 0.012 + 0.0018 * self.bob
        self.sun = min(1.0, max(0.0, 0.45 + 0.75 * math.sin(time * 0.19 + p[4])))
        self.gain = 1.09 + 0.24 * math.sin(time * 0.29 + p[5]) - 0.05 * self.sun
        self.warmth = 0.03 * math.sin(time * 0.13 + p[6]) + 0.03 * self.sun - 0.03

    def x(self, s: float, u: float) -> float:
        """Return the x, as seen by the camera, of a point of the road's coordinates s and u."""
        bend = self.kit.bend
        return u - self.u + bend(s) - bend(self.s) - self.turn * (s - self.s)

    def slope(self, s: float) -> float:
        """Return how far the road at ``s`` leads to the camera's right, per metre ahead."""
        return self.kit.heading(s) - self.turn

    def sunlit(self, side: int) -> float:
        """Return the brightness, as a factor, of the buildings on one side of the road."""
        return 1.0 + 0.2 * self.sun if side != self.kit.sun_side else 1.0 - 0.28 * self.sun

    def exposure(self) -> Pixels:
        """Return the table that turns the scene's colours into the image's, (1, 256, 3)."""
        scene = np.arange(256) / 255
        columns = []
        for tint in (1 + self.warmth, 1.0, 1 - self.warmth):
            level = scene * self.gain * tint
            level = level + 0.3 * (level - 0.36) * (1 - np.abs(2 * level - 1))  # contrast
            columns.append(np.clip(255 * level, 0, 255))
        return np.stack(columns, 1)[None].astype(np.uint8)
