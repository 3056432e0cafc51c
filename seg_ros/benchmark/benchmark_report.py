# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a benchmark: its rows as a table (text, Markdown or HTML) and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import shorten
from typing import Any

from matplotlib.figure import Figure as Plot

from ..reports.page import number, plot, Section, size_text, table_section, write_report
from ..reports.plots import COLORS, INK, literal, logarithmic, panel
from ..reports.text_table import Table
from .deadline_plot import deadline_plot
from .rows import BenchmarkRow

WIDE = 10
"""The axis is logarithmic if the longest latency is more than this many times the shortest."""

NAME = 60
"""The most characters of the name beside a bar."""


def table(rows: Sequence[BenchmarkRow]) -> Table:
    """Return a table of the rows, its headings first, without the columns that are empty."""
    head = (
        'benchmark', 'network', 'backend', 'device', 'precision', 'input', 'image', 'batch',
        'cameras', 'timing', 'resize', 'inside', 'p50 ms', 'p95 ms', 'p99 ms', 'fps',
        'roofline ms', 'times roofline', 'GMAC', 'MB', 'W', 'ratio', 'to', 'notes',
    )  # fmt: skip
    lines: Table = [head]
    for row in rows:
        share = row.p50 / row.roofline_ms if row.p50 and row.roofline_ms else None
        lines.append((
            row.benchmark, row.network, row.backend, row.device, row.precision,
            size_text(row.input_size), size_text(row.image_size), str(row.batch),
            str(row.cameras) if row.cameras > 1 else '', row.timing,
            'yes' if row.resize else 'no', row.inside,
            *(_figure(row.latency_ms.get(name), '.2f') for name in ('p50', 'p95', 'p99')),
            _figure(row.fps, '.1f'), _figure(row.roofline_ms, '.2f'), _figure(share, '.2f'),
            _figure(row.gmac, '.1f'), _figure(row.memory_mb, '.0f'), _figure(row.power_w, '.0f'),
            _figure(row.ratio, '.3f'), row.baseline if row.ratio is not None else '', row.notes,
        ))  # fmt: skip
    return _without_empty_columns(lines)


