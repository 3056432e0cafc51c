# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Benchmark of the node with and without a deadline, under a load that comes and goes.

All times are of the machine's monotonic clock, as in :mod:`.measurements`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic_ns, sleep
from typing import Any, NamedTuple

from ...images.image_file import Image as Array
from .measurements import (
    about,
    camera_message,
    DISCARDED,
    in_files,
    median,
    meet,
    PATIENCE,
    PAUSE,
    QUIET,
    Size,
    start_network,
    Times,
    times_of,
    topics_of,
)
from .processes import busy_processes, Helper, profile_environment, Program, start_dds_load

SLOWER = 4.0
"""The load is as large that masks of full depth are this many times as old as without it."""

MOST_BUSY = 6
"""The most busy processes per core that make up the load."""

CALM_SECONDS, LOAD_SECONDS = 5.0, 10.0
"""The lengths of the phases without and with load, which alternate."""

FRAMES = 20
"""The number of frames by which ages are measured before the run."""

FACTOR = 3.0
"""If no deadline is given, it is this many times the age of a mask without load."""

SCHEDULED, FIXED = 'with the deadline', 'fixed depth'
"""The names of the two runs."""


class TimedFrame(NamedTuple):
    """
    One image that was sent.

    :param seconds: when it was sent, counted from the run's first image.
    :param age_ms: the age of its mask at its arrival; None if none arrived.
    :param point: the operating point that made the mask, found by its pixels; empty if there is
        no mask, ``?`` if the pixels are of no known point.
    """

    seconds: float
    age_ms: float | None
    point: str


class DeadlineBenchmark:
    """
    One camera on the node, once with a deadline and once with the network's full depth.

    The load is a number of busy processes, chosen so that masks of full depth become four times
    as old. The default deadline is three times their age without load. Both are measured just
    before the runs. The other parameters are those of :func:`.live_rows.end_to_end_rows`.

    :param deadline_ms: the deadline; 0 is three times the age of a mask without load.
    :param rate: the number of images per second; 0 is one image per deadline.
    :param rounds: how often the load comes and goes.
    :ivar runs: the frames of both runs, by the names :data:`SCHEDULED` and :data:`FIXED`.
    :ivar loaded: for each of these runs the begin and end of each phase with load, in seconds
        since the run's first image.
    :ivar busy: the number of processes that make up the load.
    :ivar slower: how many times as old the load makes the masks.
    :ivar age_ms: the age of a mask of full depth without load.
    :ivar network: a row's fields about the network.
    """

    def __init__(
        self,
        picture: Array,
        size: Size,
        model: str,
        parameters: Mapping[str, Any],
        deadline_ms: int,
        rate: float,
        rounds: int,
    ) -> None:
        self.runs: dict[str, list[TimedFrame]] = {}
        self.loaded: dict[str, list[tuple[float, float]]] = {}
        image, mask = topics_of('timed')
        given = {'model': model, 'cameras': ['timed'], **parameters}
        profile = profile_environment()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            with start_network(folder, picture, size, model, parameters) as network:
                self.network = about(network, model, size)
                self.points: dict[str, int] = network.call('points')
            (message,) = in_files(folder, [camera_message(picture, size)])
            camera = stack.enter_context(
                start_dds_load({image: message}, [mask], profile, told_apart=True)
            )
            with Program('segmentation_node', given | {'deadline_ms': 0}, profile) as node:
                meet(camera, [image], camera, [mask], node)
                self.age_ms = median(camera.call('ask', image, mask, FRAMES, PAUSE, PATIENCE))
                self.busy, self.slower = find_load(camera, image, mask, self.age_ms)
                self.deadline_ms = deadline_ms or round(FACTOR * self.age_ms)
                self.rate = rate or 1e3 / self.deadline_ms
                self._run(FIXED, camera, image, mask, rounds)
            given['deadline_ms'] = self.deadline_ms
            with Program('segmentation_node', given, profile) as node:
                meet(camera, [image], camera, [mask], node)
                camera.call('ask', image, mask, DISCARDED, PAUSE, PATIENCE)
                self._run(SCHEDULED, camera, image, mask, rounds)

    def _run(self, name: str, camera: Helper, image: str, mask: str, rounds: int) -> None:
        """Make one run: the load comes and goes while the camera sends."""
        camera.call('hear', [mask], QUIET)
        camera.call('checksums', mask)
        published: list[tuple[int, int]] = []
        loads = []
        for step in range(2 * rounds + 1):
            busy, seconds = (self.busy, LOAD_SECONDS) if step % 2 else (0, CALM_SECONDS)
            begin = monotonic_ns()
            with busy_processes(busy):
                sent = camera.call('send', [image], round(self.rate * seconds), self.rate)
                published += sent[image]
                sleep(1 / self.rate)
            if busy:
                loads.append((begin, monotonic_ns()))
        came = camera.call('hear', [mask], QUIET)[mask]
        start = published[0][1]
        self.loaded[name] = [((a - start) / 1e9, (b - start) / 1e9) for a, b in loads]
        names = {checksum: point for point, checksum in self.points.items()}
        made_by = {s: names.get(found, '?') for s, found in camera.call('checksums', mask)}
        self.runs[name] = [
            TimedFrame((time - start) / 1e9, age, made_by.get(stamp, ''))
            for (stamp, time), age in zip(published, times_of(published, came))
        ]

    def result(self) -> dict[str, Any]:
        """Return the benchmark's result for JSON; shares are between 0 and 1."""
        return {
            'deadline_ms': self.deadline_ms,
            'age_without_load_ms': self.age_ms,
            'rate': self.rate,
            'busy_processes': self.busy,
            'slower': self.slower,
            **self.network,
            'runs': [
                {
                    'name': name,
                    **in_time([frame.age_ms for frame in frames], self.deadline_ms),
                    'rungs': shares(frames, list(self.points)),
                    'loaded': self.loaded[name],
                    'frames': [list(frame) for frame in frames],
                }
                for name, frames in self.runs.items()
            ],
        }


def find_load(camera: Helper, image: str, mask: str, alone: float) -> tuple[int, float]:
    """
    Find the number of busy processes that make masks four times as old.

    :param alone: the age of a mask without load, in milliseconds.
    :returns: the number, and how many times as old it makes the masks.
    """
    slower = 1.0
    for count in range(1, MOST_BUSY * (os.cpu_count() or 1) + 1):
        with busy_processes(count):
            camera.call('ask', image, mask, DISCARDED, PAUSE, PATIENCE)
            slower = median(camera.call('ask', image, mask, FRAMES, PAUSE, PATIENCE)) / alone
        if not slower < SLOWER:  # also true if no mask came and `slower` is nan
            break
    return count, slower


def in_time(ages: Times, deadline_ms: float) -> dict[str, float]:
    """Return the number of masks in time as a share of all images, and of all masks."""
    met = sum(age is not None and age <= deadline_ms for age in ages)
    answered = sum(age is not None for age in ages)
    return {
        'in_time_of_sent': met / max(1, len(ages)),
        'in_time_of_answered': met / max(1, answered),
    }


def shares(frames: Sequence[TimedFrame], points: Sequence[str]) -> dict[str, float]:
    """Return each operating point's share of the masks, including points that made none."""
    made = Counter(frame.point for frame in frames if frame.age_ms is not None)
    total = max(1, sum(made.values()))
    return {point: made[point] / total for point in dict.fromkeys([*points, *made])}
