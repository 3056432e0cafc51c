# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A network at several depths, of which each frame gets the deepest that is done in time.

How long a depth will take is what it took at the start, on an idle machine, times a load that all
share. The load is the highest of the last twenty frames: it rises with the first frame that takes
longer, and a point that takes too long every time it is tried costs one frame in twenty. It falls
as soon as five frames say so, which takes half a second of a camera at 10 Hz.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from math import inf, prod
from time import perf_counter
from typing import NamedTuple

import numpy as np

from ..models.cascade import Cascade, EXITS
from .backends.cache import Report
from .backends.torch_engine import TorchEngine
from .checkpoint import Checkpoint
from .segmenter import Segmenter

SCALES = (0.75, 0.5)
"""Input sizes below the first, of networks without exits."""

STEP = 32
"""Input sizes are multiples of this, and one more where a network aligns corners."""

ROUNDS, ROUNDS_SECONDS = 5, 1.5
"""How often, and for how long, points are timed at the start, at least. The best counts, as a
disturbance only adds."""

MEMORY, CALM = 20, 5
"""Frames by which the load is known, and how many tell that it is gone."""

FALL = 2.0
"""Times by which frames of an operating point must get faster for a load to be gone."""

MARGIN = 1.1
"""Of the expected time, as a frame may take longer than twenty before it."""

SHOWN = 100
"""Frames that :meth:`Scheduler.shares` is of."""

SHORTEST = 1e-6
"""Seconds that anything takes."""


class OperatingPoint(NamedTuple):
    """
    One depth of a network.

    :param name: an exit, such as ``sub24``, or an input size, such as ``640x480``.
    :param seconds: of a prediction on an idle machine; 0 is not known, which does for a point
        that is alone.
    """

    name: str
    segmenter: Segmenter
    seconds: float = 0.0


class Scheduler:
    """
    Operating points, and what is known of the time that each will take.

    One thread at a time calls :meth:`choose` and :meth:`observe`; any may call :meth:`shares`.

    :param points: the deepest first, the cheapest last.
    """

    def __init__(self, points: Sequence[OperatingPoint]) -> None:
        self.points = tuple(points)
        self._recent: list[tuple[OperatingPoint, float]] = []
        self._around: float | None = None
        self._answered: deque[str] = deque(maxlen=SHOWN)

    def choose(self, left: float) -> OperatingPoint:
        """
        Return the deepest point that is expected to be done in time, else the last.

        :param left: seconds from now.
        """
        load = max((self._slowdown(*frame) for frame in self._recent), default=1.0)
        for point in self.points:
            if MARGIN * load * self._idle(point) <= left:
                break
        return point

    def observe(self, point: OperatingPoint, seconds: float) -> None:
        """Learn how long a frame took, from the choice of its point until its mask was out."""
        around = max(0.0, seconds - point.seconds)
        self._around = around if self._around is None else min(self._around, around)
        self._answered.append(point.name)
        self._recent = [*self._recent, (point, seconds)][-MEMORY:]
        last, before = self._recent[-CALM:], self._recent[:-CALM]
        highest = max(self._slowdown(*frame) for frame in last)
        used = {name for (name, *_), _ in last}
        # Only frames of the same point tell: a load may be one that short ones do not feel.
        if any(old.name in used and self._slowdown(old, t) >= FALL * highest for old, t in before):
            self._recent = last

    def shares(self) -> dict[str, float]:
        """Return the share of each point, the deepest first, in the last frames; 0 before any."""
        answered = Counter(self._answered.copy())
        total = max(1, sum(answered.values()))
        return {point.name: answered[point.name] / total for point in self.points}

    def _idle(self, point: OperatingPoint) -> float:
        """Return the seconds of a frame on an idle machine, with what is around the network."""
        return max(SHORTEST, point.seconds + (self._around or 0.0))

    def _slowdown(self, point: OperatingPoint, seconds: float) -> float:
        return seconds / self._idle(point)


def make_scheduler(
    segmenter: Segmenter, sizes: Sequence[tuple[int, int]], report: Report
) -> Scheduler:
    """
    Return a scheduler whose deepest point a segmenter is, all points warmed up and timed.

    An ICNet has the exits below its own as further points, any other network smaller input sizes.
    Each has an engine of the same device, backend and precision. The weights are shared where
    PyTorch runs them; other libraries keep their own.

    :param sizes: (height, width) of the images to come, one a camera.
    :param report: told what takes long, and at the end what each operating point takes.
    :raises EngineError: an engine cannot be built.
    """
    below = {
        name: Segmenter(
            checkpoint,
            input_height=height,
            input_width=width,
            device=segmenter.device,
            backend=segmenter.backend,
            precision=segmenter.precision,
            report=report,
        )
        for name, checkpoint, (height, width) in _below(segmenter)
    }
    engine = segmenter.engine
    for other in below.values():
        if isinstance(engine, TorchEngine) and isinstance(other.engine, TorchEngine):
            other.engine.share_weights(engine)
    network = segmenter.checkpoint.network
    first = network.exit if isinstance(network, Cascade) else _name(segmenter.input_size)
    segmenters = {first: segmenter, **below}
    for each in segmenters.values():
        each.warm_up(sizes)
    times = dict.fromkeys(segmenters, inf)
    images = [np.zeros((*size, 3), np.uint8) for size in sizes or [segmenter.input_size]]
    together = images if segmenter.batched else [max(images, key=np.size)]
    start, rounds = perf_counter(), 0
    while rounds < ROUNDS or perf_counter() < start + ROUNDS_SECONDS:
        for name, each in segmenters.items():  # by turns, so that what disturbs one disturbs all
            begin = perf_counter()
            each.predict(together)
            times[name] = min(times[name], perf_counter() - begin)
        rounds += 1
    # Less is computed from point to point, so what seems slower was disturbed each time.
    seconds = dict(zip(times, accumulate(times.values(), min)))
    report(
        'operating points: '
        + ', '.join(f'{name} {1e3 * took:.1f} ms' for name, took in seconds.items())
    )
    return Scheduler(
        [OperatingPoint(name, each, seconds[name]) for name, each in segmenters.items()]
    )


def _below(segmenter: Segmenter) -> list[tuple[str, Checkpoint, tuple[int, int]]]:
    """Return name, checkpoint and input size of the points below the first, the deepest first."""
    checkpoint, size = segmenter.checkpoint, segmenter.input_size
    network = checkpoint.network
    if isinstance(network, Cascade):
        return [
            (
                name,
                replace(
                    checkpoint,
                    network=network.ending(name),
                    architecture={**checkpoint.architecture, 'exit': name},
                ),
                size,
            )
            for name in reversed(EXITS[: EXITS.index(network.exit)])
        ]
    smaller = dict.fromkeys(_scaled(size, scale, network.align_corners) for scale in SCALES)
    return [(_name(each), checkpoint, each) for each in smaller if prod(each) < prod(size)]


def _scaled(size: tuple[int, int], scale: float, align_corners: bool) -> tuple[int, int]:
    """Return the size nearest to a scaled one that loses nothing in the network's strides."""
    more = int(align_corners)
    height, width = (
        STEP * max(1, int(scale * (side - more) / STEP + 0.5)) + more for side in size
    )
    return height, width


def _name(size: tuple[int, int]) -> str:
    height, width = size
    return f'{width}x{height}'
