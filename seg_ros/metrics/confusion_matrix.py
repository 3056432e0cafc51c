# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The confusion matrix of all pixels, and the scores that follow from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..images.labels import IGNORE


class ConfusionMatrix:
    """
    The number of pixels by true and predicted class.

    A pixel whose ground truth is ignored does not count. A valid pixel that is predicted as
    ignored is a miss of its true class but a false alarm of no class, as in cityscapesScripts.

    :param num_classes: number of classes C.
    :ivar counts: int64 (C, C + 1): true class by predicted class; the last column is for pixels
        that are predicted as ignored.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((num_classes, num_classes + 1), np.int64)

    def update(self, predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """
        Add the pixels of one image.

        :param predicted: train ids, 255 where the network was not sure, (H, W).
        :param truth: train ids, 255 ignored, (H, W).
        :raises ValueError: the two differ in shape, or hold an id that is neither a class nor 255.
        """
        classes = len(self.counts)
        if predicted.shape != truth.shape:
            raise ValueError(
                f"expected a prediction of the ground truth's size {truth.shape}; found "
                f'{predicted.shape}'
            )
        # Count all pairs of the 256 ids at once, and then take those of the classes.
        pairs = truth.astype(np.intp) << 8 | predicted
        counts = np.bincount(pairs.ravel(), minlength=2**16).reshape(256, 256)[:IGNORE]
        for name, pixels in (('ground truth', counts.sum(1)), ('prediction', counts.sum(0))):
            unknown = np.flatnonzero(pixels[classes:IGNORE]) + classes
            if unknown.size:
                raise ValueError(
                    f'expected class ids below {classes}, or {IGNORE}; found {unknown[-1]} in '
                    f'the {name}'
                )
        self.counts[:, :-1] += counts[:classes, :classes]
        self.counts[:, -1] += counts[:classes, IGNORE]

    def iou(self) -> NDArray[np.float64]:
        """Return the IoU of each class, (C,); nan if it never occurred and was never predicted."""
        hits = np.diagonal(self.counts)
        union = self.counts.sum(1) + self.counts[:, :-1].sum(0) - hits
        with np.errstate(invalid='ignore'):
            return hits / np.where(union == 0, np.nan, union)

    def miou(self) -> float:
        """Return the mean IoU of the classes that have an IoU; nan if none has."""
        return mean(self.iou())

    def pixel_accuracy(self) -> float:
        """Return the share of valid pixels that were predicted right; nan without pixels."""
        total = self.counts.sum()
        return float(np.diagonal(self.counts).sum() / total) if total else float('nan')

    def grouped(self, groups: Sequence[Sequence[int]]) -> ConfusionMatrix:
        """
        Return the confusion matrix of groups of classes, such as the categories of Cityscapes.

        :param groups: the classes of each group; each class must be in one group.
        """
        starts = np.cumsum([0, *map(len, groups[:-1])])
        order = np.concatenate(groups)
        merged = ConfusionMatrix(len(groups))
        by_row = np.add.reduceat(self.counts[order], starts, axis=0)
        merged.counts[:, :-1] = np.add.reduceat(by_row[:, order], starts, axis=1)
        merged.counts[:, -1] = by_row[:, -1]
        return merged


def mean(scores: NDArray[np.float64]) -> float:
    """Return the mean of the scores that are not nan; nan if all are."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if known.size else float('nan')
