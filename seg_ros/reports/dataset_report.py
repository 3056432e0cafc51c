# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation on data sets: scores, confusions, best and worst frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.image_file import Image
from ..images.labels import IGNORE, LabelSet
from ..images.overlay import colorize, thumbnail
from ..metrics.cameras import CameraRow, means, ScoresByCamera, worst
from ..metrics.process_group import gathered
from ..metrics.scores import Scores
from .page import Figure, legend, picture, plot, Section, write_report
from .plots import confusion_plot, iou_plot

SHOWN = 4
"""The number of best frames, and of worst frames, that the report shows."""

CONFUSIONS = 12
"""The number of rows in the table of confusions."""

WRONG = (214, 39, 40)
"""The colour of wrong pixels in an error map, RGB."""


class ScoredFrame(NamedTuple):
    """
    A scored image, reduced to the report's size.

    :param score: the image's own mIoU.
    :param place: the image's index in the data set.
    :param source: the origin of the image.
    :param image: uint8 RGB, (H, W, 3).
    :param truth: train ids of the ground truth, (H, W).
    :param predicted: predicted train ids, (H, W).
    """

    score: float
    place: int
    source: str
    image: Image
    truth: Image
    predicted: Image


class Gallery:
    """Keeps the best and the worst of all scored frames."""

    def __init__(self) -> None:
        self._best: list[ScoredFrame] = []
        self._worst: list[ScoredFrame] = []

    def add(
        self, score: float, place: int, source: str, image: Image, truth: Image, predicted: Image
    ) -> None:
        """Add a frame; a frame without a score, since it has no labelled pixel, is not kept."""
        if not isnan(score):
            small = (thumbnail(image, cv2.INTER_AREA), thumbnail(truth), thumbnail(predicted))
            self._keep([ScoredFrame(score, place, source, *small)])

    def _keep(self, frames: Sequence[ScoredFrame]) -> None:
        self._best = sorted([*self._best, *frames], key=lambda f: (-f.score, f.place))[:SHOWN]
        self._worst = sorted([*self._worst, *frames], key=lambda f: (f.score, f.place))[:SHOWN]

    def combine(self) -> None:
        """Keep the best and the worst frames of all processes, in each of them."""
        kept = gathered({frame.place: frame for frame in (*self._best, *self._worst)})
        self._best, self._worst = [], []
        self._keep([frame for frames in kept for frame in frames.values()])

    def best(self) -> list[ScoredFrame]:
        """Return the best frames, the best one first."""
        return self._best

    def worst(self) -> list[ScoredFrame]:
        """Return the worst frames, the worst one first, without those among the best."""
        shown = {frame.place for frame in self._best}
        return [frame for frame in self._worst if frame.place not in shown]


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


def write_dataset_report(
    path: str | Path,
    title: str,
    subtitle: str,
    scores: Scores,
    gallery: Gallery,
    rows: Sequence[CameraRow] = (),
) -> None:
    """
    Write the result of an evaluation as one HTML page.

    :param title: the page's title.
    :param subtitle: the text below it.
    :param scores: the scores on the data set.
    :param gallery: its best and worst frames.
    :param rows: the scores on each camera, if there are several.
    :raises OSError: the page cannot be written.
    """
    sections = [*cameras_section(rows), *_set_sections(scores, gallery)]
    write_report(path, title, subtitle, _cards(scores.result()), sections)


def write_datasets_report(
    path: str | Path,
    title: str,
    subtitle: str,
    sets: Sequence[tuple[ScoresByCamera, Gallery]],
    rows: Sequence[CameraRow],
) -> None:
    """
    Write the results of evaluations on several data sets as one HTML page.

    :param title: the page's title.
    :param subtitle: the text below it.
    :param sets: the scores, and the best and worst frames, of each data set.
    :param rows: the scores on each camera of all data sets.
    :raises OSError: the page cannot be written.
    """
    sections = cameras_section(rows)
    for cameras, gallery in sets:
        scores = cameras.together()
        sections.append(Section(cameras.name, cards=_cards(scores.result())))
        sections += [replace(part, level=3) for part in _set_sections(scores, gallery)]
    write_report(path, title, subtitle, _cards(means(rows)), sections)


