# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Benchmark of engines: the time from a uint8 image to uint8 labels, both in host memory.

The cases that are compared take turns, so that other work on the machine disturbs all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import mean, median
from threading import Barrier
from time import perf_counter
from typing import Any

import torch

from ..metrics.latency import percentiles
from .cases import Case, checkpoint_of, Loaded
from .peak import best
from .peak import measure as measure_peak
from .peak_memory import peak_memory
from .power import Power
from .rows import BenchmarkRow

SECONDS = 0.5
"""How long a case runs in each of its turns, unless a single call takes longer."""

CALLS = 500
"""The most calls that a case makes in one turn."""

DRAWINGS = 10
"""The most calls in one turn that also draw overlay and colour."""

IN_FLIGHT = 3
"""The number of calls that overlap when throughput is measured, each in its own thread."""

WITHIN = 'uint8 image to uint8 labels of its size, host memory to host memory'
DRAWING = 'overlay and colour: how much longer a call takes that draws both'
EAGER = 'full-size float32 logits; preprocessing and argmax on the CPU'


def measure(
    cases: Sequence[Case],
    *,
    rounds: int = 5,
    throughput: bool = True,
    memory: bool = True,
    advance: Callable[[str], None] = lambda _: None,
) -> tuple[list[BenchmarkRow], dict[str, str], dict[str, Any]]:
    """
    Measure all cases, in turns.

    :param rounds: the number of turns of each case.
    :param throughput: whether to measure throughput, too, with several calls in flight.
    :param memory: whether to measure memory, too; on a CPU in a process of its own.
    :param advance: called with a description of each of the ``len(cases) * (1 + rounds)`` steps
        before it starts.
    :returns: the rows, the reason for each case that this machine cannot run, and the machine's
        peak.
    :raises ValueError: there is no such network, or this machine can run none of the cases.
    """
    turns: list[_Turns] = []
    left_out: dict[str, str] = {}
    for case in cases:
        advance(f'loading {case}')
        checkpoint = checkpoint_of(case)
        try:
            loaded = Loaded(case, checkpoint)
            used = peak_memory(loaded.device, _run_twice, case) if memory else None
        except (ValueError, torch.cuda.OutOfMemoryError) as error:
            left_out[str(case)] = str(error)
        else:
            turns.append(_Turns(loaded, used))
    if not turns:
        raise ValueError('\n'.join(f'{case}: {why}' for case, why in left_out.items()))
    precisions = {each.loaded.precision for each in turns}
    peaks = []
    for _ in range(rounds):
        peaks.append(measure_peak(turns[0].loaded.device, precisions))
        for each in turns:
            advance(str(each.loaded.case))
            each.take(throughput)
    for _ in range(rounds * len(left_out)):
        advance('')
    peak = best(peaks)
    rows = [row for each in turns for row in each.rows(peak)]
    return compared(rows), left_out, peak


def _run_twice(case: Case) -> None:
    """Run a case twice (loading runs it once), to measure its memory."""
    Loaded(case, checkpoint_of(case)).predict()


