# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A scheduler that gives each frame the most accurate operating point that will be done in time.

The time that a point will take is predicted as its time on an idle machine, measured at the start,
multiplied by the machine's load, which is the same for all points. The load is the highest of the
last twenty frames. It thus rises with the first frame that takes longer, and a point that takes
too long whenever it is tried costs one frame in twenty. It falls as soon as five frames show that
it is lower, which takes half a second with a camera of 10 Hz.
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
"""The input sizes of the further operating points of networks without exits, relative to the
network's own."""

STEP = 32
"""Input sizes are a multiple of this, plus one for networks that align corners."""

ROUNDS, ROUNDS_SECONDS = 5, 1.5
"""The least number of times, and of seconds, that operating points are timed at the start. The
shortest time of each counts, since disturbances only make it longer."""

MEMORY, CALM = 20, 5
"""The number of frames that the load is taken from, and the number that can show it has fallen."""

FALL = 2.0
"""How many times faster an operating point's frames must have become for the load to have
fallen."""

MARGIN = 1.1
"""The factor on the expected time, as a frame may take longer than the twenty before it."""

SHOWN = 100
"""The number of frames that :meth:`Scheduler.shares` counts."""

SHORTEST = 1e-6
"""The least seconds that a frame is taken to need, so that no time is divided by zero."""


class OperatingPoint(NamedTuple):
    """
    One choice between accuracy and time: a network with one exit or one input size.

    :param name: the exit, such as ``sub24``, or the input size, such as ``640x480``.
    :param segmenter: predicts at this operating point.
    :param seconds: the seconds of a prediction on an idle machine; 0 if unknown, which is enough
        when there is only one point.
    """

    name: str
    segmenter: Segmenter
    seconds: float = 0.0


class Scheduler:
    """
    The choice of each frame's operating point, by the time that earlier frames took.

    Only one thread at a time may call :meth:`choose` and :meth:`observe`; any may call
    :meth:`shares`.

    :param points: the operating points, the most accurate first, the fastest last.
    """

    def __init__(self, points: Sequence[OperatingPoint]) -> None:
        self.points = tuple(points)
        self._recent: list[tuple[OperatingPoint, float]] = []
        self._around: float | None = None
        self._answered: deque[str] = deque(maxlen=SHOWN)

    def choose(self, left: float) -> OperatingPoint:
        """
        Return the most accurate point that is expected to be done in time, else the fastest.

        :param left: the seconds until the frame's deadline.
        """
        load = max((self._slowdown(*frame) for frame in self._recent), default=1.0)
        for point in self.points:
            if MARGIN * load * self._idle(point) <= left:
                break
        return point

    def observe(self, point: OperatingPoint, seconds: float) -> None:
        """
        Take note of the time of a frame.

        :param point: the frame's operating point.
        :param seconds: the time from the choice of the point until the mask was published.
        """
        around = max(0.0, seconds - point.seconds)
        self._around = around if self._around is None else min(self._around, around)
        self._answered.append(point.name)
        self._recent = [*self._recent, (point, seconds)][-MEMORY:]
        last, before = self._recent[-CALM:], self._recent[:-CALM]
        highest = max(self._slowdown(*frame) for frame in last)
        used = {name for (name, *_), _ in last}
        # Only frames of the same point are compared, as a load may not affect faster points.
        if any(old.name in used and self._slowdown(old, t) >= FALL * highest for old, t in before):
            self._recent = last

    def shares(self) -> dict[str, float]:
        """Return each point's share of the last :data:`SHOWN` frames, the most accurate first."""
        answered = Counter(self._answered.copy())
        total = max(1, sum(answered.values()))
        return {point.name: answered[point.name] / total for point in self.points}

    def _idle(self, point: OperatingPoint) -> float:
        """Return the seconds of a whole frame on an idle machine, with all around the network."""
        return max(SHORTEST, point.seconds + (self._around or 0.0))

    def _slowdown(self, point: OperatingPoint, seconds: float) -> float:
        return seconds / self._idle(point)


def make_scheduler(
    segmenter: Segmenter, sizes: Sequence[tuple[int, int]], report: Report
) -> Scheduler:
    """
    Return a scheduler whose most accurate point is a segmenter; warm up and time all points.

    The further points of an ICNet are the exits before its own; those of any other network are
    smaller input sizes. Each point has an engine of the same device, backend and precision. Points
    that PyTorch runs share their weights; other libraries keep a copy for each.

    :param sizes: (height, width) of the images that each camera sends.
    :param report: called with slow steps, and at the end with the time of each operating point.
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
        for name, each in segmenters.items():  # in turn, so that a disturbance affects all points
            begin = perf_counter()
            each.predict(together)
            times[name] = min(times[name], perf_counter() - begin)
        rounds += 1
    # Each point computes less than the one before. If it still took longer, it was disturbed every
    # time, and gets the time of the one before.
    seconds = dict(zip(times, accumulate(times.values(), min)))
    report(
        'operating points: '
        + ', '.join(f'{name} {1e3 * took:.1f} ms' for name, took in seconds.items())
    )
    return Scheduler(
        [OperatingPoint(name, each, seconds[name]) for name, each in segmenters.items()]
    )


def _below(segmenter: Segmenter) -> list[tuple[str, Checkpoint, tuple[int, int]]]:
    """Return name, checkpoint and input size of each further point, the most accurate first."""
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
    """Return the allowed input size (see :data:`STEP`) that is nearest to a scaled size."""
    more = int(align_corners)
    height, width = (
        STEP * max(1, int(scale * (side - more) / STEP + 0.5)) + more for side in size
    )
    return height, width


def _name(size: tuple[int, int]) -> str:
    height, width = size
    return f'{width}x{height}'
