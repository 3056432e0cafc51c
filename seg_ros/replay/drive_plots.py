# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of drives: a camera's scores over time, and the scores of several drives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import warnings

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure as Plot
from matplotlib.ticker import PercentFormatter
import numpy as np
from numpy.typing import NDArray

from ..images.labels import LabelSet
from ..reports.plots import canvas, FAINT, fractions, INK, LINE, literal, name_rows, plain
from .drive_scores import CameraScores, Stretch

POINTS = 600
"""The most points of a line; with more frames, each point stands for several of them."""

SINGLE = 200
"""The most points of a line that are also drawn as dots."""

CLASSES = 24
"""The most classes that a plot over time names; the others are drawn as one area."""

MEASURES = {'miou': 'mean IoU', 'confidence': 'confidence', 'flicker': 'flicker'}
COLORS = {'miou': '#1a7f37', 'confidence': '#0b57d0', 'flicker': '#bc4c00', 'ms': '#6e40c9'}
FORMS = {'miou': '.3f', 'confidence': '.3f', 'flicker': '.1%', 'ms': '.1f'}

Array = NDArray[np.float64]


def frames_a_point(frames: int) -> int:
    """Return how many of a camera's ``frames`` one point of a line over time stands for."""
    return max(1, -(-frames // POINTS))


def thinned(values: Array, size: int) -> tuple[Array, Array, Array]:
    """Return mean, minimum and maximum of each ``size`` successive values; nan if all are nan."""
    padded = np.full(-(-len(values) // size) * size, np.nan)
    padded[: len(values)] = values
    bins = padded.reshape(-1, size)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # NumPy warns of bins that are all nan
        return np.nanmean(bins, 1), np.nanmin(bins, 1), np.nanmax(bins, 1)


def timeline_plot(camera: CameraScores, stretches: Sequence[Stretch], prefix: str) -> Plot:
    """
    Draw a drive's mIoU, confidence, flicker and latency over time, one plot below the other.

    :param stretches: stretches of low confidence to shade; their anchors are
        ``PREFIX-stretch-N``.
    :param prefix: the prefix of all anchors. The worst frames' markers have the anchors
        ``PREFIX-MEASURE-N-time`` and link to ``PREFIX-MEASURE-N``.
    """
    seconds = camera.seconds()
    values = {'miou': camera.miou, 'confidence': camera.confidence, 'flicker': camera.flicker}
    rows: dict[str, Array] = {
        name: np.array(scores) for name, scores in values.items() if not np.isnan(scores).all()
    }
    rows['ms'] = np.array(camera.latency_ms)
    drawing = canvas(9, 1.55 * len(rows) + 0.3)
    panels = drawing.subplots(len(rows), sharex=True, squeeze=False)[:, 0]
    for axes, (name, scores) in zip(panels, rows.items()):
        _line(axes, seconds, scores, COLORS[name])
        if name == 'ms':
            # Limit the axis, so that one slow frame does not hide how the others differ.
            top = min(scores.max(), 4 * np.percentile(scores, 95))
            axes.set_ylim(0, 1.1 * top or 1)
        elif name == 'flicker':
            axes.set_ylim(0, None)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        extent = {
            'lowest': np.nanmin(scores), 'mean': np.nanmean(scores), 'highest': np.nanmax(scores),
        }  # fmt: skip
        summary = ', '.join(f'{text} {value:{FORMS[name]}}' for text, value in extent.items())
        axes.set_title(MEASURES.get(name, 'milliseconds a frame'), loc='left', fontsize=10)
        axes.set_title(summary, loc='right', fontsize=9, color=FAINT)
        axes.margins(x=0.01)
        for n, stretch in enumerate(stretches, 1):
            axes.axvspan(
                seconds[stretch.first], seconds[stretch.last], color='#f5b942', alpha=0.35, lw=0.8,
                gid=f'{prefix}-stretch-{n}' if name == 'confidence' else None,
            )  # fmt: skip
        if name in MEASURES:
            _markers(axes, camera, name, seconds, prefix)
    if len(seconds) == 1:
        panels[-1].set_xlim(-0.5, 0.5)
    panels[-1].set_xlabel('seconds')
    return drawing


def _line(axes: Axes, seconds: Array, scores: Array, color: str) -> None:
    """Draw scores as a line; if a point is several frames, with a band from lowest to highest."""
    plain(axes)
    known = ~np.isnan(scores)
    seconds, scores = seconds[known], scores[known]
    size = frames_a_point(len(scores))
    mean, low, high = thinned(scores, size)
    times = seconds if size == 1 else thinned(seconds, size)[0]
    if size > 1:
        axes.fill_between(times, low, high, color=color, alpha=0.3, lw=0)
    axes.plot(times, mean, color=color, lw=1.2, marker='.', ms=4 if len(mean) <= SINGLE else 0)


def _markers(axes: Axes, camera: CameraScores, measure: str, seconds: Array, prefix: str) -> None:
    for n, frame in enumerate(camera.worst(measure), 1):
        anchor = f'{prefix}-{measure}-{n}'
        place = (seconds[frame.place], frame.value)
        axes.plot(
            *place, 'o', ms=12, color='white', mec=INK, mew=1.2, clip_on=False, zorder=5,
            gid=f'{anchor}-time', url=f'#{anchor}',
        )  # fmt: skip
        axes.text(
            *place, str(n), fontsize=8.5, fontweight='bold', ha='center', va='center_baseline',
            color=INK, zorder=6, url=f'#{anchor}',
        )  # fmt: skip


def in_view(camera: CameraScores) -> list[int]:
    """
    Return the class ids that occur in a camera's frames, the largest mean share first.

    Unlabeled pixels count as one more class, whose id is the number of classes.
    """
    mean = np.mean(camera.shares, 0)
    return [int(i) for i in np.argsort(-mean, kind='stable') if mean[i] > 0]


def share_plot(camera: CameraScores, labels: LabelSet) -> Plot:
    """
    Draw which share of the image each class takes over time.

    The upper plot stacks the classes as areas. The lower one has a row for each class, with a
    logarithmic scale that shows small classes, too.
    """
    shares = np.array(camera.shares, np.float64)
    names = [*labels.names, 'unlabeled']
    colors = [*fractions(labels.palette), (0.0, 0.0, 0.0)]
    mean, seen = shares.mean(0), in_view(camera)
    rows, rest = sorted(seen[:CLASSES]), seen[CLASSES:]
    # Half as many points as a line has, as each area has two edges.
    size = max(1, -(-len(shares) // (POINTS // 2)))
    seconds, starts = camera.seconds(), range(0, len(shares), size)
    thin = np.array([shares[i : i + size].mean(0) for i in starts])
    times = np.array([seconds[i : i + size].mean() for i in starts])
    areas = [thin[:, i] for i in rows] + ([thin[:, rest].sum(1)] if rest else [])
    height = 0.2 * len(rows)
    drawing = canvas(9, 2.6 + height + 0.6)
    above, below = drawing.subplots(2, sharex=True, gridspec_kw={'height_ratios': (2.6, height)})
    if len(times) == 1:  # an area needs two points in time
        times, areas = times[0] + np.array([-0.5, 0.5]), [np.repeat(a, 2) for a in areas]
    above.stackplot(times, areas, colors=[*(colors[i] for i in rows), '#bbbbbb'][: len(areas)])
    above.set(ylim=(0, 1), xlim=(times[0], times[-1]) if times[-1] > times[0] else None)
    above.yaxis.set_major_formatter(PercentFormatter(1))
    above.tick_params(labelbottom=False)
    above.set_ylabel('of the picture')
    middles = (times[1:] + times[:-1]) / 2
    edges = np.array([times[0], *middles, times[-1]]) if len(thin) > 1 else times
    cells = np.where(thin[:, rows] > 0, thin[:, rows], np.nan).T
    below.pcolormesh(
        edges,
        np.arange(len(rows) + 1),
        cells,
        norm=LogNorm(1e-4, 1),
        cmap='Blues',
        rasterized=True,
    )
    below.invert_yaxis()
    below.set_yticks(np.arange(len(rows)) + 0.5, [literal(names[i]) for i in rows], fontsize=9)
    below.tick_params(left=False, pad=11)
    below.tick_params(axis='x', pad=3)
    below.set_xlabel('seconds')
    for y, i in enumerate(rows):
        below.plot(
            -0.012, y + 0.5, 's', color=colors[i], ms=6.5, mec=INK, mew=0.4, clip_on=False,
            transform=below.get_yaxis_transform(),
        )  # fmt: skip
        below.text(
            1.01, y + 0.5, f'{mean[i]:.2%}', transform=below.get_yaxis_transform(),
            fontsize=9, va='center',
        )  # fmt: skip
    return drawing


def fleet_plot(names: Sequence[str], results: Sequence[Mapping[str, float | None]]) -> Plot:
    """
    Draw each drive's scores as dots, one row for each drive.

    :param names: the drives' names.
    :param results: each drive's ``miou``, ``confidence``, ``flicker`` and ``p50`` (ms); None
        where one was not measured.
    """
    shown = [m for m in (*MEASURES, 'p50') if any(r[m] is not None for r in results)]
    drawing = canvas(9, 0.25 * len(names) + 0.9)
    panels = drawing.subplots(1, max(1, len(shown)), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, shown):
        plain(axes)
        axes.grid(axis='y', color=LINE, lw=0.6)
        color = COLORS['ms' if measure == 'p50' else measure]
        values = [np.nan if (v := r[measure]) is None else v for r in results]
        axes.plot(values, range(len(names)), 'o', color=color, ms=6)
        axes.axvline(np.nanmedian(values), color=color, lw=1, dashes=(4, 2))
        axes.set_title(MEASURES.get(measure, 'median ms a frame'), loc='left', fontsize=10)
        axes.tick_params(left=False)
        if measure == 'flicker':
            axes.xaxis.set_major_formatter(PercentFormatter(1))
    name_rows(panels[0], names)
    return drawing
