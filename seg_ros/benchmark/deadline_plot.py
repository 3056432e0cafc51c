# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The plot of a deadline benchmark: which masks came in time under a load that comes and goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure as Plot

from ..reports.plots import canvas, COLORS, INK, LINE, plain, WRONG

LATEST = 4.0
"""The most deadlines that the axis of ages is long; later masks are drawn at its end."""


def deadline_plot(benchmarks: Sequence[Mapping[str, Any]]) -> Plot:
    """
    Draw the age of each mask over the time when its image was sent.

    A mask's colour is that of the operating point that made it. The times under load are shaded,
    the deadline is a dashed line, and crosses are images without a mask.

    :param benchmarks: results of :meth:`.live.deadline_benchmark.DeadlineBenchmark.result`; each
        of their runs has one panel.
    """
    panels = [(benchmark, run) for benchmark in benchmarks for run in benchmark['runs']]
    drawing = canvas(9, 2.6 * len(panels) + 0.5)
    several = drawing.subplots(len(panels), squeeze=False)[:, 0]
    names = dict.fromkeys(name for _, run in panels for name in run['rungs'])
    styles = {name: ('.', COLORS[i % len(COLORS)]) for i, name in enumerate(names)}
    styles[''] = 'x', WRONG
    for axes, (benchmark, run) in zip(several, panels):
        plain(axes)
        deadline = benchmark['deadline_ms']
        ages = [age for _, age, _ in run['frames'] if age is not None]
        end = min(max(1.1 * max(ages, default=0), 1.2 * deadline), LATEST * deadline)
        for begin, over in run['loaded']:
            axes.axvspan(begin, over, color=LINE, alpha=0.6, lw=0)
        axes.axhline(deadline, color=INK, lw=1.2, dashes=(4, 2))
        for name, (marker, color) in styles.items():
            own = [(t, min(age or 0, end)) for t, age, point in run['frames'] if point == name]
            if own:
                axes.plot(*zip(*own), marker, color=color, ms=5, clip_on=False)
        axes.set(ylabel='age, ms', ylim=(0, end))
        share = f'{run["in_time_of_sent"]:.1%} of {len(run["frames"])} images answered within'
        axes.set_title(f'{run["name"]}: {share} {deadline} ms', loc='left', fontsize=10)
    several[-1].set_xlabel('seconds since the first image')
    for name, (marker, color) in styles.items():
        several[0].plot([], [], marker, color=color, ms=7, label=name or 'no mask')
    several[0].plot([], [], color=INK, lw=1.2, dashes=(4, 2), label='deadline')
    several[0].axvspan(0, 0, color=LINE, alpha=0.6, lw=0, label='under load')
    drawing.legend(loc='outside upper center', ncol=len(styles) + 2, frameon=False)
    return drawing
