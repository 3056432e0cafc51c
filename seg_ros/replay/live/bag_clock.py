# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When a bag's messages were played, as learnt from the recorded time on /clock."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW_SECONDS = 0.25
"""How far around a message, in real time, the clock is asked when it was played."""

Times = NDArray[np.int64]


class Played(NamedTuple):
    """
    What was played, in its order.

    :param places: int64 (N), which of the messages asked for.
    :param moments: int64 (N), real nanoseconds when each was due.
    """

    places: Times
    moments: Times


class BagClock:
    """
    Maps recorded to real time by the messages on /clock, which every player sends.

    Each of them arrives late by what transport and a busy receiver take, so the least delayed one
    near a message says when that was due. The clock may begin late, run at any rate, stand still,
    and start over: that is a new round. A day of it takes 60 MB.
    """

    def __init__(self) -> None:
        self._recorded = array('q')
        self._arrived = array('q')
        self._starts: list[int] = []

    def tick(self, recorded: int, arrived: int) -> None:
        """Take one message: the time that it holds and when it arrived, in nanoseconds."""
        if not self._starts or recorded < self._recorded[-1]:
            self._starts.append(len(self._recorded))
        elif recorded == self._recorded[-1]:  # it waits, and goes on from the latest
            self._arrived[-1] = arrived
            return
        self._recorded.append(recorded)
        self._arrived.append(arrived)

    @property
    def rounds(self) -> int:
        """Return how many times the clock has begun."""
        return len(self._starts)

    def played(self, recorded: Sequence[int]) -> Played:
        """
        Return which messages were played while the clock was heard, and when.

        :param recorded: when each was recorded, in nanoseconds, in any order.
        """
        times = np.asarray(recorded, np.int64)
        ends = [*self._starts[1:], len(self._recorded)]
        rounds = [
            _played(
                times,
                np.array(self._recorded[start:end], np.int64),
                np.array(self._arrived[start:end], np.int64),
            )
            for start, end in zip(self._starts, ends)
        ]
        empty = np.zeros(0, np.int64)
        return Played(
            np.concatenate([empty, *(places for places, _ in rounds)]),
            np.concatenate([empty, *(moments for _, moments in rounds)]),
        )


def _played(times: Times, recorded: Times, arrived: Times) -> Played:
    """Return what was played in one round of the clock, whose messages are given."""
    rate = _rate(recorded, arrived)
    # What lies within one step before the first message, or after the last, was played, too.
    step = np.median(np.diff(recorded)) if len(recorded) > 1 else 0
    places = np.flatnonzero((times >= recorded[0] - step) & (times <= recorded[-1] + step))
    places = places[np.argsort(times[places], kind='stable')]
    wanted = times[places]
    # From the round's begin on, as floats do not hold nanoseconds since 1970.
    delays = (arrived - arrived[0]) - (recorded - recorded[0]) / rate
    window = round(rate * WINDOW_SECONDS * 1e9)
    at = np.searchsorted(recorded, wanted)
    # A slow clock has its nearest two messages outside of the window.
    first = np.minimum(np.searchsorted(recorded, wanted - window), np.maximum(at - 1, 0))
    last = np.maximum(np.searchsorted(recorded, wanted + window, 'right'), at + 1)
    least = np.array([delays[i:j].min() for i, j in zip(first, last)])
    moments = arrived[0] + np.rint((wanted - recorded[0]) / rate + least).astype(np.int64)
    return Played(places, moments)


def _rate(recorded: Times, arrived: Times) -> float:
    """Return how many times faster than recorded: the median over pairs half a round apart."""
    half = len(recorded) // 2
    if not half:
        return 1.0
    real = arrived[half:] - arrived[:-half]
    bag = recorded[half:] - recorded[:-half]
    return float(np.median(bag[real > 0] / real[real > 0])) if (real > 0).any() else 1.0
