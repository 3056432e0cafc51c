# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The sections of a drive report that show one camera, or several cameras together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ..images.labels import LabelSet
from ..images.overlay import colorize, overlay
from ..metrics.confusion_matrix import ConfusionMatrix
from ..metrics.latency import percentiles
from ..reports.page import (
    Figure,
    legend,
    Link,
    number,
    picture,
    plot,
    quantity,
    Section,
    SPACE,
    table_section,
)
from ..reports.plots import latency_plot
from ..reports.sections import (
    classes_section,
    confusion_sections,
    error_map,
    ERRORS,
    labelled_figures,
)
from .drive_plots import CLASSES, frames_a_point, in_view, MEASURES, share_plot, timeline_plot
from .drive_scores import CameraScores, LOW_CONFIDENCE, SHOWN, Stretch, WorstFrame

STRETCHES = 30
"""The most stretches of low confidence that are shown; with more, only the longest."""

FLEET_SHOWN = 6
"""The number of worst frames that a report of many cameras shows for each measure."""

BUDGETS = ((33, '30 frames a second'), (66, '15 frames a second'))
"""The milliseconds that a frame may take at the usual frame rates of cameras."""


class ReportedCamera(NamedTuple):
    """
    A camera of a drive, as the report shows it.

    :param name: the drive and topic, each only if needed to distinguish the camera.
    :param anchor: the prefix of the camera's anchors in the page.
    :param scores: the scores of the camera's frames.
    """

    name: str
    anchor: str
    scores: CameraScores


def camera_sections(camera: ReportedCamera, labels: LabelSet, level: int) -> list[Section]:
    """
    Return all sections on one camera, which has at least one frame.

    :param level: the level of the sections' headings.
    """
    scores = camera.scores
    stretches = sorted(scores.low_confidence(), key=lambda s: s.first - s.last)
    shown = sorted(stretches[:STRETCHES])
    return [
        _timeline_section(camera, shown, len(stretches), level),
        *_stretch_section(camera, shown, len(stretches), level),
        *worst_sections([camera], labels, level, linked=True),
        _share_section(scores, labels, level),
        *class_sections([scores], labels, level),
        *latency_sections([scores], level),
    ]


def _timeline_section(
    camera: ReportedCamera, stretches: Sequence[Stretch], total: int, level: int
) -> Section:
    text = (
        'The worst frames have numbers that lead to their pictures.'
        if any(camera.scores.worst(measure) for measure in MEASURES)
        else ''
    )
    if stretches:
        which = (
            'Stretches' if total == len(stretches) else f'The {len(stretches)} longest stretches'
        )
        text += f' {which} of low confidence are shaded.'
    size = frames_a_point(len(camera.scores.stamps))
    if size > 1:
        text += (
            f' A point stands for {size} frames: the line is their mean, the band reaches from '
            'their lowest to their highest.'
        )
    figure = plot(
        timeline_plot(camera.scores, stretches, camera.anchor), 'scores and latency over time'
    )
    return Section('When did it go well, and when not?', text.strip(), [figure], level=level)


def _stretch_section(
    camera: ReportedCamera, stretches: Sequence[Stretch], total: int, level: int
) -> list[Section]:
    if not stretches:
        return []
    seconds = camera.scores.seconds()
    rows = [
        (
            Link(_seconds(seconds[first]), f'{camera.anchor}-stretch-{n}'),
            _seconds(seconds[last]),
            f'{last - first + 1:,}',
            number(confidence),
        )
        for n, (first, last, confidence) in enumerate(stretches, 1)
    ]
    text = f'Here the mean probability of the winning classes stays below {LOW_CONFIDENCE:g}.'
    if total > len(stretches):
        text += f' Of {total} stretches, the {len(stretches)} longest.'
    head = ('from', 'to', 'frames', 'mean confidence')
    return [table_section('Where was the network unsure?', [head, *rows], text, level)]


def _share_section(scores: CameraScores, labels: LabelSet, level: int) -> Section:
    text = (
        'Above: the share of the picture that each class takes. Below: the same, a row a class, '
        'on a scale on which small classes are seen, too (white is none, dark is all); the '
        'figures are means.'
    )
    if (seen := len(in_view(scores))) > CLASSES:
        text += f' Of {seen} classes the {CLASSES} largest have rows; grey is the rest.'
    figure = plot(share_plot(scores, labels), 'share of each class over time')
    return Section('What was in view?', text, [figure], level=level)


