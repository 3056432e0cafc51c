# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What happened lately, by whole seconds, in bounded memory."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple


class _Second(NamedTuple):
    """One second of the clock: how many of what happened, or their sum; and the frames' ages."""

    number: int
    sums: defaultdict[str, float]
    ages: list[float]


class Recent:
    """
    Sums over the last seconds.

    :param memory: how many seconds are kept.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._seconds: deque[_Second] = deque()

    def second(self, now: float) -> _Second:
        """Return the second that runs, to add to."""
        number = int(now)
        if not self._seconds or self._seconds[-1].number < number:
            self._seconds.append(_Second(number, defaultdict(float), []))
            while self._seconds[0].number <= number - self._memory:
                self._seconds.popleft()
        return self._seconds[-1]

    def sums(self, now: float, over: int, before: int = 0) -> defaultdict[str, float]:
        """
        Return the sums over some seconds, the one that runs being the last of them.

        :param over: how many seconds.
        :param before: how many later ones to leave out.
        """
        total: defaultdict[str, float] = defaultdict(float)
        for second in self._span(now, over, before):
            for what, amount in second.sums.items():
                total[what] += amount
        return total

    def ages(self, now: float, over: int) -> list[float]:
        """Return the ages in the last seconds, in order of size."""
        return sorted(age for second in self._span(now, over) for age in second.ages)

    def _span(self, now: float, over: int, before: int = 0) -> list[_Second]:
        last = int(now) - before
        return [second for second in self._seconds if last - over < second.number <= last]


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least this share does not exceed; None of nothing."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None
