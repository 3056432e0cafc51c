# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All scores of one evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.cityscapes import CATEGORIES
from ..images.image_file import Image
from ..images.labels import CITYSCAPES, LabelSet
from .boundary import BoundaryScores
from .cityscapes import category_matrix, InstanceScores
from .confusion_matrix import ConfusionMatrix, mean
from .process_group import summed


class Scores:
    """
    All scores of a network, summed over images and processes.

    :param labels: the classes.
    :param objects: whether there are instance ids for each image.
    """

    def __init__(self, labels: LabelSet, objects: bool = False) -> None:
        self.labels = labels
        self.images = 0
        self.matrix = ConfusionMatrix(len(labels))
        self.boundary = BoundaryScores(len(labels))
        self.objects = InstanceScores() if objects else None

    def update(
        self, predicted: Image, truth: Image, instances: NDArray[np.uint16] | None = None
    ) -> float:
        """
        Add one image, and return its own mIoU; nan if its ground truth is ignored everywhere.

        :param predicted: train ids, (H, W).
        :param truth: train ids, 255 ignored, (H, W).
        :param instances: instance ids of Cityscapes, (H, W).
        :raises ValueError: prediction and ground truth differ in shape, or hold an unknown id.
        """
        own = ConfusionMatrix(len(self.labels))
        own.update(predicted, truth)
        self.matrix.counts += own.counts
        self.boundary.update(predicted, truth)
        if self.objects and instances is not None:
            self.objects.update(predicted, instances)
        self.images += 1
        return own.miou()

    def combine(self) -> None:
        """Replace the scores, in every process, by the sums over all processes."""
        self.images = int(summed(np.array(self.images)))
        for part in self._parts():
            for name, counts in vars(part).items():
                setattr(part, name, summed(counts))

    def add(self, other: Scores) -> None:
        """Add the images of other scores, which must be of the same classes."""
        self.images += other.images
        for part, more in zip(self._parts(), other._parts()):
            for name, counts in vars(more).items():
                setattr(part, name, getattr(part, name) + counts)

    def _parts(self) -> list[object]:
        return [p for p in (self.matrix, self.boundary, self.objects) if p is not None]

    def result(self) -> dict[str, Any]:
        """
        Return all scores by name: values by class or category and their means, nan if undefined.

        Scores of categories are given for Cityscapes' classes only, and iIoU if there are
        instance ids.
        """
        matrix, names = self.matrix, self.labels.names
        scores: dict[str, Mapping[str, float]] = {
            'boundary_f': dict(zip(names, self.boundary.f_scores().tolist()))
        }
        if names == CITYSCAPES.names:
            iou = category_matrix(matrix).iou().tolist()
            scores['category_iou'] = dict(zip(CATEGORIES, iou))
        if self.objects:
            scores['iiou'] = self.objects.iiou(matrix)
            scores['category_iiou'] = self.objects.category_iiou(matrix)
        return {
            'images': self.images,
            'miou': matrix.miou(),
            'iou': dict(zip(names, matrix.iou().tolist())),
            'pixel_accuracy': matrix.pixel_accuracy(),
            **scores,
            **{f'mean_{name}': mean(np.array([*by.values()])) for name, by in scores.items()},
            'confusion_matrix': matrix.counts,
        }
