# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Recovery from a network that fails.

A single failure only costs its frames, and while any camera is answered, the fault lies with the
images of the others. After several failures in a row on all cameras the network is rebuilt; if it
still fails, the node falls back to the most trustworthy configuration, PyTorch in float32 on the
CPU. From then on the configured network is tried again at increasing intervals. All of this runs
in a thread of its own, as it takes seconds; a request for another network ends it.

A device that is lost (:class:`.device_errors.ErrorKind`) is another matter: in this process it is
never used again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
import sys
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, TYPE_CHECKING

from rclpy.impl.rcutils_logger import RcutilsLogger

from .device_errors import ErrorKind, kind_of
from .settings import brief

if TYPE_CHECKING:
    from ..inference.checkpoint import Checkpoint
    from ..inference.deadline import Scheduler

FAILURES = 3
"""The number of failures in a row after which the network is rebuilt."""

LATELY = 5.0
"""For this many seconds a camera's last answer proves that the network works."""

STABLE = 60.0
"""After this many seconds without a rebuild, earlier rebuilds no longer count."""

PAUSES = (1.0, 60.0)
"""The first and the longest pause in seconds between attempts while no network works."""

WAKE = 0.05
"""The seconds between two checks whether a camera is answered after all."""

RETURN_PAUSES = (10.0, 600.0)
"""
The first and the longest pause in seconds between attempts to return to the configured network
while another one works.
"""

ON_THE_CPU = (
    'the GPU is lost to this process, and the network runs on the CPU. Restart the node to return '
    'to the GPU'
)