def cameras_section(rows: Sequence[CameraRow]) -> list[Section]:
    """Return the section with a row for each camera, or nothing if there is only one camera."""
    lowest = worst(rows)
    if len(rows) < 2 or lowest is None:
        return []
    return [
        Section(
            'Which camera is seen worst?',
            f'{lowest.name}, with a mean IoU of {_number(lowest.miou)}. A mean is of the classes '
            'that occur, so cameras with other classes compare only roughly.',
            head=('camera', 'images', 'mean IoU', 'classes', 'pixel accuracy', 'worst class'),
            table=[
                (
                    row.name,
                    f'{row.images:,}',
                    _number(row.miou),
                    f'{row.classes} of {len(row.iou)}',
                    _number(row.pixel_accuracy),
                    _worst_class(row),
                )
                for row in rows
            ],
        )
    ]


def _worst_class(row: CameraRow) -> str:
    known = {name: value for name, value in row.iou.items() if not isnan(value)}
    name = min(known, key=lambda name: known[name], default='')
    return f'{name} {_number(known[name])}' if name else ''


def _set_sections(scores: Scores, gallery: Gallery) -> list[Section]:
    """Return the sections of one data set."""
    if not scores.matrix.counts.any():
        return [Section('No scores', 'Every pixel of these labels is ignored.')]
    result, labels = scores.result(), scores.labels
    sections = [
        Section(
            'Which classes are seen well?',
            'Bars: intersection over union (IoU) of all pixels of the set. Dots: boundary '
            'F-score (F), how well the outlines are met. 1 is perfect.',
            [plot(iou_plot(result['iou'], labels, result['boundary_f']), 'IoU of each class')],
        ),
        *_cityscapes_section(result),
        Section(
            'What is taken for what?',
            "Each row: where a class's pixels went, in percent of them.",
            [plot(confusion_plot(scores.matrix.counts, labels), 'confusions of classes')],
        ),
        Section(
            'The most frequent confusions',
            head=('is', 'is taken for', 'of its pixels', 'of all errors', 'pixels'),
            table=confusions(scores.matrix.counts, labels),
        ),
        _frames_section('The best frames', gallery.best(), labels),
        _frames_section('The worst frames', gallery.worst(), labels),
    ]
    return [section for section in sections if section.figures or section.table or section.text]


def _cards(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    named = {
        'miou': 'mean IoU',
        'pixel_accuracy': 'pixel accuracy',
        'mean_boundary_f': 'boundary F-score',
        'mean_category_iou': 'category IoU',
        'mean_iiou': 'iIoU',
        'mean_category_iiou': 'category iIoU',
    }
    cards = [(text, _number(result[name])) for name, text in named.items() if name in result]
    return [*cards, ('images', f'{result["images"]}')]


def _number(value: float) -> str:
    return 'none' if isnan(value) else f'{value:.3f}'


def _cityscapes_section(result: Mapping[str, Any]) -> list[Section]:
    if 'category_iou' not in result:
        return []
    objects = {**result.get('iiou', {}), **result.get('category_iiou', {})}
    iou = {**result['iou'], **result['category_iou']}
    names = [*result['category_iou'], *result.get('iiou', {})]
    return [
        Section(
            'Categories and objects',
            'iIoU weighs every object alike, whatever its size; only classes that are objects '
            'have one.',
            head=('category or class', 'IoU', 'iIoU'),
            table=[
                (name, _number(iou[name]), _number(objects[name]) if name in objects else '')
                for name in names
            ],
        )
    ]


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


def _frames_section(title: str, frames: Sequence[ScoredFrame], labels: LabelSet) -> Section:
    figures: list[Figure] = []
    for frame in frames:
        name = f'mIoU {frame.score:.3f}, {Path(frame.source).stem}'
        figures += [
            picture(frame.image, name),
            picture(colorize(frame.truth, labels.palette), 'ground truth'),
            picture(colorize(frame.predicted, labels.palette), 'prediction'),
            picture(error_map(frame.image, frame.truth, frame.predicted), 'errors'),
        ]
    if not figures:
        return Section(title)
    text = 'By their own mIoU. Errors are red, and black is what the ground truth leaves out.'
    return Section(title, text, figures, columns=4, legend=legend(labels))
