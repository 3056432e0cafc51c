# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring a segmenter on labelled images."""

from __future__ import annotations

from collections.abc import Iterable

from ..images.image_file import Image
from ..inference.segmenter import Segmenter
from .confusion_matrix import ConfusionMatrix


def evaluate(segmenter: Segmenter, samples: Iterable[tuple[Image, Image]]) -> ConfusionMatrix:
    """
    Count what the segmenter gets right, at the ground truth's own size.

    :param samples: pairs of uint8 RGB (H, W, 3) and train ids (H, W).
    """
    matrix = ConfusionMatrix(len(segmenter.labels))
    for image, truth in samples:
        matrix.update(segmenter.predict(image).labels, truth)
    return matrix