def branch_table(branches: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of the branches, which :func:`.branch_times.branch_rows` returns."""
    lines: Table = [('network', 'input', 'precision', 'branch', 'ms', 'roofline ms', 'GMAC', 'MB')]
    lines += [
        (
            b['network'], size_text(b['input_size']), b['precision'], b['branch'],
            _figure(b['ms'], '.2f'), _figure(b['roofline_ms'], '.2f'), _figure(b['gmac'], '.2f'),
            _figure(b['megabytes'], '.1f'),
        )
        for b in branches
    ]  # fmt: skip
    return lines


def machine_line(found: Mapping[str, Any]) -> str:
    """Return one line that describes a result's machine and its measured peak."""
    machine, peak = found['machine'], found.get('peak') or {}
    parts = [f'{key} {value}' for key, value in machine.items() if value is not None]
    if peak:
        parts += [
            f'peak {name} {tera:.3g} TFLOP/s' for name, tera in peak['tflops'].items() if tera
        ]
        parts.append(f'copy {peak["copy_gb_s"]:.3g} GB/s')
    return '; '.join(parts) + '.'


def _without_empty_columns(lines: Table) -> Table:
    columns = [column for column in zip(*lines) if any(column[1:]) or len(lines) == 1]
    return list(zip(*columns))


def _figure(value: float | None, form: str) -> str:
    return '' if value is None else number(value, form)


def latency_plot(rows: Sequence[BenchmarkRow]) -> Plot:
    """
    Draw the median latency of each row of :func:`plotted` as a bar, grouped by image size.

    A line across a bar marks the roofline.
    """
    timed = sorted(plotted(rows), key=lambda row: (*row.image_size, row.p50))
    groups = [(size, list(found)) for size, found in groupby(timed, lambda r: tuple(r.image_size))]
    drawing, axes = panel(0.27 * (len(timed) + len(groups)) + 1.0)
    axes.grid(visible=False, axis='y')
    kinds = list(dict.fromkeys(row.benchmark for row in timed))
    names: dict[float, str] = {}
    y = 0
    for size, found in groups:
        names[y] = size_text(size)
        for row in found:
            y += 1
            median = row.p50 or 0
            roofline = row.roofline_ms or 0
            axes.barh(y, median, 0.7, color=COLORS[kinds.index(row.benchmark) % len(COLORS)])
            if roofline:
                axes.plot((roofline, roofline), (y - 0.45, y + 0.45), color=INK, lw=2)
            axes.text(max(median, roofline), y, _short(median), va='center', fontsize=8)
            names[y] = _name(row)
        y += 1
    for i, kind in enumerate(kinds):
        axes.bar(0, 0, color=COLORS[i % len(COLORS)], label=kind.replace('_', ' '))
    if any(row.roofline_ms for row in timed):
        axes.plot([], [], color=INK, lw=2, label='roofline')
    axes.set_yticks([*names], [literal(name) for name in names.values()], fontsize=8)
    axes.tick_params(axis='y', length=0)
    axes.set(xlabel='median latency, milliseconds', ylim=(y - 0.4, -0.6))
    axes.margins(x=0.1)
    shortest = min(min(row.p50 or 0, row.roofline_ms or row.p50 or 0) for row in timed)
    if max(row.p50 or 0 for row in timed) > WIDE * shortest:
        logarithmic(axes)
        axes.set_xlim(left=shortest / 2)
    else:
        axes.set_xlim(left=0)
    drawing.legend(loc='outside upper center', ncol=5, frameon=False)
    return drawing


def _short(milliseconds: float) -> str:
    return f' {milliseconds:.0f}' if milliseconds >= 100 else f' {milliseconds:.3g}'


def plotted(rows: Sequence[BenchmarkRow]) -> list[BenchmarkRow]:
    """Return the rows that have a latency, except those whose latency is a difference of two."""
    return [row for row in rows if row.benchmark not in ('overlay', 'node') and (row.p50 or 0) > 0]


def _name(row: BenchmarkRow) -> str:
    """Return the name beside a row's bar."""
    parts = [row.network, row.backend, row.precision]
    if row.batch > 1:
        parts.append(f'batch {row.batch}')
    if row.cameras > 1:
        parts.append(f'{row.cameras} cameras')
    if row.benchmark not in ('engine', 'baseline'):
        parts += [row.inside, row.notes]
    return shorten(', '.join(filter(None, parts)), NAME, placeholder='…')


def write_plot(path: str | Path, found: Mapping[str, Any]) -> None:
    """
    Write the plot of a deadline benchmark, or else of the latencies, as a picture.

    :param path: the file, whose suffix says the picture's format.
    :param found: a result, as :func:`seg_ros.benchmark.rows.read` returns it.
    :raises ValueError: no row has a latency, or the suffix is not that of a picture.
    """
    if deadlines := found.get('deadlines'):
        drawing = deadline_plot(deadlines)
    elif plotted(found['results']):
        drawing = latency_plot(found['results'])
    else:
        raise ValueError('expected rows with a latency to plot; found none')
    drawing.savefig(path, dpi=120)


def write_benchmark_report(path: str | Path, found: Mapping[str, Any]) -> None:
    """
    Write a result as one HTML page.

    :param found: a result, as :func:`seg_ros.benchmark.rows.read` returns it.
    :raises OSError: the page cannot be written.
    """
    rows: Sequence[BenchmarkRow] = found['results']
    sections = []
    if deadlines := found.get('deadlines'):
        figure = plot(deadline_plot(deadlines), 'ages of the masks over time')
        sections.append(Section('Which masks came in time?', figures=[figure]))
    elif plotted(rows):
        text = 'Across each bar stands what the machine could do at its measured peak.'
        figure = plot(latency_plot(rows), 'median latencies')
        sections.append(Section('How long does it take?', text, [figure]))
    sections.append(table_section('All figures', table(rows)))
    if branches := found.get('branches'):
        sections.append(table_section('Where does it go?', branch_table(branches)))
    sections.append(Section('The machine', machine_line(found)))
    write_report(path, 'Benchmark', found['command'], [], sections)
