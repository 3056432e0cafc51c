# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sections and figures that several reports share: classes, confusions and labelled frames."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.image_file import Image
from ..images.labels import IGNORE, LabelSet, Palette
from ..images.overlay import colorize
from .page import Figure, picture, plot, Section, table_section
from .plots import confusion_plot, iou_plot

CONFUSIONS = 12
"""The number of rows in the table of confusions."""

WRONG = (214, 39, 40)
"""The colour of wrong pixels in an error map, RGB."""

ERRORS = 'Errors are red; black is what the ground truth leaves out.'
"""The explanation of :func:`error_map` in a report."""


def classes_section(
    text: str,
    iou: Mapping[str, float],
    labels: LabelSet,
    boundary: Mapping[str, float] | None = None,
    level: int = 2,
) -> Section:
    """
    Return the section with the IoU of each class.

    :param text: says which pixels the figures are of.
    :param iou: IoU of each class.
    :param labels: the classes, for their colours.
    :param boundary: boundary F-score of each class, if it was measured.
    :param level: level of the heading.
    """
    figure = plot(iou_plot(iou, labels, boundary), 'IoU of each class')
    return Section('Which classes are seen well?', text, [figure], level=level)


def confusion_sections(
    counts: NDArray[np.int64], labels: LabelSet, level: int = 2
) -> list[Section]:
    """
    Return the sections with the confusion matrix and, if there are errors, their table.

    :param counts: int64 (C, C + 1), see :class:`ConfusionMatrix`.
    :param labels: the classes.
    :param level: level of the headings.
    """
    matrix = Section(
        'What is taken for what?',
        "Each row: where a class's pixels went, in percent of them.",
        [plot(confusion_plot(counts, labels), 'confusions of classes')],
        level=level,
    )
    head = ('is', 'is taken for', 'of its pixels', 'of all errors', 'pixels')
    rows = confusions(counts, labels)
    table = table_section('The most frequent confusions', [head, *rows], level=level)
    return [matrix, table] if rows else [matrix]


def confusions(counts: NDArray[np.int64], labels: LabelSet) -> list[tuple[str, ...]]:
    """
    Return the most frequent confusions as the rows of a table.

    :param counts: int64 (C, C + 1), see :class:`ConfusionMatrix`.
    :returns: true class, predicted class, share of the true class's pixels, share of all errors,
        and number of pixels.
    """
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    names = (*labels.names, 'unlabeled')
    rows = []
    for place in np.argsort(-errors, axis=None, kind='stable')[:CONFUSIONS]:
        true, guess = divmod(int(place), len(names))
        pixels = errors[true, guess]
        if pixels:
            shares = (pixels / counts[true].sum(), pixels / errors.sum())
            rows.append((names[true], names[guess], *(f'{s:.1%}' for s in shares), f'{pixels:,}'))
    return rows


def labelled_figures(
    predicted: Image, truth: Image, palette: Palette, errors: Image
) -> list[Figure]:
    """
    Return the figures beside the image of a frame that has ground truth.

    :param predicted: predicted train ids, (H, W).
    :param truth: train ids of the ground truth, (H, W).
    :param palette: the colours of the classes.
    :param errors: the frame's :func:`error_map`.
    """
    return [
        picture(colorize(predicted, palette), 'prediction'),
        picture(colorize(truth, palette), 'ground truth'),
        picture(errors, 'errors'),
    ]


def error_map(image: Image, truth: Image, predicted: Image) -> Image:
    """
    Return an image that shows wrong pixels, uint8 RGB (H, W, 3).

    :returns: the image in pale grey where the prediction is right, red where it is wrong, and
        black where the ground truth is ignored.
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    picture = cv2.addWeighted(grey, 0.35, np.full_like(grey, 255), 0.65, 0)
    picture[predicted != truth] = WRONG
    picture[truth == IGNORE] = 0
    return picture
