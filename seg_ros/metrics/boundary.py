# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The boundary F-score: how well the predicted outlines of classes match the true ones."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.image_file import Image
from ..images.labels import IGNORE

TOLERANCE = 0.0075
"""The distance by which an outline may be off, as a share of the image's diagonal."""

Mask = NDArray[np.bool_]


class BoundaryScores:
    """
    The boundary F-score of each class.

    A boundary pixel of a class is a pixel of it with a pixel of another class above, below, left
    or right. Precision is the share of predicted boundary pixels that have a true boundary pixel
    of the same class within the tolerance, 0.75 % of the image's diagonal. Recall is the share of
    true boundary pixels that have a predicted one. F, their harmonic mean, is averaged over the
    images whose ground truth has a boundary of the class. Pixels whose ground truth is ignored
    are no boundary pixels, and do not make their neighbours boundary pixels.

    Definition and tolerance are those of Csurka, Larlus, Perronnin: What is a good evaluation
    measure for semantic segmentation?, BMVC 2013.

    :param num_classes: number of classes C.
    :ivar sums: float64 (C,): F of each class, summed over images.
    :ivar images: int64 (C,): number of images in each sum.
    """

    def __init__(self, num_classes: int) -> None:
        self.sums: NDArray[np.float64] = np.zeros(num_classes)
        self.images: NDArray[np.int64] = np.zeros(num_classes, np.int64)

    def update(self, predicted: Image, truth: Image) -> None:
        """
        Add the scores of one image.

        :param predicted: train ids, 255 where the network was not sure, (H, W).
        :param truth: train ids, 255 ignored, (H, W).
        """
        tolerance = float(TOLERANCE * np.hypot(*truth.shape))
        valid = truth != IGNORE
        true, found = _boundary(truth, valid), _boundary(predicted, valid)
        for c in np.unique(truth[true]):
            self.images[c] += 1
            self.sums[c] += _f_score(found & (predicted == c), true & (truth == c), tolerance)

    def f_scores(self) -> NDArray[np.float64]:
        """Return the mean F of each class, (C,); nan for a class without a true boundary."""
        with np.errstate(invalid='ignore'):
            return self.sums / np.where(self.images == 0, np.nan, self.images)


def _boundary(labels: Image, valid: Mask) -> Mask:
    """Return which valid pixels have a valid neighbour of another class, bool (H, W)."""
    boundary = np.zeros(labels.shape, np.bool_)
    for first, second in (
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        differ = (labels[first] != labels[second]) & valid[first] & valid[second]
        boundary[first] |= differ
        boundary[second] |= differ
    return boundary


def _f_score(found: Mask, true: Mask, tolerance: float) -> float:
    """Return F of a class's predicted and true boundary; the true one must not be empty."""
    if not found.any():
        return 0.0
    x, y, width, height = cv2.boundingRect((found | true).view(np.uint8))
    here = np.s_[y : y + height, x : x + width]
    found, true = found[here], true[here]
    precision, recall = _share_near(found, true, tolerance), _share_near(true, found, tolerance)
    return 2 * precision * recall / (precision + recall) if precision else 0.0


def _share_near(pixels: Mask, others: Mask, tolerance: float) -> float:
    """Return the share of ``pixels`` that have one of ``others`` within the tolerance."""
    away = (~others).view(np.uint8)
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Distances are float32; compare as such, so that one equal to the tolerance counts as near.
    return float(np.mean(distance[pixels] <= np.float32(tolerance)))