class Recovery:
    """
    Restores a network that fails.

    :param load: builds a network from the parameters' values and a checkpoint in memory, as the
        checkpoint's file may have been replaced.
    :param install: called with a network that replaces the one in use, or with None, which
        removes it; it must do nothing once the event is set.
    :param leave: called when the device is lost and the node shall end for it.
    :ivar problem: what is wrong now and what is done about it; empty if nothing is wrong.
    :ivar failed: whether the problem leaves cameras without masks.
    :ivar lost: whether the device is lost, which it stays for as long as the process lives.
    """

    def __init__(
        self,
        load: Callable[[Mapping[str, Any], Checkpoint], Scheduler],
        install: Callable[[Scheduler | None, Event], None],
        leave: Callable[[], None],
        logger: RcutilsLogger,
    ) -> None:
        self._load = load
        self._install = install
        self._leave = leave
        self._logger = logger
        self.lost = False
        # What was on a lost device is kept, as giving it back would use the device.
        self._remains: list[Scheduler | None] = []
        self._thread: Thread | None = None
        self._cancelled = Event()
        # Held so that no problem is reported after :meth:`reset` has ended the attempts.
        self._saying = Lock()
        self.reset()

    def reset(self) -> None:
        """Forget all failures and end all attempts, as the network is replaced or removed."""
        with self._saying:
            self._cancelled.set()
            self.problem = ON_THE_CPU if self.lost else ''
            self.failed = False
        self._cancelled = Event()
        self._in_a_row: dict[str, int] = {}
        self._answered: dict[str, float] = {}
        self._fallen = False
        self._rebuilds = 0
        self._last_rebuild = 0.0
        self._rebuilding = False

    def stop(self, patience: float) -> None:
        """Call :meth:`reset`, and wait at most ``patience`` seconds until the thread has ended."""
        self.reset()
        if self._thread is not None:
            self._thread.join(patience)

    def succeeded(self, cameras: Collection[str]) -> None:
        """Note that the network answered these cameras."""
        for camera in cameras:
            self._in_a_row.pop(camera, None)
            self._answered[camera] = monotonic()

    def failing(
        self,
        values: Mapping[str, Any],
        scheduler: Scheduler,
        errors: Mapping[str, Exception],
    ) -> None:
        """
        Note that the network failed on frames of some cameras; start a rebuild if needed.

        :param values: the values of the parameters.
        :param scheduler: the network that failed.
        :param errors: the network's errors by the cameras of the frames.
        """
        # The first error that says that the device is lost, or the first of all.
        error = max(errors.values(), key=lambda error: kind_of(error) is ErrorKind.LOST)
        lost = kind_of(error) is ErrorKind.LOST
        if lost:
            self.lose(values, error, scheduler)
            if values['on_device_lost'] == 'exit':
                return
        else:
            self.free_memory()
        reason = f'the network fails: {brief(error)}'
        for camera in errors:
            self._in_a_row[camera] = self._in_a_row.get(camera, 0) + 1
            self._answered.pop(camera, None)
        others = self._answered and monotonic() - max(self._answered.values()) < LATELY
        few = max(self._in_a_row.values(), default=0) < FAILURES
        if ((few or others) and not lost) or self._rebuilding:
            return
        self._rebuilding = True
        self.problem, self.failed = reason, True
        if lost or monotonic() - self._last_rebuild > STABLE:
            self._rebuilds = 0
        segmenter = scheduler.points[0].segmenter
        # If the fallback fails, too, this ends the attempts to return from it.
        self._cancelled.set()
        self._cancelled = Event()
        self._thread = Thread(
            target=self._restore,
            args=(
                values,
                segmenter.device,
                segmenter.checkpoint,
                reason,
                self._cancelled,
                self._thread,
            ),
            name='recovery',
            daemon=True,
        )
        self._thread.start()

    def lose(
        self, values: Mapping[str, Any], error: Exception, scheduler: Scheduler | None
    ) -> None:
        """
        Note that the device is lost, and let the node end if the parameters say so.

        :param values: the values of the parameters.
        :param error: the error that says so.
        :param scheduler: the network that is on the device; None if there is none.
        """
        self.lost = True
        self._remains.append(scheduler)
        self._say(f'the GPU is lost to this process: {brief(error)}', True, self._cancelled)
        if values['on_device_lost'] == 'exit':
            self._leave()

    def usable(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return values of the parameters that do not use a lost device."""
        return on_cpu(values) if self.lost and values['device'] != 'cpu' else values

    def free_memory(self) -> None:
        """Give the GPU memory back that PyTorch keeps for later use."""
        torch = sys.modules.get('torch')
        if torch and not self.lost and torch.cuda.is_initialized():
            with suppress(RuntimeError):  # raised if the device has just been lost
                torch.cuda.empty_cache()

    def _restore(
        self,
        values: Mapping[str, Any],
        device: str,
        checkpoint: Checkpoint,
        reason: str,
        cancelled: Event,
        previous: Thread | None,
    ) -> None:
        if previous is not None:
            previous.join()
        cause = reason
        ways = [] if self.lost else [('the network is built anew', values)]
        if device != 'cpu':
            ways.append(('falling back to the CPU', on_cpu(values)))
        safe = {**on_cpu(values), 'backend': 'torch', 'precision': 'fp32'}
        ways.append(('falling back to PyTorch in float32 on the CPU', safe))
        first, longest = PAUSES
        what = ''
        while not cancelled.is_set():
            what, chosen = ways[min(self._rebuilds, len(ways) - 1)]
            if self._rebuilds >= len(ways):
                pause = min(first * 2 ** (self._rebuilds - len(ways)), longest)
                self._say(f'{reason}: next attempt in {pause:.0f} s', True, cancelled)
                if self._answers_within(pause, cancelled):
                    break
            self._say(f'{reason}: {what}', True, cancelled)
            self._rebuilds += 1
            self._last_rebuild = monotonic()
            # The broken network may hold memory that its successor needs.
            self._install(None, cancelled)
            self.free_memory()
            try:
                scheduler = self._load(chosen, checkpoint)
            except Exception as error:  # a broken device can raise any exception
                reason = f'{cause}; {brief(error)}'
                continue
            self._install(scheduler, cancelled)
            self._fallen = chosen is not values
            break
        if cancelled.is_set():
            return
        self._in_a_row = {}
        self._rebuilding = False
        if self._fallen and not self.lost:
            self._return(values, checkpoint, f'{reason}: {what}', cancelled)
        else:
            self._works('the network was built anew', cancelled)

    def _answers_within(self, seconds: float, cancelled: Event) -> bool:
        """Wait at most these seconds until a camera is answered; return whether one was."""
        begin = monotonic()
        while monotonic() < begin + seconds and not cancelled.wait(WAKE):
            if max(self._answered.copy().values(), default=begin) > begin:
                return True
        return False

    def _return(
        self, values: Mapping[str, Any], checkpoint: Checkpoint, problem: str, cancelled: Event
    ) -> None:
        """Try again and again to return to the configured network while another one answers."""
        pause, longest = RETURN_PAUSES
        pause *= 2 ** max(0, self._rebuilds - 2)
        while True:
            pause = min(pause, longest)
            self._say(f'{problem}. Trying again in {pause:.0f} s', False, cancelled)
            if cancelled.wait(pause):
                return
            try:
                scheduler = self._load(values, checkpoint)
            except Exception as error:
                problem = f'{brief(error)}: staying with what works'
                pause *= 2
                continue
            self._install(scheduler, cancelled)
            self._fallen = False
            self._last_rebuild = monotonic()
            self._works('back to the network that was asked for', cancelled)
            return

    def _works(self, news: str, cancelled: Event) -> None:
        """Note that a network works again; log the news, if it is the one that was asked for."""
        self._say(ON_THE_CPU if self.lost else '', False, cancelled)
        if not cancelled.is_set() and not self.lost:
            self._logger.info(news)

    def _say(self, problem: str, failed: bool, cancelled: Event) -> None:
        with self._saying:
            if cancelled.is_set():
                return
            self.problem, self.failed = problem, failed
        # Two calls, as rclpy allows only one severity for each place in the code.
        if problem and failed:
            self._logger.error(problem)
        elif problem:
            self._logger.warning(problem)


def on_cpu(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return values of the parameters that ask for the best engine on the CPU."""
    return {**values, 'device': 'cpu', 'backend': 'auto', 'precision': 'auto'}
