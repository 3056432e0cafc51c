# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node with a deadline, and without, beside other processes that come and go.

Moments are of the machine's monotonic clock, as :mod:`.measurements` has them.
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
from .processes import busy_processes, Helper, profile_environment, Program, traffic

SLOWER = 4.0
"""Times by which the load shall make masks of full depth older."""

MOST_BUSY = 6
"""Processes for each core, at most, to get there."""

CALM_SECONDS, LOAD_SECONDS = 5.0, 10.0
"""Without and with load, by turns."""

FRAMES = 20
"""By which times are known before the run."""

FACTOR = 3.0
"""The deadline, where none is given, in ages of a mask without load."""

SCHEDULED, FIXED = 'with the deadline', 'fixed depth'


class TimedFrame(NamedTuple):
    """
    One image sent.

    :param seconds: when, from the run's first.
    :param age_ms: of its mask when that came; None where none did.
    :param point: that made the mask, told by its pixels; empty of no mask, ? of another's.
    """

    seconds: float
    age_ms: float | None
    point: str


class DeadlineBenchmark:
    """
    One camera on the node, once with a deadline and once with the network's full depth.

    The load is as many processes that keep the processor busy as make masks of full depth four
    times as old. The deadline is three times the age that they have without any.
    Both are measured here, just before. The other parameters are those of
    :func:`.live_rows.end_to_end_rows`.

    :param deadline_ms: 0 is three times the age.
    :param rate: images a second; 0 is as many as deadlines follow each other.
    :param rounds: how often the load comes and goes.
    :ivar runs: the frames of both, by :data:`SCHEDULED` and :data:`FIXED`.
    :ivar loaded: of the same runs, begin and end of each load, in seconds as the frames'.
    :ivar busy: processes of the load.
    :ivar slower: by how much they made the engine slower.
    :ivar age_ms: without load, at full depth.
    :ivar network: what a row says of it.
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
                traffic({image: message}, [mask], profile, told_apart=True)
            )
            with Program('segmentation_node', given | {'deadline_ms': 0}, profile) as node:
                meet(camera, [image], camera, [mask], node)
                self.age_ms = median(camera.call('ask', image, mask, FRAMES, PAUSE, PATIENCE))
                self.busy, self.slower = load_for(camera, image, mask, self.age_ms)
                self.deadline_ms = deadline_ms or round(FACTOR * self.age_ms)
                self.rate = rate or 1e3 / self.deadline_ms
                self._run(FIXED, camera, image, mask, rounds)
            given['deadline_ms'] = self.deadline_ms
            with Program('segmentation_node', given, profile) as node:
                meet(camera, [image], camera, [mask], node)
                camera.call('ask', image, mask, DISCARDED, PAUSE, PATIENCE)
                self._run(SCHEDULED, camera, image, mask, rounds)

    def _run(self, name: str, camera: Helper, image: str, mask: str, rounds: int) -> None:
        """Let the load come and go while the camera sends."""
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
            TimedFrame((moment - start) / 1e9, age, made_by.get(stamp, ''))
            for (stamp, moment), age in zip(published, times_of(published, came))
        ]

    def facts(self) -> dict[str, Any]:
        """Return all that was found, as JSON has it; shares are of 1."""
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


def load_for(camera: Helper, image: str, mask: str, alone: float) -> tuple[int, float]:
    """Return how many busy processes make masks four times as old, and how old they were."""
    slower = 1.0
    for count in range(1, MOST_BUSY * (os.cpu_count() or 1) + 1):
        with busy_processes(count):
            camera.call('ask', image, mask, DISCARDED, PAUSE, PATIENCE)
            slower = median(camera.call('ask', image, mask, FRAMES, PAUSE, PATIENCE)) / alone
        if not slower < SLOWER:  # also where none came
            break
    return count, slower


def in_time(ages: Times, deadline_ms: float) -> dict[str, float]:
    """Return the share of the images whose mask came in time, and that of the masks."""
    met = sum(age is not None and age <= deadline_ms for age in ages)
    answered = sum(age is not None for age in ages)
    return {
        'in_time_of_sent': met / max(1, len(ages)),
        'in_time_of_answered': met / max(1, answered),
    }


def shares(frames: Sequence[TimedFrame], points: Sequence[str]) -> dict[str, float]:
    """Return the share of each operating point in the masks, also of those that made none."""
    made = Counter(frame.point for frame in frames if frame.age_ms is not None)
    total = max(1, sum(made.values()))
    return {point: made[point] / total for point in dict.fromkeys([*points, *made])}
