# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Finding out from the recorded time on /clock when a bag's messages were played."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW_SECONDS = 0.25
"""Clock messages up to this much real time before or after a message tell when it was played."""

Times = NDArray[np.int64]


class Played(NamedTuple):
    """
    The messages that were played, in the order in which they were.

    :param places: int64 (N), the messages' indices among those asked for.
    :param times: int64 (N), the real time in nanoseconds when each message was due.
    """

    places: Times
    times: Times


class BagClock:
    """
    Maps recorded time to real time by the messages on /clock, which every player sends.

    Transport and a busy receiver delay each clock message, so the least delayed one near an image
    tells when that image was due. The clock may begin late, run at any rate, stand still, and
    start over, which begins a new round. The clock messages of a day take 60 MB.
    """

    def __init__(self) -> None:
        self._recorded = array('q')
        self._arrived = array('q')
        self._starts: list[int] = []

    def tick(self, recorded: int, arrived: int) -> None:
        """Add a clock message: the recorded time that it holds and its arrival, in nanoseconds."""
        if not self._starts or recorded < self._recorded[-1]:
            self._starts.append(len(self._recorded))
        elif recorded == self._recorded[-1]:  # the clock stands still: keep its last arrival
            self._arrived[-1] = arrived
            return
        self._recorded.append(recorded)
        self._arrived.append(arrived)

    @property
    def rounds(self) -> int:
        """Return how many times the clock has started."""
        return len(self._starts)

    def played(self, recorded: Sequence[int]) -> Played:
        """
        Return which messages were played while the clock was heard, and when.

        :param recorded: the messages' recording times in nanoseconds, in any order.
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
            np.concatenate([empty, *(times for _, times in rounds)]),
        )


def _played(times: Times, recorded: Times, arrived: Times) -> Played:
    """Return what was played in one round of the clock, given that round's clock messages."""
    rate = _rate(recorded, arrived)
    # Messages up to one clock step before the first tick or after the last were played, too.
    step = np.median(np.diff(recorded)) if len(recorded) > 1 else 0
    places = np.flatnonzero((times >= recorded[0] - step) & (times <= recorded[-1] + step))
    places = places[np.argsort(times[places], kind='stable')]
    wanted = times[places]
    # Relative to the round's start, as a float cannot hold nanoseconds since 1970 exactly.
    delays = (arrived - arrived[0]) - (recorded - recorded[0]) / rate
    window = round(rate * WINDOW_SECONDS * 1e9)
    at = np.searchsorted(recorded, wanted)
    # If the clock is slow, the window may hold none: then take the ticks before and after.
    first = np.minimum(np.searchsorted(recorded, wanted - window), np.maximum(at - 1, 0))
    last = np.maximum(np.searchsorted(recorded, wanted + window, 'right'), at + 1)
    least = np.array([delays[i:j].min() for i, j in zip(first, last)])
    played = arrived[0] + np.rint((wanted - recorded[0]) / rate + least).astype(np.int64)
    return Played(places, played)


def _rate(recorded: Times, arrived: Times) -> float:
    """Return the playing rate: the median over pairs of clock messages half a round apart."""
    half = len(recorded) // 2
    if not half:
        return 1.0
    real = arrived[half:] - arrived[:-half]
    bag = recorded[half:] - recorded[:-half]
    return float(np.median(bag[real > 0] / real[real > 0])) if (real > 0).any() else 1.0
