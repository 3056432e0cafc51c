# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of one or more recorded drives: scores, time lines and worst frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from ..images.labels import LabelSet
from ..reports.page import (
    Code,
    number,
    plot,
    quantity,
    Section,
    SPACE,
    table_section,
    write_report,
)
from .drive_plots import fleet_plot
from .drive_scores import CameraScores, DriveScores, result
from .drive_sections import (
    camera_sections,
    class_sections,
    latency_sections,
    ReportedCamera,
    worst_sections,
)

DETAILED = 4
"""The most cameras that each have a time line and worst frames of their own in the report."""

ROWS = 40
"""The most drives in the plot that compares them; with more, only the worst are drawn."""

COLUMNS = ('mean IoU', 'flicker', 'confidence', 'median time', '95th percentile')
"""The headings of the columns that :func:`_columns` fills."""


def write_drive_report(
    path: str | Path,
    title: str,
    subtitle: str,
    drives: Sequence[DriveScores],
    labels: LabelSet,
    settings: Sequence[tuple[str, str]],
) -> None:
    """
    Write the report of a network's drives as one HTML page.

    :param labels: the classes in the page's colours.
    :param settings: (name, value) of each setting that the page lists.
    :raises OSError: the page cannot be written.
    """
    cameras = list(_cameras(drives))
    seen = [camera for camera in cameras if camera.scores.stamps]
    sections = _damage(drives, cameras)
    if len(drives) > 1:
        sections += _fleet_sections(drives)
    elif len(cameras) > 1:
        sections.append(_camera_table(cameras))
    if not seen:
        sections.append(Section('No frames', 'There is nothing to show: no image could be read.'))
    elif len(seen) == 1:
        sections += camera_sections(seen[0], labels, 2)
    elif len(seen) <= DETAILED:
        for camera in seen:
            own = camera.scores.result()
            cards = _cards(own, own['labelled'], _duration(camera.scores))
            sections.append(Section(camera.name, cards=cards))
            sections += camera_sections(camera, labels, 3)
    else:
        every = [camera.scores for camera in seen]
        sections += worst_sections(seen, labels, 2, linked=False)
        sections += class_sections(every, labels, 2)
        sections += latency_sections(every, 2)
    made = [('setting', 'value'), *((name, Code(value)) for name, value in settings)]
    sections.append(table_section('How was it made?', made))
    labelled = sum(camera.scores.labelled for camera in cameras)
    cards = _cards(result(drives), labelled, sum(map(_recorded, drives)))
    if len(drives) > 1:
        cards.append(('drives', f'{len(drives)}'))
    write_report(path, title, subtitle, cards, sections)


def _cameras(drives: Sequence[DriveScores]) -> Iterator[ReportedCamera]:
    for d, (name, drive) in enumerate(zip(_names(drives), drives), 1):
        for c, camera in enumerate(drive.cameras, 1):
            told = [name] if len(drives) > 1 else []
            if len(drive.cameras) > 1 or not told:
                told.append(camera.topic)
            yield ReportedCamera(', '.join(told), f'drive{d}-camera{c}', camera)


def _names(drives: Sequence[DriveScores]) -> list[str]:
    """Return the last part of each drive's path; the whole path if the last part is not unique."""
    short = [Path(drive.bag).name or drive.bag for drive in drives]
    return [name if short.count(name) == 1 else drive.bag for name, drive in zip(short, drives)]


def _cards(scores: Mapping[str, Any], labelled: int, seconds: float) -> list[tuple[str, str]]:
    """Return (name, value) of each card of the page; values that were not measured have none."""
    latency = scores['latency_ms']
    cards = [
        ('mean IoU', number(scores['miou'])),
        ('pixel accuracy', number(scores['pixel_accuracy'], '.1%')),
        ('flicker', number(scores['flicker'], '.2%')),
        ('confidence', number(scores['confidence'])),
        ('median time a frame', quantity(latency['p50'], '.1f', 'ms')),
        ('95th percentile', quantity(latency['p95'], '.1f', 'ms')),
        ('frames', _frames(scores)),
        ('frames with labels', f'{labelled:,}' if labelled else 'none'),
        ('recorded', _span(seconds)),
    ]
    return [(name, value) for name, value in cards if value != '–']