WORST = {
    'miou': (
        'Which frames were seen worst?',
        f'By their own mean IoU. {ERRORS}',
    ),
    'confidence': (
        'Which frames was the network least sure of?',
        'By the mean probability of the winning classes.',
    ),
    'flicker': (
        'Where do the labels flicker?',
        "By the share of pixels whose label is another than the frame before's, moved along.",
    ),
}


def worst_sections(
    cameras: Sequence[ReportedCamera], labels: LabelSet, level: int, linked: bool
) -> list[Section]:
    """
    Return sections with the worst frames of all these cameras, one for each measure.

    :param linked: whether the frames are linked with their markers on a time line.
    """
    sections = []
    for measure, (title, text) in WORST.items():
        found = [
            (frame, camera, n)
            for camera in cameras
            for n, frame in enumerate(camera.scores.worst(measure), 1)
        ]
        sign = -1 if measure == 'flicker' else 1
        found.sort(key=lambda f: sign * f[0].value)
        if not found:
            continue
        found = found[: SHOWN if linked else FLEET_SHOWN]
        truth = any(frame.truth is not None for frame, _, _ in found)
        figures: list[Figure] = []
        shown: set[int] = set()
        for rank, (frame, camera, n) in enumerate(found, 1):
            anchor = f'{camera.anchor}-{measure}-{n}'
            when = f'at{SPACE}{_seconds(camera.scores.seconds()[frame.place])}'
            form = '.2%' if measure == 'flicker' else '.3f'
            caption = f'{rank}: {MEASURES[measure]} {frame.value:{form}}'
            if linked:
                link = Link(when, f'{anchor}-time')
            else:
                caption, link = f'{caption}, {camera.name}, {when}', None
            first = picture(frame.image, caption, anchor, link)
            figures += [first, *_frame_figures(frame, labels, truth)]
            shown.update(np.unique(frame.predicted).tolist())
            shown.update([] if frame.truth is None else np.unique(frame.truth).tolist())
        colors = [entry for i, entry in enumerate(legend(labels)) if i in shown]
        columns = 4 if truth else 2
        sections.append(Section(title, text, figures, colors, columns=columns, level=level))
    return sections


def _frame_figures(frame: WorstFrame, labels: LabelSet, truth: bool) -> list[Figure]:
    """
    Return the pictures beside a frame's image.

    :param truth: whether the page has columns for ground truth, which may be empty here.
    """
    if not truth:
        laid_over = overlay(frame.image, frame.predicted, labels.palette)
        return [picture(laid_over, 'prediction, laid over')]
    if frame.truth is None:
        predicted = picture(colorize(frame.predicted, labels.palette), 'prediction')
        return [predicted, Figure(), Figure()]
    folded = (cv2.LUT(ids, frame.common.predicted) for ids in (frame.truth, frame.predicted))
    errors = error_map(frame.image, *folded)
    return labelled_figures(frame.predicted, frame.truth, labels.palette, errors)


def _seconds(seconds: float) -> str:
    return quantity(seconds, '.1f', 's')


# Classes and latency, of one camera or of all


def class_sections(cameras: Sequence[CameraScores], labels: LabelSet, level: int) -> list[Section]:
    """
    Return sections on the IoU of classes and their confusions.

    There are none without ground truth, or if the cameras are scored in different class lists.
    """
    scored = [camera for camera in cameras if camera.labelled]
    if len({camera.common.labels.names for camera in scored}) != 1:
        return []
    labels = scored[0].common.drawn(labels)
    matrix = ConfusionMatrix(len(labels))
    for camera in scored:
        matrix.counts += camera.matrix.counts
    iou = dict(zip(labels.names, matrix.iou().tolist()))
    return [
        classes_section(
            'Intersection over union (IoU) of all labelled pixels; 1 is perfect.',
            iou,
            labels,
            level=level,
        ),
        *confusion_sections(matrix.counts, labels, level),
    ]


def latency_sections(cameras: Sequence[CameraScores], level: int) -> list[Section]:
    """Return a section on the latency of all these cameras' frames, of which there are some."""
    times = np.array([ms for camera in cameras for ms in camera.latency_ms])
    marks = {name: ms for name, ms in percentiles(times.tolist()).items() if ms is not None}
    shares = [f'{np.mean(times <= ms):.1%} within {ms} ms ({rate})' for ms, rate in BUDGETS]
    text = (
        f'From the image in memory to its labels. Of all frames, {" and ".join(shares)}. The '
        f'slowest took {times.max():.1f} ms.'
    )
    figure = plot(latency_plot(times.tolist(), marks), 'how many frames took how long')
    return [Section('How long did a frame take?', text, [figure], level=level)]
