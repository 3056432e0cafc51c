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

from ..images.image_file import Image
from ..images.labels import LabelSet
from ..images.overlay import thumbnail
from ..metrics.cameras import CameraRow, means, ScoresByCamera, worst
from ..metrics.process_group import gathered
from ..metrics.scores import Scores
from .page import Figure, legend, picture, Section, table_section, write_report
from .sections import classes_section, confusion_sections, error_map, ERRORS, labelled_figures

SHOWN = 4
"""The number of best frames, and of worst frames, that the report shows."""


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
    text = (
        f'{lowest.name}, with a mean IoU of {_number(lowest.miou)}. A mean is of the classes that '
        'occur, so cameras with other classes compare only roughly.'
    )
    head = ('camera', 'images', 'mean IoU', 'classes', 'pixel accuracy', 'worst class')
    lines = [
        (
            row.name,
            f'{row.images:,}',
            _number(row.miou),
            f'{row.classes} of {len(row.iou)}',
            _number(row.pixel_accuracy),
            _worst_class(row),
        )
        for row in rows
    ]
    return [table_section('Which camera is seen worst?', [head, *lines], text)]


def _worst_class(row: CameraRow) -> str:
    known = {name: value for name, value in row.iou.items() if not isnan(value)}
    name = min(known, key=lambda name: known[name], default='')
    return f'{name} {_number(known[name])}' if name else ''


def _set_sections(scores: Scores, gallery: Gallery) -> list[Section]:
    """Return the sections of one data set."""
    if not scores.matrix.counts.any():
        return [Section('No scores', 'Every pixel of these labels is ignored.')]
    result, labels = scores.result(), scores.labels
    return [
        classes_section(
            'Bars: intersection over union (IoU) of all pixels of the set. Dots: boundary '
            'F-score (F), how well the outlines are met. 1 is perfect.',
            result['iou'],
            labels,
            result['boundary_f'],
        ),
        *_cityscapes_section(result),
        *confusion_sections(scores.matrix.counts, labels),
        *_frames_section('The best frames', gallery.best(), labels),
        *_frames_section('The worst frames', gallery.worst(), labels),
    ]


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
    text = (
        'iIoU weighs every object alike, whatever its size; only classes that are objects have '
        'one.'
    )
    lines = [
        (name, _number(iou[name]), _number(objects[name]) if name in objects else '')
        for name in names
    ]
    head = ('category or class', 'IoU', 'iIoU')
    return [table_section('Categories and objects', [head, *lines], text)]


def _frames_section(title: str, frames: Sequence[ScoredFrame], labels: LabelSet) -> list[Section]:
    """Return the section that shows frames, or nothing if there are none."""
    if not frames:
        return []
    figures: list[Figure] = []
    for frame in frames:
        name = f'mIoU {frame.score:.3f}, {Path(frame.source).stem}'
        errors = error_map(frame.image, frame.truth, frame.predicted)
        beside = labelled_figures(frame.predicted, frame.truth, labels.palette, errors)
        figures += [picture(frame.image, name), *beside]
    text = f'By their own mIoU. {ERRORS}'
    return [Section(title, text, figures, columns=4, legend=legend(labels))]
