# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores camera by camera, on one data set or on several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np

from .confusion_matrix import mean
from .scores import Scores


class CameraRow(NamedTuple):
    """
    What a network gets right on the images of one camera.

    :param name: of data set, split and camera, to tell it from all others.
    :param classes: how many classes occur, which the mean IoU is of.
    :param iou: by class; nan of one that does not occur.
    """

    name: str
    images: int
    classes: int
    miou: float
    pixel_accuracy: float
    iou: Mapping[str, float]


class ScoresByCamera:
    """
    Scores on a data set, kept apart by camera.

    :param name: of data set and split.
    :param cameras: the scores, all of the same classes, by the camera's name.
    """

    def __init__(self, name: str, cameras: Mapping[str, Scores]) -> None:
        self.name, self.cameras = name, cameras

    def combine(self) -> None:
        """Add up what all processes have counted, in each of them."""
        for scores in self.cameras.values():
            scores.combine()

    def together(self) -> Scores:
        """Return the scores on all images."""
        first, *others = self.cameras.values()
        total = Scores(first.labels, bool(first.objects))
        for scores in (first, *others):
            total.add(scores)
        return total

    def rows(self) -> list[CameraRow]:
        """Return a row for each camera, by name."""
        return [
            CameraRow(
                f'{self.name}, {camera}' if camera else self.name,
                scores.images,
                int(np.isfinite(scores.matrix.iou()).sum()),
                scores.matrix.miou(),
                scores.matrix.pixel_accuracy(),
                dict(zip(scores.labels.names, scores.matrix.iou().tolist())),
            )
            for camera, scores in sorted(self.cameras.items())
        ]


def worst(rows: Sequence[CameraRow]) -> CameraRow | None:
    """Return the row of the lowest mean IoU; None if none has one."""
    return min((row for row in rows if not isnan(row.miou)), key=lambda r: r.miou, default=None)


def means(rows: Sequence[CameraRow]) -> dict[str, Any]:
    """
    Return the means over cameras, each of which counts alike however many images it has.

    :returns: ``images``, ``miou``, ``iou`` by class (over the cameras that see it) and
        ``pixel_accuracy``.
    """
    names = dict.fromkeys(name for row in rows for name in row.iou)
    nan = float('nan')
    return {
        'images': sum(row.images for row in rows),
        'miou': mean(np.array([row.miou for row in rows])),
        'iou': {name: mean(np.array([row.iou.get(name, nan) for row in rows])) for name in names},
        'pixel_accuracy': mean(np.array([row.pixel_accuracy for row in rows])),
    }
