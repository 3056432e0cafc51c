# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plots that several reports share, and the style of all plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import io
from math import isnan

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Plot
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
import numpy as np
from numpy.typing import NDArray

from ..images.labels import LabelSet, Palette

READABLE = 24
"""The largest number of classes for which a confusion matrix has room for figures in its cells."""

INK, FAINT, LINE, ACCENT, WRONG = '#1c2330', '#475467', '#d8dde6', '#0b57d0', '#b42318'
"""The colours of text, faint text, lines, emphasis and errors; the page's style has the same."""

COLORS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#000000', '#b8a900')
"""The colours of data series: Okabe and Ito's, which colour-blind people can tell apart."""


def canvas(width: float, height: float) -> Plot:
    """Return an empty plot of a size in inches; a width of 9 fills the page."""
    return Plot(figsize=(width, height), layout='constrained')


def panel(height: float) -> tuple[Plot, Axes]:
    """Return an empty plot as wide as the page, and its only axes, in the style of the reports."""
    drawing = canvas(9, height)
    axes = drawing.subplots()
    plain(axes)
    return drawing, axes


def plain(axes: Axes) -> None:
    """Remove the upper and right edges of a plot's frame, and add a faint grid behind the data."""
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(color=LINE, lw=0.6)
    axes.set_axisbelow(True)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write a name beside each row of a plot; row i is at y = i, and the first one is on top."""
    axes.set_yticks(range(len(names)), [literal(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)


def logarithmic(axes: Axes) -> None:
    """Make a plot's x axis logarithmic, with figures at 1, 2 and 5 times each power of ten."""
    axes.set_xscale('log')
    axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda x, _: f'{x:g}')
    axes.xaxis.set_minor_formatter(NullFormatter())


def literal(name: str) -> str:
    """Return a name escaped so that matplotlib takes no part of it for a formula."""
    return name.replace('$', r'\$')


def as_svg(drawing: Plot, salt: str, tight: bool = False) -> str:
    """
    Return a plot as an SVG file with its text as text; the same plot gives the same file.

    :param salt: becomes part of the ids in the file, so that plots of one page share no id.
    :param tight: whether to cut off the empty border.
    """
    buffer = io.StringIO()
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': salt}):
        drawing.savefig(
            buffer, format='svg', metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')),
            bbox_inches='tight' if tight else None,
        )  # fmt: skip
    return buffer.getvalue()


def fractions(palette: Palette) -> list[tuple[float, ...]]:
    """Return colours in matplotlib's form, each channel 0 to 1."""
    return [tuple(c / 255 for c in color) for color in palette]


def iou_plot(
    iou: Mapping[str, float], labels: LabelSet, boundary: Mapping[str, float] | None = None
) -> Plot:
    """
    Draw the IoU of each class as a bar.

    :param iou: IoU of each class.
    :param labels: the classes, for their colours.
    :param boundary: boundary F-score of each class, drawn as a dot.
    """
    drawing, axes = panel(0.3 * len(iou) + 0.8)
    axes.grid(visible=False, axis='y')
    axes.barh(
        range(len(iou)), np.nan_to_num([*iou.values()]), 0.72,
        color=fractions(labels.palette), edgecolor='#0006', lw=0.8,
    )  # fmt: skip
    columns = [(1.06, 'IoU', iou)]
    if boundary:
        axes.plot(list(boundary.values()), range(len(iou)), 'o', color='white', mec=INK, ms=5)
        columns.append((1.13, 'F', boundary))
    for x, heading, scores in columns:
        axes.text(x, -1, heading, ha='right', va='center', color=FAINT)
        for y, score in enumerate(scores.values()):
            text = '–' if isnan(score) else f'{score:.2f}'
            axes.text(x, y, text, ha='right', va='center')
    axes.set_xlim(0, 1)
    name_rows(axes, list(iou))
    return drawing


def confusion_plot(counts: NDArray[np.int64], labels: LabelSet) -> Plot:
    """
    Draw a confusion matrix: the share of each true class's pixels in each predicted class.

    :param counts: int64 (C, C + 1), see :class:`ConfusionMatrix`.
    """
    classes = len(labels)
    totals = counts.sum(1, keepdims=True)
    shares = counts[:, :classes] / np.where(totals == 0, np.nan, totals)
    readable = classes <= READABLE
    side = max(5.0, (0.45 if readable else 0.16) * classes)
    drawing = canvas(side + 1.5, side)
    axes = drawing.subplots()
    # With many classes, cells drawn as vectors would make the page slow.
    mesh = axes.pcolormesh(shares, cmap='Blues', vmin=0, vmax=1, rasterized=not readable)
    axes.set_facecolor('#e3e7ee')
    axes.set(xlabel='predicted', ylabel='ground truth', aspect='equal')
    axes.invert_yaxis()
    places = np.arange(classes) + 0.5
    size = 9 if readable else 6
    names = [literal(name) for name in labels.names]
    axes.set_xticks(places, names, rotation=90, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    if readable:
        for (y, x), share in np.ndenumerate(shares):
            if share >= 0.005:
                axes.text(
                    x + 0.5, y + 0.5, f'{100 * share:.0f}', fontsize=8, ha='center', va='center',
                    color='white' if share > 0.6 else INK,
                )  # fmt: skip
    drawing.colorbar(mesh, shrink=0.6, format=lambda share, _: f'{share:.0%}')
    return drawing


def latency_plot(milliseconds: Sequence[float], marked: Mapping[str, float]) -> Plot:
    """
    Draw a histogram of the latencies of frames.

    The last bar also counts all latencies above twice the highest marked value.

    :param milliseconds: the latency of each frame.
    :param marked: the values to mark, by name.
    """
    values = np.asarray(milliseconds, float)
    end = min(values.max(), 2 * max(marked.values()))
    start = min(values.min(), end)
    if end - start < 1e-9:
        start, end = start - 0.5, end + 0.5
    drawing, axes = panel(2.8)
    axes.grid(visible=False, axis='x')
    bins = np.linspace(start, end, 1 + min(60, max(10, round(2 * len(values) ** 0.5))))
    axes.hist(
        np.clip(values, start, end), bins.tolist(), color='#8db4f2', edgecolor='white', lw=0.5
    )
    axes.set(xlabel='milliseconds a frame', ylabel='frames', xlim=(start, end))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    for height, (name, value) in zip((1.02, 1.1, 1.18), marked.items()):
        axes.axvline(value, color=INK, lw=1.2, dashes=(4, 2))
        axes.text(
            value, height, f'{name} {value:.1f} ms', transform=axes.get_xaxis_transform(),
            ha='center', va='bottom',
        )  # fmt: skip
    return drawing
