# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of several results side by side: accuracy against latency, and IoU by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure as Plot
import numpy as np

from .comparison_table import best, ComparisonRow, figures_table, machines_differ, pareto_front
from .page import number, plot, Section, table_section, write_report
from .plots import ACCENT, COLORS, FAINT, INK, LINE, literal, logarithmic, name_rows, panel

WIDE = 5
"""The ratio of the highest to the lowest latency above which the axis is logarithmic."""

SHAPES = 'osD^vP*X'
"""The markers of results, so that they differ in shape as well as in colour."""


def write_comparison_report(
    path: str | Path, title: str, rows: Sequence[ComparisonRow], warnings: Sequence[str]
) -> None:
    """
    Write several results side by side as one HTML page.

    :param title: the page's title.
    :param rows: the results.
    :param warnings: reasons why the results should not be compared.
    :raises OSError: the page cannot be written.
    """
    sections = []
    if warnings:
        said = ' '.join(f'{text[0].upper()}{text[1:]}.' for text in warnings)
        sections.append(Section('Do they compare?', said, warning=True))
    points = [r for r in rows if r.miou is not None and r.p50 is not None]
    if points:
        text = (
            'To the left is faster, up is more accurate. Along the line are those that no other '
            'one beats in both.'
        )
        if len(points) < len(rows):
            text += f' {len(rows) - len(points)} without accuracy or latency are left out.'
        figure = plot(trade_plot(points), 'mean IoU against latency')
        sections.append(Section('What does accuracy cost?', text, [figure]))
    table = figures_table(rows)
    made = 1 + ComparisonRow._fields.index('measured_on')
    figures = [(line[0], *line[made:]) for line in table]
    sections.append(table_section('Which one is the best?', figures, _explained(rows)))
    sections += _class_sections(rows)
    sections.append(table_section('How were they made?', [line[:made] for line in table]))
    write_report(path, title, f'{len(rows)} results', _cards(rows), sections)


def _cards(rows: Sequence[ComparisonRow]) -> list[tuple[str, str]]:
    """Return the best value of each measure, and the name of its result, as cards of the page."""
    units = {'miou': ('mean IoU', '.3f', ''), 'flicker': ('flicker', '.2%', ''),
             'p50': ('median time', '.1f', ' ms')}  # fmt: skip
    return [
        (f'{what}: {r.name}', f'{value:{form}}{unit}')
        for column, value in best(rows).items()
        if column in units
        for what, form, unit in [units[column]]
        for r in rows
        if getattr(r, column) == value
    ]


def _explained(rows: Sequence[ComparisonRow]) -> str:
    text = 'The best value of a column has a star. ' if best(rows) else ''
    if any(r.ratio is not None for r in rows):
        text += (
            'The latency ratio is the median latency divided by that of a fixed network which '
            'ran in between, so that machines of different speed compare.'
        )
    return text


def trade_plot(rows: Sequence[ComparisonRow]) -> Plot:
    """Draw mean IoU against latency, in runs of the reference network if the machines differ."""
    differ = machines_differ(rows) and all(r.ratio is not None for r in rows)
    latency = [r.ratio if differ else r.p50 for r in rows]
    points = [(x, r.miou) for x, r in zip(latency, rows) if x is not None and r.miou is not None]
    drawing, axes = panel(4.6)
    front = [points[i] for i in pareto_front(points)]
    axes.plot(*zip(*front), drawstyle='steps-post', color=ACCENT, lw=1.5, zorder=1)
    for (x, y), r in zip(points, rows):
        color = ACCENT if (x, y) in front else FAINT
        axes.plot(x, y, 'o', ms=9, color=color, mec='white', zorder=2)
        axes.annotate(
            literal(r.name), (x, y), (8, 5), textcoords='offset points', color=INK, zorder=3
        )
    what = 'runs of the reference network' if differ else 'milliseconds'
    axes.set(xlabel=f'median latency a frame, {what}', ylabel='mean IoU')
    axes.margins(0.15)
    times = [x for x, _ in points]
    if max(times) > WIDE * min(times) > 0:
        logarithmic(axes)
    else:
        axes.set_xlim(0, None)
    return drawing


def _class_sections(rows: Sequence[ComparisonRow]) -> list[Section]:
    scored = [r for r in rows if r.iou]
    if not scored:
        return []
    classes = list(scored[0].iou)
    same = [r for r in scored if list(r.iou) == classes]
    if len(same) < 2:
        return []
    text = 'Intersection over union of each class; 1 is perfect.'
    if len(same) < len(scored):
        text += f' Only results with the classes of {same[0].name}.'
    return [
        Section(
            'Which classes differ?',
            text,
            [plot(classes_plot(same), 'IoU of each class in each result')],
            table=[(name, *(number(r.iou[name]) for r in same)) for name in classes],
            head=('class', *(r.name for r in same)),
        )
    ]


def classes_plot(rows: Sequence[ComparisonRow]) -> Plot:
    """Draw each class's IoU as a dot for each result; all results must have the same classes."""
    classes = list(rows[0].iou)
    drawing, axes = panel(0.3 * len(classes) + 1.1)
    for y, name in enumerate(classes):
        values = [value for r in rows if (value := r.iou[name]) is not None]
        if values:
            axes.plot((min(values), max(values)), (y, y), color=LINE, lw=4, zorder=1)
    for i, r in enumerate(rows):
        # Matplotlib's legends leave out names that start with an underscore; the space keeps them.
        axes.plot(
            [np.nan if value is None else value for value in r.iou.values()], range(len(classes)),
            SHAPES[i % len(SHAPES)], color=COLORS[i % len(COLORS)], ms=7, mec='white', mew=0.6,
            label=f' {literal(r.name)}', zorder=2,
        )  # fmt: skip
    axes.set_xlim(0, 1)
    name_rows(axes, classes)
    drawing.legend(loc='lower left', bbox_to_anchor=(0.1, 0.98), ncol=4, frameon=False)
    return drawing
