# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of each camera of one or several data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np

from .confusion_matrix import mean
from .scores import Scores


class CameraRow(NamedTuple):
    """
    A network's scores on the images of one camera.

    :param name: names of data set, split and camera, which tell it from all other cameras.
    :param images: number of images.
    :param classes: number of classes that occur; the mean IoU is taken over them.
    :param iou: IoU of each class; nan if the class does not occur.
    """

    name: str
    images: int
    classes: int
    miou: float
    pixel_accuracy: float
    iou: Mapping[str, float]


class ScoresByCamera:
    """
    The scores on each camera of a data set.

    :param name: names of data set and split.
    :param cameras: the scores, all of the same classes, by the camera's name.
    """

    def __init__(self, name: str, cameras: Mapping[str, Scores]) -> None:
        self.name, self.cameras = name, cameras

    def combine(self) -> None:
        """Replace the scores, in every process, by the sums over all processes."""
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
        """Return a row for each camera, in the order of their names."""
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
    """Return the row of the lowest mean IoU; None if no row has a mean IoU."""
    return min((row for row in rows if not isnan(row.miou)), key=lambda r: r.miou, default=None)


def means(rows: Sequence[CameraRow]) -> dict[str, Any]:
    """
    Return the means over cameras, all of which have the same weight.

    :returns: ``images`` (their total number), ``miou``, ``iou`` by class (the mean over the
        cameras in which the class occurs) and ``pixel_accuracy``.
    """
    names = dict.fromkeys(name for row in rows for name in row.iou)
    nan = float('nan')
    return {
        'images': sum(row.images for row in rows),
        'miou': mean(np.array([row.miou for row in rows])),
        'iou': {name: mean(np.array([row.iou.get(name, nan) for row in rows])) for name in names},
        'pixel_accuracy': mean(np.array([row.pixel_accuracy for row in rows])),
    }