def _frames(scores: Mapping[str, Any]) -> str:
    done, given = scores['frames_out'], scores['frames_in']
    return f'{done:,}' if done == given else f'{done:,} of {given:,}'


def _duration(camera: CameraScores) -> float:
    return (max(camera.stamps) - min(camera.stamps)) / 1e9 if camera.stamps else 0.0


def _recorded(drive: DriveScores) -> float:
    """Return a drive's length in seconds; its cameras recorded at the same time."""
    return max(map(_duration, drive.cameras), default=0.0)


def _span(seconds: float) -> str:
    if seconds < 60:
        return quantity(seconds, '.1f', 's')
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    big, small = (
        (f'{hours} h', f'{minutes:02} min') if hours else (f'{minutes} min', f'{rest:02} s')
    )
    return f'{big} {small}'.replace(' ', SPACE)


def _damage(drives: Sequence[DriveScores], cameras: Sequence[ReportedCamera]) -> list[Section]:
    """Return a section that lists what could not be used; no section if all could."""
    rows: list[tuple[str, str]] = []
    for name, drive in zip(_names(drives), drives):
        said = [drive.error] if drive.error else []
        said += [f'{topic} could not be copied: its type is unknown' for topic in drive.left_out]
        rows += [(Code(name), text) for text in said]
    for camera in cameras:
        scores, unmatched = camera.scores, camera.scores.unmatched
        said = list(scores.failed)
        if unread := scores.frames_in - len(scores.stamps) - len(said):
            said.append(f'{unread:,} more frames could not be read')
        if unmatched:
            said.append(f'{unmatched:,} labels have the time stamp of no image')
        rows += [(Code(camera.name), text) for text in said]
    if not rows:
        return []
    text = 'All scores are those of the rest.'
    head = ('drive or camera', 'what was found')
    return [Section('What could not be used', text, table=rows, head=head, warning=True)]


def _camera_table(cameras: Sequence[ReportedCamera]) -> Section:
    rows = []
    for camera in cameras:
        own, seconds = camera.scores.result(), _duration(camera.scores)
        rows.append((Code(camera.name), _frames(own), _span(seconds), *_columns(own)))
    head = ('camera', 'frames', 'recorded', *COLUMNS)
    return table_section('How do the cameras differ?', [head, *rows])


def _columns(scores: Mapping[str, Any]) -> tuple[str, ...]:
    latency = scores['latency_ms']
    return (
        number(scores['miou']),
        number(scores['flicker'], '.2%'),
        number(scores['confidence']),
        quantity(latency['p50'], '.1f', 'ms'),
        quantity(latency['p95'], '.1f', 'ms'),
    )


def _fleet_sections(drives: Sequence[DriveScores]) -> list[Section]:
    """Return sections with the drives as a table and a plot, the worst drives first."""
    scored = sorted(
        ((name, drive, result([drive])) for name, drive in zip(_names(drives), drives)),
        key=lambda entry: _badness(entry[2]),
    )
    damaged = any(drive.error for drive in drives)
    rows = [
        (
            Code(name), _frames(own), _span(_recorded(drive)), *_columns(own),
            *(['damaged' if drive.error else ''] * damaged),
        )
        for name, drive, own in scored
    ]  # fmt: skip
    head = ('drive', 'frames', 'recorded', *COLUMNS, *(['recording'] * damaged))
    labelled = any(own['miou'] is not None for _, _, own in scored)
    text = f'Those with the lowest {"mean IoU" if labelled else "confidence"} come first.'
    sections = [table_section('Which drives went badly?', [head, *rows], text)]
    drawn = [
        (name, {**own, 'p50': own['latency_ms']['p50']})
        for name, _, own in scored
        if own['frames_out']
    ]
    if drawn:
        text = 'Each dot is a drive, in the same order; the dashed lines are medians.'
        if len(drawn) > ROWS:
            text += f' The worst {ROWS} of {len(drawn)}.'
        names, values = zip(*drawn[:ROWS])
        figure = plot(fleet_plot(names, values), 'scores of each drive')
        sections.append(Section('How do the drives differ?', text, [figure]))
    return sections


def _badness(scores: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the key that sorts drives from worst to best; unmeasured values sort last."""
    values = (scores['miou'], scores['confidence'])
    return tuple(2.0 if value is None or isnan(value) else value for value in values)
