# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A sliding window over the last seconds, in bounded memory."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple


class _Second(NamedTuple):
    """
    One second of the clock.

    :param number: the second's number, the clock's time rounded down.
    :param sums: counts of events and sums of values in this second, by name.
    :param ages: the ages of this second's frames.
    """

    number: int
    sums: defaultdict[str, float]
    ages: list[float]


class Recent:
    """
    Sums and ages over the last seconds.

    :param memory: the number of seconds to keep.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._seconds: deque[_Second] = deque()

    def second(self, now: float) -> _Second:
        """Return the current second, to which the caller adds."""
        number = int(now)
        if not self._seconds or self._seconds[-1].number < number:
            self._seconds.append(_Second(number, defaultdict(float), []))
            while self._seconds[0].number <= number - self._memory:
                self._seconds.popleft()
        return self._seconds[-1]

    def sums(self, now: float, over: int, before: int = 0) -> defaultdict[str, float]:
        """
        Return the sums over the last seconds, the current one included.

        :param over: the number of seconds to sum.
        :param before: the number of most recent seconds to leave out; the sums then end before.
        """
        total: defaultdict[str, float] = defaultdict(float)
        for second in self._span(now, over, before):
            for what, amount in second.sums.items():
                total[what] += amount
        return total

    def ages(self, now: float, over: int) -> list[float]:
        """Return the ages in the last ``over`` seconds, in ascending order."""
        return sorted(age for second in self._span(now, over) for age in second.ages)

    def _span(self, now: float, over: int, before: int = 0) -> list[_Second]:
        last = int(now) - before
        return [second for second in self._seconds if last - over < second.number <= last]


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """
    Return the smallest value that at least this share of the values does not exceed.

    :param ordered: the values in ascending order.
    :param share: the share, between 0 and 1.
    :returns: the value; None if there are no values.
    """
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None
