# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What becomes of a network that fails.

One failure costs its frames and no more, and as long as one camera is answered, it is the other's
images that are at fault. After several in a row of all cameras the network is built anew; if
that does not help it is taken to what can be trusted most, PyTorch in float32 on the CPU. From
there what was asked for is tried again, ever more rarely. All of that is done in a thread of its
own, as it takes seconds; who asks for another network meanwhile ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
import sys
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, TYPE_CHECKING

from rclpy.impl.rcutils_logger import RcutilsLogger

from .settings import brief

if TYPE_CHECKING:
    from ..inference.checkpoint import Checkpoint
    from ..inference.deadline import Scheduler
    from ..inference.segmenter import Segmenter

FAILURES = 3
"""In a row, after which the network is built anew."""

LATELY = 5.0
"""Seconds for which a camera's last answer says that the network works."""

STABLE = 60.0
"""Seconds without a rebuild, after which earlier ones no longer count."""

PAUSES = (1.0, 60.0)
"""Seconds before another attempt where nothing works: at first, and at most."""

WAKE = 0.05
"""Seconds between two looks at whether a camera is answered after all."""

RETURN_PAUSES = (10.0, 600.0)
"""Seconds before what was asked for is tried again, while something else works."""


class Recovery:
    """
    Restores a network that fails.

    :param load: builds one from parameters' values and a checkpoint in memory; its file may have
        become another's.
    :param install: puts one in force, or takes the one in force away; does nothing once the event
        is set.
    :ivar problem: what is wrong now and what is done about it; empty if nothing.
    :ivar failed: whether that leaves cameras without masks.
    """

    def __init__(
        self,
        load: Callable[[Mapping[str, Any], Checkpoint], Scheduler],
        install: Callable[[Scheduler | None, Event], None],
        logger: RcutilsLogger,
    ) -> None:
        self._load = load
        self._install = install
        self._logger = logger
        self._thread: Thread | None = None
        self._cancelled = Event()
        # So that what is forgotten is not said afterwards.
        self._saying = Lock()
        self.reset()

    def reset(self) -> None:
        """Forget all, as another network takes over, or none."""
        with self._saying:
            self._cancelled.set()
            self.problem = ''
            self.failed = False
        self._cancelled = Event()
        self._in_a_row: dict[str, int] = {}
        self._answered: dict[str, float] = {}
        self._fallen = False
        self._rebuilds = 0
        self._last_rebuild = 0.0
        self._rebuilding = False

    def stop(self, patience: float) -> None:
        """Forget all, and wait for so many seconds until nothing is being built any more."""
        self.reset()
        if self._thread is not None:
            self._thread.join(patience)

    def succeeded(self, cameras: Collection[str]) -> None:
        """Take note of cameras that were answered."""
        for camera in cameras:
            self._in_a_row.pop(camera, None)
            self._answered[camera] = monotonic()

    def failing(
        self,
        values: Mapping[str, Any],
        segmenter: Segmenter,
        cameras: Collection[str],
        reason: str,
    ) -> None:
        """
        Take note of frames that the network failed on.

        :param values: of the parameters in force.
        :param segmenter: the network.
        :param cameras: those whose frames it failed on.
        :param reason: what it says.
        """
        free_memory()
        for camera in cameras:
            self._in_a_row[camera] = self._in_a_row.get(camera, 0) + 1
            self._answered.pop(camera, None)
        others = self._answered and monotonic() - max(self._answered.values()) < LATELY
        if max(self._in_a_row.values(), default=0) < FAILURES or others or self._rebuilding:
            return
        self._rebuilding = True
        self.problem, self.failed = reason, True
        if monotonic() - self._last_rebuild > STABLE:
            self._rebuilds = 0
        # What fell back and fails, too, shall no longer be returned from.
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
        ways = [('the network is built anew', values)]
        if device != 'cpu':
            auto = {**values, 'device': 'cpu', 'backend': 'auto', 'precision': 'auto'}
            ways.append(('falling back to the CPU', auto))
        safe = {**values, 'device': 'cpu', 'backend': 'torch', 'precision': 'fp32'}
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
            # What is broken may hold what its successor needs.
            self._install(None, cancelled)
            free_memory()
            try:
                scheduler = self._load(chosen, checkpoint)
            except Exception as error:  # whatever a broken device makes of it
                reason = f'{cause}; {brief(error)}'
                continue
            self._install(scheduler, cancelled)
            self._fallen = chosen is not values
            break
        if cancelled.is_set():
            return
        self._in_a_row = {}
        self._rebuilding = False
        if self._fallen:
            self._return(values, checkpoint, f'{reason}: {what}', cancelled)
        else:
            self._say('', False, cancelled)
            self._logger.info('the network was built anew')

    def _answers_within(self, seconds: float, cancelled: Event) -> bool:
        """Wait; return before the time is over, and whether, a camera is answered after all."""
        begin = monotonic()
        while monotonic() < begin + seconds and not cancelled.wait(WAKE):
            if max(self._answered.copy().values(), default=begin) > begin:
                return True
        return False

    def _return(
        self, values: Mapping[str, Any], checkpoint: Checkpoint, problem: str, cancelled: Event
    ) -> None:
        """Try what was asked for again, while something else answers."""
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
            self._say('', False, cancelled)
            if not cancelled.is_set():
                self._logger.info('back to the network that was asked for')
            return

    def _say(self, problem: str, failed: bool, cancelled: Event) -> None:
        with self._saying:
            if cancelled.is_set():
                return
            self.problem, self.failed = problem, failed
        # Two calls, since rclpy takes each place in the code for one severity.
        if problem and failed:
            self._logger.error(problem)
        elif problem:
            self._logger.warning(problem)


def free_memory() -> None:
    """Give back what PyTorch keeps of a GPU's memory for later."""
    if torch := sys.modules.get('torch'):
        with suppress(RuntimeError):  # of a device that is gone
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
