# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The plot of a study's result: our figures are bars, and the paper's are dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Plot

from ..images.files import write_atomically
from ..reports.plots import ACCENT, as_svg, canvas, COLORS, INK, name_rows, plain
from .study_report import Result, stages_of

ROW = 0.32
"""The height of a row in inches."""


def write_plot(path: str | Path, found: Result) -> None:
    """
    Write a result's plot as SVG. The same result gives the same bytes.

    :raises OSError: the file cannot be written.
    """
    drawing = study_plot(found) if 'schedule' in found else budget_plot(found)
    write_atomically(path, as_svg(drawing, found['study']).encode())


def study_plot(found: Result) -> Plot:
    """Draw each row's mIoU and, if networks were timed, their times as shares of the slowest."""
    rows = found['rows']
    timed = len({row['network'] for row in rows}) > 1 and any(row.get('ms') for row in rows)
    drawing, panels = _panels(rows, 1 + timed)
    axes = panels[0]
    scores = [row['miou'] for row in rows]
    axes.barh(range(len(rows)), scores, 0.62, color=ACCENT, label='here')
    for y, row in enumerate(rows):
        if len(row['miou_by_seed']) > 1:
            axes.plot(
                (min(row['miou_by_seed']), max(row['miou_by_seed'])), (y, y), color=INK, lw=2
            )
    _dots(axes, [row['paper'].get('miou') for row in rows], 'Cityscapes val')
    axes.set(xlabel='mIoU', xlim=(0, None))
    if timed:
        _times(panels[1], rows)
    drawing.legend(*axes.get_legend_handles_labels(), loc='outside upper center', ncol=2,
                   frameon=False)  # fmt: skip
    return drawing


def budget_plot(found: Result) -> Plot:
    """Draw the share of each stage in a row's multiply-adds and, if measured, in its time."""
    rows = found['rows']
    timed = any(row.get('ms') for row in rows)
    drawing, panels = _panels(rows, 1 + timed)
    for axes, unit in zip(panels, ('gmac', 'ms')):
        slowest = max(row['ms'] for row in rows) if unit == 'ms' else 1
        left = [0.0] * len(rows)
        for i, stage in enumerate(stages_of(found)):
            added = [row['stages'].get(stage, {}).get(unit, 0) / slowest for row in rows]
            axes.barh(range(len(rows)), added, 0.62, left, color=COLORS[i], label=stage)
            left = [a + b for a, b in zip(left, added)]
    panels[0].set_xlabel('billions of multiply-adds')
    if timed:
        _dots(panels[1], _shares([row['paper'].get('ms') for row in rows]), 'Titan X')
        panels[1].set_xlabel("time, as a part of the slowest row's")
    drawing.legend(*panels[-1].get_legend_handles_labels(), loc='outside upper center', ncol=5,
                   frameon=False)  # fmt: skip
    return drawing


def _panels(rows: Sequence[Mapping[str, Any]], count: int) -> tuple[Plot, list[Axes]]:
    """Return a drawing with panels side by side that share an axis with the rows' labels."""
    drawing = canvas(9, ROW * len(rows) + 1.2)
    panels = list(drawing.subplots(1, count, squeeze=False, sharey=True)[0])
    for axes in panels:
        plain(axes)
        axes.grid(visible=False, axis='y')
        axes.tick_params(axis='y', length=0)
    name_rows(panels[0], [row['label'] for row in rows])
    return drawing, panels


def _times(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    ours = _shares([row.get('ms') for row in rows])
    axes.barh(range(len(rows)), [share or 0 for share in ours], 0.62, color=ACCENT)
    _dots(axes, _shares([row['paper'].get('ms') for row in rows]), 'Titan X')
    axes.set(xlabel="time, as a part of the slowest row's", xlim=(0, None))


def _shares(values: Sequence[float | None]) -> list[float | None]:
    """Return each value as a share of the largest."""
    largest = max((value for value in values if value is not None), default=1)
    return [None if value is None else value / largest for value in values]


def _dots(axes: Axes, values: Sequence[float | None], where: str) -> None:
    """Draw the paper's figures as dots; the legend says ``where`` they were measured."""
    found = [(value, y) for y, value in enumerate(values) if value is not None]
    if found:
        axes.plot(*zip(*found), 'o', color='white', mec=INK, ms=6, label=f'paper, {where}')
