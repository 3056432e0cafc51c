# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well the outlines of classes are met: the boundary F-score."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.image_file import Image
from ..images.labels import IGNORE

TOLERANCE = 0.0075
"""How far an outline may be off, as a share of the image's diagonal."""

Mask = NDArray[np.bool_]


class BoundaryScores:
    """
    Boundary F-score by class.

    A boundary pixel of a class is one of its own that has a pixel of another class above, below,
    left or right of it. Precision is the share of the predicted ones that have a true one of
    the same class within the tolerance, 0.75 % of the image's diagonal; recall the share of the
    true ones that have a predicted one. F, their harmonic mean, is averaged over the images whose
    ground truth has a boundary of the class. Pixels whose ground truth is ignored neither are
    boundary nor make their neighbours so.

    Definition and tolerance are those of Csurka, Larlus, Perronnin: What is a good evaluation
    measure for semantic segmentation?, BMVC 2013.

    :ivar sums: float64 (C,): F by class, summed over images.
    :ivar images: int64 (C,): how many images that were.
    """

    def __init__(self, num_classes: int) -> None:
        self.sums: NDArray[np.float64] = np.zeros(num_classes)
        self.images: NDArray[np.int64] = np.zeros(num_classes, np.int64)

    def update(self, predicted: Image, truth: Image) -> None:
        """
        Score one image.

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
        """Return the mean F by class; nan for a class without any boundary."""
        with np.errstate(invalid='ignore'):
            return self.sums / np.where(self.images == 0, np.nan, self.images)


def _boundary(labels: Image, valid: Mask) -> Mask:
    """Return which pixels, bool (H, W), have a neighbour of another class; both valid."""
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
    """Return F of one class's predicted and true boundary, of which the true one is not empty."""
    if not found.any():
        return 0.0
    x, y, width, height = cv2.boundingRect((found | true).view(np.uint8))
    here = np.s_[y : y + height, x : x + width]
    found, true = found[here], true[here]
    precision, recall = _share_near(found, true, tolerance), _share_near(true, found, tolerance)
    return 2 * precision * recall / (precision + recall) if precision else 0.0


def _share_near(pixels: Mask, others: Mask, tolerance: float) -> float:
    """Return the share of pixels that have one of the others within the tolerance."""
    away = (~others).view(np.uint8)
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Distances are float32, and one that equals the tolerance shall count as within.
    return float(np.mean(distance[pixels] <= np.float32(tolerance)))
