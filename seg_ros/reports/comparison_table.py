# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Results of several networks side by side in a table, which marks the best value of a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .comparison import check_kind, known, latency_ratio, REPLAY, Result
from .page import number, size_text

EVALUATE = ('dataset', 'images', 'miou', 'iou')
"""The keys by which a result of ``evaluate`` is recognised."""


class ComparisonRow(NamedTuple):
    """
    The result of one network. Figures that were not measured are None.

    :param name: the name of the result's file.
    :param model: the file name of the network's weights.
    :param input_size: the network's input size, WIDTHxHEIGHT.
    :param precision: the precision of its engine.
    :param device: the device of its engine.
    :param measured_on: the drives or data set, and the number of frames.
    :param miou: mean IoU.
    :param flicker: share of pixels that flicker.
    :param confidence: mean confidence.
    :param p50: median latency in milliseconds.
    :param p95: 95th percentile of latency in milliseconds.
    :param fps: frames per second.
    :param ratio: median latency in runs of the reference network.
    :param reference_ms: time of the reference network in milliseconds.
    :param iou: IoU of each class.
    """

    name: str
    model: str
    input_size: str
    precision: str
    device: str
    measured_on: str
    miou: float | None
    flicker: float | None
    confidence: float | None
    p50: float | None
    p95: float | None
    fps: float | None
    ratio: float | None
    reference_ms: float | None
    iou: Mapping[str, float | None]


def row(result: Result, name: str, source: str) -> ComparisonRow:
    """
    Return a result of ``replay`` or ``evaluate`` as a row.

    :param name: the row's name.
    :param source: name of the result in error messages.
    :raises ValueError: the result is of neither command.
    """
    if not all(key in result for key in EVALUATE):
        check_kind(result, source, REPLAY, 'replay (or evaluate)')
    size = result.get('input_size') or ()
    latency = result.get('latency_ms') or {}
    figures = {key: known(result.get(key)) for key in ('miou', 'flicker', 'confidence', 'fps')}
    return ComparisonRow(
        name=name,
        model=Path(str(result.get('model', '–'))).name,
        input_size=size_text(size) or '–',
        precision=str(result.get('precision', '–')),
        device=str(result.get('device', '–')),
        measured_on=_measured_on(result),
        **figures,
        p50=known(latency.get('p50')),
        p95=known(latency.get('p95')),
        ratio=latency_ratio(result),
        reference_ms=known(result.get('reference_ms')),
        iou={name: known(value) for name, value in (result.get('iou') or {}).items()},
    )


def _measured_on(result: Result) -> str:
    if 'dataset' in result:
        split = f' {result["split"]}' if result.get('split') else ''
        return f'{result["dataset"]}{split}, {result["images"]} images'
    drives = result['drives']
    name = Path(str(drives[0]['bag'])).name if len(drives) == 1 else f'{len(drives)} drives'
    return f'{name}, {result["frames_in"]} frames'


COLUMNS = {
    'miou': ('mIoU', '.4f'),
    'flicker': ('flicker', '.4f'),
    'confidence': ('confidence', '.3f'),
    'p50': ('p50 ms', '.1f'),
    'p95': ('p95 ms', '.1f'),
    'fps': ('fps', '.1f'),
    'ratio': ('latency ratio', '.3f'),
}
"""The columns of figures: the heading and the number format of each."""

SAME_SPEED = 0.15
"""The largest relative difference of the reference's times on equally fast machines."""

BETTER = {'miou': max, 'flicker': min, 'p50': min, 'p95': min, 'fps': max, 'ratio': min}
"""Whether a column's largest or smallest value is the best; confidence has no best value."""


def best(rows: Sequence[ComparisonRow]) -> dict[str, float]:
    """Return the best value of each column in which more than one result has a value."""
    found = {}
    for column, choose in BETTER.items():
        values = [value for r in rows if (value := getattr(r, column)) is not None]
        if len(values) > 1:
            found[column] = choose(values)
    return found


def figures_table(rows: Sequence[ComparisonRow]) -> list[tuple[str, ...]]:
    """Return the headings and the results as lines of cells; best values have a star."""
    winners = best(rows)
    made = ComparisonRow._fields[: ComparisonRow._fields.index('miou')]
    lines = [(*(name.replace('_', ' ') for name in made), *(name for name, _ in COLUMNS.values()))]
    for r in rows:
        cells = [str(getattr(r, name)) for name in made]
        for column, (_, form) in COLUMNS.items():
            value = getattr(r, column)
            star = '*' if value is not None and value == winners.get(column) else ''
            cells.append(number(value, form) + star)
        lines.append(tuple(cells))
    return lines


def machines_differ(rows: Sequence[ComparisonRow]) -> bool:
    """Return whether the times of the reference network show machines of different speed."""
    times = [r.reference_ms for r in rows if r.reference_ms is not None]
    return bool(times) and max(times) > (1 + SAME_SPEED) * min(times)


def warnings(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return the reasons why the results should not be compared."""
    said = []
    places = dict.fromkeys(r.measured_on for r in rows)
    if len(places) > 1:
        said.append(
            f'measured on different images ({"; ".join(places)}): mIoU, flicker and confidence do '
            'not compare'
        )
    if machines_differ(rows):
        said.append(
            'the machines were not equally fast, or one was busy: compare the latency ratio, not '
            'milliseconds and fps'
        )
    return said


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """
    Return the indices of the points that no other point beats in both values, by rising latency.

    :param points: the (latency, mIoU) of each result.
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def unique_names(paths: Sequence[str]) -> list[str]:
    """Return each file's name without its ending, with its folder and a number if names repeat."""
    names = [Path(path).stem for path in paths]
    if len(set(names)) < len(names):
        names = [f'{Path(path).resolve().parent.name}/{Path(path).stem}' for path in paths]
    return [
        name if names.count(name) == 1 else f'{name} ({names[:i].count(name) + 1})'
        for i, name in enumerate(names)
    ]
