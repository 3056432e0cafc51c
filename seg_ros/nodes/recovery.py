# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What becomes of a network that fails.

One failure costs its frames and no more. After several in a row the network is built anew; if
that does not help it is taken to what can be trusted most, PyTorch in float32 on the CPU. From
there what was asked for is tried again, ever more rarely. All of that is done in a thread of its
own, as it takes seconds; who asks for another network meanwhile ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
import sys
from threading import Event, Thread
from time import monotonic
from typing import Any, TYPE_CHECKING

from rclpy.impl.rcutils_logger import RcutilsLogger

if TYPE_CHECKING:
    from ..inference.checkpoint import Checkpoint
    from ..inference.deadline import Ladder
    from ..inference.segmenter import Segmenter

FAILURES = 3
"""In a row, after which the network is built anew."""

STABLE = 60.0
"""Seconds without a rebuild, after which earlier ones no longer count."""

PAUSES = (1.0, 60.0)
"""Seconds before another attempt where nothing works: at first, and at most."""

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
        load: Callable[[Mapping[str, Any], Checkpoint], Ladder],
        install: Callable[[Ladder | None, Event], None],
        logger: RcutilsLogger,
    ) -> None:
        self._load = load
        self._install = install
        self._logger = logger
        self._thread: Thread | None = None
        self._cancelled = Event()
        self.reset()

    def reset(self) -> None:
        """Forget all, as another network takes over, or none."""
        self._cancelled.set()
        self._cancelled = Event()
        self._in_a_row = 0
        self._rebuilds = 0
        self._last_rebuild = 0.0
        self._rebuilding = False
        self.problem = ''
        self.failed = False

    def stop(self, patience: float) -> None:
        """Forget all, and wait for so many seconds until nothing is being built any more."""
        self.reset()
        if self._thread is not None:
            self._thread.join(patience)

    def succeeded(self) -> None:
        """Take note of frames that were answered."""
        self._in_a_row = 0

    def failing(self, values: Mapping[str, Any], segmenter: Segmenter, reason: str) -> None:
        """
        Take note of frames that the network failed on.

        :param values: of the parameters in force.
        :param segmenter: the network.
        :param reason: what it says.
        """
        self._in_a_row += 1
        _free_memory()
        if self._in_a_row < FAILURES or self._rebuilding:
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
        # What is broken may hold what its successor needs.
        self._install(None, cancelled)
        _free_memory()
        ways = [('the network is built anew', values)]
        if device != 'cpu':
            auto = {**values, 'device': 'cpu', 'backend': 'auto', 'precision': 'auto'}
            ways.append(('falling back to the CPU', auto))
        safe = {**values, 'device': 'cpu', 'backend': 'torch', 'precision': 'fp32'}
        ways.append(('falling back to PyTorch in float32 on the CPU', safe))
        first, longest = PAUSES
        while not cancelled.is_set():
            what, chosen = ways[min(self._rebuilds, len(ways) - 1)]
            if self._rebuilds >= len(ways):
                pause = min(first * 2 ** (self._rebuilds - len(ways)), longest)
                self._say(f'{reason}: next attempt in {pause:.0f} s', True, cancelled)
                if cancelled.wait(pause):
                    return
            self._say(f'{reason}: {what}', True, cancelled)
            self._rebuilds += 1
            self._last_rebuild = monotonic()
            try:
                ladder = self._load(chosen, checkpoint)
            except Exception as error:  # whatever a broken device makes of it
                reason = f'{cause}; {error}'
                continue
            self._install(ladder, cancelled)
            if cancelled.is_set():
                return
            self._in_a_row = 0
            self._rebuilding = False
            if chosen is values:
                self._say('', False, cancelled)
                self._logger.info('the network was built anew')
                return
            self._return(values, checkpoint, f'{reason}: {what}', cancelled)
            return

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
                ladder = self._load(values, checkpoint)
            except Exception as error:
                problem = f'{error}: staying with what works'
                pause *= 2
                continue
            self._install(ladder, cancelled)
            self._last_rebuild = monotonic()
            self._say('', False, cancelled)
            if not cancelled.is_set():
                self._logger.info('back to the network that was asked for')
            return

    def _say(self, problem: str, failed: bool, cancelled: Event) -> None:
        if cancelled.is_set():
            return
        self.problem, self.failed = problem, failed
        # Two calls, since rclpy takes each place in the code for one severity.
        if problem and failed:
            self._logger.error(problem)
        elif problem:
            self._logger.warning(problem)


def _free_memory() -> None:
    """Give back what PyTorch keeps of a GPU's memory for later."""
    if torch := sys.modules.get('torch'):
        with suppress(RuntimeError):  # of a device that is gone
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
