# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The plots and the table of a running node's report: masks' age, rate and gaps."""

from __future__ import annotations

from matplotlib.figure import Figure as Plot
import numpy as np
from numpy.typing import NDArray

from ...reports.plots import ACCENT, FAINT, panel, WRONG

POINTS = 3000
"""A plot of more points holds them as pixels, as so many vectors would make the page slow."""

BINS = 120
"""The most steps of the plot of the rate."""

Times = NDArray[np.int64]


def age_plot(played: Times, age_ms: NDArray[np.float64]) -> Plot:
    """
    Draw the age of each mask over the time when its image was played.

    :param played: when each image was played, in nanoseconds.
    :param age_ms: the age of each image's mask in milliseconds; nan if no mask came.
    """
    drawing, axes = panel(2.8)
    seconds = (played - played[0]) / 1e9
    many = len(played) > POINTS
    dropped = np.isnan(age_ms)
    axes.plot(
        seconds[~dropped], age_ms[~dropped], '.-', color=ACCENT, lw=0.5, ms=4, rasterized=many
    )
    missed = seconds[dropped]
    axes.set(xlabel='seconds since the first image', ylabel='age, ms', ylim=(0, None))
    if len(missed):
        label = f'{len(missed)} dropped'
        axes.plot(
            missed, np.zeros(len(missed)), 'x', color=WRONG, ms=5, label=label, rasterized=many,
            clip_on=False,
        )  # fmt: skip
        axes.legend(loc='lower right', bbox_to_anchor=(1, 1), frameon=False)
    return drawing


def rate_plot(played: Times, received: Times) -> Plot:
    """
    Draw how many images were played and how many masks came per second.

    :param played: when each image was played, in nanoseconds.
    :param received: when each image's mask came, in nanoseconds; 0 if none came.
    """
    drawing, axes = panel(2.4)
    seconds = (played - played[0]) / 1e9
    # Each step must hold several images, or the plot would show the steps, not the rate.
    steps = min(BINS, max(1, len(played) // 5))
    edges = np.linspace(0, max(seconds[-1], 1e-3) * (1 + 1e-9), steps + 1)
    for chosen, name, color in (
        (np.ones(len(played), bool), 'images played', FAINT),
        (received > 0, 'of these with a mask', ACCENT),
    ):
        counts, _ = np.histogram(seconds[chosen], edges)
        axes.stairs(counts / np.diff(edges), edges, label=name, color=color, baseline=None, lw=1.5)
    axes.set(xlabel='seconds since the first image', ylabel='a second', ylim=(0, None))
    axes.legend(loc='lower right', bbox_to_anchor=(1, 1), frameon=False, ncols=2)
    return drawing


def longest_gaps(
    played: Times, received: Times, begin: Times, end: Times, count: int
) -> list[tuple[str, ...]]:
    """
    Return the longest times without a mask as the rows of a table, the longest first.

    :param played: when each image was played, in nanoseconds.
    :param received: when each image's mask came, in nanoseconds; 0 if none came.
    :param begin: when each gap began, in nanoseconds.
    :param end: when each gap ended, in nanoseconds.
    :param count: the most rows to return.
    :returns: each gap's begin after the first image, its length, and the images dropped in it.
    """
    rows: list[tuple[str, ...]] = []
    for i in np.argsort(begin - end, kind='stable')[:count]:
        dropped = (played >= begin[i]) & (played <= end[i]) & (received == 0)
        rows.append(
            (
                f'{(begin[i] - played[0]) / 1e9:.1f} s',
                f'{(end[i] - begin[i]) / 1e6:.0f} ms',
                f'{dropped.sum()}',
            )
        )
    return rows