class _Turns:
    """The measurements of one case over all its turns; times are in milliseconds."""

    def __init__(self, loaded: Loaded, memory_mb: float | None) -> None:
        self.loaded = loaded
        self._memory_mb = memory_mb
        self._threads = ThreadPoolExecutor(IN_FLIGHT)
        self._times: list[float] = []
        self._drawing: list[float] = []
        self._fps: list[float] = []
        self._power: dict[str, list[float]] = {'latency': [], 'throughput': []}

    def take(self, throughput: bool) -> None:
        """Run the case for one turn: first one call after the other, then several at a time."""
        loaded = self.loaded
        loaded.predict()  # fill the caches, which the case before has used
        with Power(loaded.device) as power:
            self._times += _repeated(loaded.predict, CALLS)
        self._note_power('latency', power)
        if loaded.case.eager or loaded.case.batch > 1:
            return
        self._draw()
        if throughput:
            with Power(loaded.device) as power:
                self._fps.append(self._overlapped())
            self._note_power('throughput', power)

    def _note_power(self, timing: str, power: Power) -> None:
        if power.watts is not None:
            self._power[timing].append(power.watts)

    def _draw(self) -> None:
        """Note how much longer a call takes that draws pictures, by calls with and without."""
        self.loaded.draw()
        end = perf_counter() + SECONDS
        for _ in range(DRAWINGS):
            (plain,) = _repeated(self.loaded.predict, 1)
            (drawn,) = _repeated(self.loaded.draw, 1)
            self._drawing.append(drawn - plain)
            if perf_counter() > end:
                break

    def _overlapped(self) -> float:
        """Return the images per second with several calls in flight until the turn is over."""
        ready = Barrier(IN_FLIGHT)

        def one_of_them() -> tuple[float, float, int]:
            self.loaded.predict()  # the first call of each thread is slower, as it sets things up
            ready.wait()
            start, calls = perf_counter(), 0
            while not calls or perf_counter() < start + SECONDS:
                self.loaded.predict()
                calls += 1
            return start, perf_counter(), calls

        running = [self._threads.submit(one_of_them) for _ in range(IN_FLIGHT)]
        starts, ends, calls = zip(*(thread.result() for thread in running))
        return sum(calls) / (max(ends) - min(starts))

    def rows(self, peak: Mapping[str, Any]) -> list[BenchmarkRow]:
        """Return the rows of the case: latency, throughput, and the drawing of pictures."""
        case, loaded = self.loaded.case, self.loaded
        network = BenchmarkRow(
            benchmark='baseline' if case.eager else 'engine',
            network=case.network,
            backend=loaded.backend,
            device=loaded.device,
            precision=loaded.precision,
            input_size=list(case.input_size),
            image_size=list(case.image_size),
            batch=case.batch,
            inside=WITHIN,
            resize=case.image_size != case.input_size,
            latency_ms=percentiles(self._times),
            fps=1e3 * case.batch / median(self._times),
            memory_mb=self._memory_mb,
            power_w=_mean(self._power['latency']),
            gmac=case.batch * loaded.cost.macs / 1e9,
            roofline_ms=loaded.cost.at_peak(peak, loaded.precision, case.batch),
            baseline=loaded.baseline,
            notes=EAGER if case.eager else '' if case.graphs else 'without CUDA graphs',
        )
        rows = [network]
        if self._fps:
            rows.append(
                replace(
                    network,
                    timing='throughput',
                    latency_ms={},
                    fps=median(self._fps),
                    power_w=_mean(self._power['throughput']),
                    notes=', '.join(filter(None, (f'{IN_FLIGHT} calls in flight', network.notes))),
                )
            )
        if self._drawing:
            rows.append(
                replace(
                    network,
                    benchmark='overlay',
                    inside=DRAWING,
                    latency_ms=percentiles(self._drawing),
                    fps=None,
                    memory_mb=None,
                    power_w=None,
                    gmac=None,
                    roofline_ms=None,
                    baseline='the call without',
                    ratio=median(self._drawing) / median(self._times),
                )
            )
        return rows


def _repeated(work: Callable[[], Any], calls: int) -> Iterator[float]:
    """Call ``work`` at most ``calls`` times, until the turn is over; yield the milliseconds."""
    end = perf_counter() + SECONDS
    for _ in range(calls):
        start = perf_counter()
        work()
        done = perf_counter()
        yield 1e3 * (done - start)
        if done > end:
            break


def _mean(values: Sequence[float]) -> float | None:
    return mean(values) if values else None


def compared(rows: Sequence[BenchmarkRow]) -> list[BenchmarkRow]:
    """
    Return the rows, with the ratio to the baseline in those of networks.

    The ratio is the milliseconds per image divided by the baseline's median latency for the same
    sizes; None if the run has no such baseline.
    """
    reference = {
        (row.network, tuple(row.input_size), tuple(row.image_size)): row.p50
        for row in rows
        if row.benchmark == 'baseline'
    }
    found = []
    for row in rows:
        if row.benchmark in ('engine', 'baseline'):
            its = reference.get((row.baseline, tuple(row.input_size), tuple(row.image_size)))
            image = row.p50 / row.batch if row.p50 else 1e3 / row.fps if row.fps else None
            row = replace(row, ratio=image / its if its and image else None)
        found.append(row)
    return found
