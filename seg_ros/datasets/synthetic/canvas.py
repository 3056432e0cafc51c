# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A pin-hole camera's view of flat pieces of the world, painted from far to near.

The label is the canvas's fourth channel, so that a piece fills exactly the same pixels of the
image and of the labels. Points are in metres: x right, y up from the ground, z ahead of the
camera.
"""

from __future__ import annotations

from collections.abc import Sequence
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from .cars import Solid
from .textures import Colour, Pixels, Texture

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
"""The labels, which are CamVid's train ids."""

NEAR = 0.3
"""The distance in metres of the near plane; whatever is nearer is cut off."""

_SHIFT = 4
"""The number of fractional bits in the pixel coordinates that OpenCV draws with."""

HAZE = (205.0, 500.0)
"""The grey level of distant air, and the distance in metres at which it would hide everything."""

Points = NDArray[np.float64]
Span = tuple[float, float]
"""A first and a last coordinate."""


class Canvas:
    """
    A frame that is painted piece by piece.

    :param size: width and height in pixels.
    :param focal: focal length in pixels.
    :param centre: column and row of the vanishing point straight ahead.
    :param height: height of the camera above the ground in metres.
    :ivar pixels: uint8 (H, W, 4): RGB and label.
    """

    def __init__(
        self, size: tuple[int, int], focal: float, centre: tuple[float, float], height: float
    ) -> None:
        self.width, self.rows = size
        self.focal, self.centre, self.height = focal, centre, height
        self.pixels: Pixels = np.zeros((size[1], size[0], 4), np.uint8)

    def project(self, points: Points) -> Points:
        """Return the pixels, (N, 2), of points ahead of the camera, (N, 3)."""
        scale = self.focal / points[:, 2]
        x = points[:, 0] * scale + self.centre[0]
        y = (self.height - points[:, 1]) * scale + self.centre[1]
        return np.stack([x, y], 1)

    def outline(self, points: Points) -> NDArray[np.int32] | None:
        """
        Clip a convex polygon at the near plane and project it to the frame.

        :returns: pixels with :data:`_SHIFT` fractional bits, int32 (N, 2); None if it is not in
            view.
        """
        if points[:, 2].min() < NEAR:
            points = _clip_near(points)
            if len(points) < 3:
                return None
        pixels = self.project(points)
        if (
            pixels[:, 0].max() < 0
            or pixels[:, 0].min() > self.width
            or pixels[:, 1].max() < 0
            or pixels[:, 1].min() > self.rows
        ):
            return None
        return self._fixed(pixels)

    @staticmethod
    def _fixed(pixels: Points) -> NDArray[np.int32]:
        return np.rint(np.clip(pixels, -6e4, 6e4) * (1 << _SHIFT)).astype(np.int32)

    def polygon(self, points: Points, colour: Colour, label: int) -> None:
        """Fill a convex polygon, faded by haze according to its distance."""
        outline = self.outline(points)
        if outline is not None:
            keep, add = haze(float(points[0, 2]))
            r, g, b = (min(255.0, channel * keep + add) for channel in colour)
            cv2.fillConvexPoly(self.pixels, outline, (r, g, b, label), cv2.LINE_8, _SHIFT)

    def upright(self, x: Span, y: Span, z: float, colour: Colour, label: int) -> None:
        """Fill an upright rectangle that faces the camera."""
        corners = [(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]
        self.polygon(np.array(corners), colour, label)

    def solid(
        self, body: Solid, place: tuple[float, float, float], facing: int, label: int
    ) -> None:
        """
        Draw a solid.

        :param place: x and z of its middle, and how far x moves per metre ahead.
        :param facing: 1 if it faces away from the camera, -1 if it faces the camera.
        """
        x, z, slope = place
        middle = body.length / 2
        ahead = (body.points[:, 2] - middle) * facing
        points = np.stack(
            [body.points[:, 0] * facing + slope * ahead + x, body.points[:, 1], ahead + z], 1
        )
        eye = np.array([(slope * z - x) * facing, self.height, middle - z * facing])
        seen = np.sum(body.normals * (eye - body.centres), axis=1) > 0
        fine = z * 480 < 30 * self.focal
        keep, add = haze(z)
        whole = points[:, 2].min() > NEAR
        if whole:
            outlines = self._fixed(self.project(points))
            if outlines[:, 0].max() < 0 or outlines[:, 0].min() > self.width << _SHIFT:
                return
        start = 0
        for index, end in enumerate(body.ends):
            if seen[index] and (fine or not body.details[index]):
                outline = outlines[start:end] if whole else self.outline(points[start:end])
                if outline is not None:
                    r, g, b = (min(255.0, channel * keep + add) for channel in body.colours[index])
                    cv2.fillConvexPoly(self.pixels, outline, (r, g, b, label), cv2.LINE_8, _SHIFT)
            start = end

    def paste(
        self,
        texture: Texture,
        corner: Sequence[float],
        across: Sequence[float],
        down: Sequence[float],
        label: int,
        shade: float = 1.0,
        outline: Points | None = None,
    ) -> None:
        """
        Draw a texture on the parallelogram from ``corner`` along ``across`` and ``down``.

        :param shade: factor on its colours.
        :param outline: convex polygon in that plane to draw instead of the whole parallelogram.
        """
        o, a, d = (np.array(vector, np.float64) for vector in (corner, across, down))
        shape = self.outline(
            np.array([o, o + a, o + a + d, o + d]) if outline is None else outline
        )
        if shape is None:
            return
        left, top = np.maximum(shape.min(0) >> _SHIFT, 0)
        right = min(self.width, (int(shape[:, 0].max()) >> _SHIFT) + 2)
        bottom = min(self.rows, (int(shape[:, 1].max()) >> _SHIFT) + 2)
        if right <= left or bottom <= top:
            return
        # Along each axis, take the reduced texture whose resolution is about that of the frame.
        ends = sorted((max(3.0, float(o[2])), max(3.0, float(o[2] + a[2]))))
        distance = ends[0] ** 0.6 * ends[1] ** 0.4 if a[2] else max(NEAR, float(o[2]))
        turned = abs(a[0] * o[2] - a[2] * o[0]) / (math.hypot(a[0], a[2]) * math.hypot(o[0], o[2]))
        metres = (math.hypot(a[0], a[2]) * max(turned, 0.02), max(0.01, abs(float(d[1]))))
        level = [
            max(0, min(6, int(math.log2(max(1.0, 0.8 * texels * distance / (seen * self.focal))))))
            for texels, seen in zip(texture.level(0, 0).shape[1::-1], metres)
        ]
        source = texture.level(level[0], level[1])
        to_camera = np.array(
            [[self.focal, 0, self.centre[0]], [0, -self.focal, self.centre[1]], [0, 0, 1]]
        )
        plane = np.stack([a / source.shape[1], d / source.shape[0], o], 1)
        plane[1, 2] -= self.height
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # to the centres of pixels
        shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
        matrix = shift @ to_camera @ plane @ half
        if abs(np.linalg.det(matrix)) < 1e-9:
            return  # The texture is seen edge-on.
        patch = cv2.warpPerspective(
            source,
            matrix,
            (int(right - left), int(bottom - top)),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT if texture.kind != 'solid' else cv2.BORDER_REPLICATE,
        )
        target = self.pixels[top:bottom, left:right]
        coverage = patch[..., 3].copy()
        keep, add = haze(distance)
        patch = cv2.convertScaleAbs(patch, alpha=shade * keep, beta=add)
        if texture.kind == 'lace':
            _blend(target, patch, coverage)
        patch[..., 3] = label
        mask = np.zeros(coverage.shape, np.uint8)
        offset = np.array([left, top], np.int32) << _SHIFT
        cv2.fillConvexPoly(mask, shape - offset, 255, cv2.LINE_8, _SHIFT)
        if texture.kind != 'solid':
            mask &= cv2.compare(coverage, 127 if texture.kind == 'cutout' else 80, cv2.CMP_GT)
        cv2.copyTo(patch, mask, target)

    def stand(
        self,
        texture: Texture,
        place: tuple[float, float, float],
        label: int,
        *,
        scale: float = 1.0,
        shade: float = 1.0,
        mirrored: bool = False,
    ) -> None:
        """Draw a texture upright, facing the camera, with the middle of its foot at ``place``."""
        x, y, z = place
        width, height = texture.size[0] * scale, texture.size[1] * scale
        side = -1 if mirrored else 1
        corner = (x - side * width / 2, y + height, z)
        self.paste(texture, corner, (side * width, 0, 0), (0, -height, 0), label, shade)

    def shadow(self, x: float, z: float, half: Span, factor: float, slope: float = 0.0) -> None:
        """
        Darken a rectangle of the ground, and leave its labels unchanged.

        :param half: half its width and half its length in metres.
        :param factor: factor on its colours.
        :param slope: how far x moves per metre ahead.
        """
        width, length = half
        corners = np.array(
            [
                (x + i * width + slope * j * length, 0, z + j * length)
                for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            ]
        )
        outline = self.outline(corners)
        if outline is None:
            return
        left, top = np.maximum(outline.min(0) >> _SHIFT, 0)
        right, bottom = (outline.max(0) >> _SHIFT) + 2
        target = self.pixels[top:bottom, left:right]
        if target.size == 0:
            return
        mask = np.zeros(target.shape[:2], np.uint8)
        offset = np.array([left, top], np.int32) << _SHIFT
        cv2.fillConvexPoly(mask, outline - offset, 255, cv2.LINE_8, _SHIFT)
        dark = cv2.convertScaleAbs(target, alpha=factor)
        dark[..., 3] = target[..., 3]
        cv2.copyTo(dark, mask, target)


def haze(distance: float) -> tuple[float, float]:
    """Return the factor and the addend by which air fades a colour at a distance in metres."""
    share = min(0.4, distance / HAZE[1])
    return 1 - share, share * HAZE[0]


def _clip_near(points: Points) -> Points:
    """Cut a convex polygon at the near plane (Sutherland and Hodgman)."""
    kept = []
    for start, end in zip(points, np.roll(points, -1, 0)):
        if start[2] >= NEAR:
            kept.append(start)
        if (start[2] >= NEAR) != (end[2] >= NEAR):
            kept.append(start + (end - start) * ((NEAR - start[2]) / (end[2] - start[2])))
    return np.array(kept).reshape(-1, 3)


def _blend(target: Pixels, patch: Pixels, coverage: Pixels) -> None:
    """Let the background show through ``patch`` where its coverage is below 255."""
    weight = np.maximum(coverage.astype(np.float32) - 128, 0)[..., None] / 127
    behind = target[..., :3]
    patch[..., :3] = behind + (patch[..., :3].astype(np.float32) - behind) * weight
