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
    Return the confusion matrix of a segmenter's predictions, at the size of the ground truth.

    :param samples: images and ground truth: uint8 RGB (H, W, 3) and train ids (H, W).
    """
    matrix = ConfusionMatrix(len(segmenter.labels))
    for image, truth in samples:
        matrix.update(segmenter.predict(image).labels, truth)
    return matrix
