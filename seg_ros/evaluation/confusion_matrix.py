# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One integer confusion matrix over all pixels, and the scores that follow from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..inference.labels import IGNORE


class ConfusionMatrix:
    """
    Counts of pixels by true and predicted class, in int64.

    A pixel whose ground truth is ignored counts nowhere. A valid pixel that is predicted as
    ignored is a miss of its true class and a false alarm of none, as cityscapesScripts counts.

    :ivar counts: int64 (C, C + 1): true class by predicted class, the last column for ignored.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((num_classes, num_classes + 1), np.int64)

    def update(self, predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """
        Count one image.

        :param predicted: train ids, 255 where the network was not sure, (H, W).
        :param truth: train ids, 255 ignored, (H, W).
        :raises ValueError: the two differ in shape, or hold an id that is neither a class's nor
            255.
        """
        classes = len(self.counts)
        if predicted.shape != truth.shape:
            raise ValueError(
                f"expected a prediction of the ground truth's size {truth.shape}; found "
                f'{predicted.shape}'
            )
        valid = truth != IGNORE
        true, guess = truth[valid].astype(np.int64), predicted[valid].astype(np.int64)
        for name, ids in (('ground truth', true), ('prediction', guess[guess != IGNORE])):
            if ids.size and ids.max() >= classes:
                raise ValueError(
                    f'expected class ids below {classes}, or {IGNORE}; found {ids.max()} in the '
                    f'{name}'
                )
        guess[guess == IGNORE] = classes
        counts = np.bincount(true * (classes + 1) + guess, minlength=self.counts.size)
        self.counts += counts.reshape(self.counts.shape)

    def iou(self) -> NDArray[np.float64]:
        """Return each class's intersection over union; nan for a class that never occurred."""
        hits = np.diagonal(self.counts)
        union = self.counts.sum(1) + self.counts[:, :-1].sum(0) - hits
        with np.errstate(invalid='ignore'):
            return hits / np.where(union == 0, np.nan, union)

    def miou(self) -> float:
        """Return the mean IoU of the classes that occurred; nan if none did."""
        iou = self.iou()
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float('nan')

    def pixel_accuracy(self) -> float:
        """Return the share of valid pixels that were predicted right."""
        total = self.counts.sum()
        return float(np.diagonal(self.counts).sum() / total) if total else float('nan')
