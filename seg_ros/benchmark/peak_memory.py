# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measuring the peak memory of some work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
from pathlib import Path
import re
from typing import Any

import torch

STATUS = Path('/proc/self/status')


def peak_memory(device: str, work: Callable[..., Any], *arguments: Any) -> float | None:
    """
    Return the peak memory of some work in megabytes.

    On a CPU the work runs in a new process, as one process cannot tell which of its memory
    belongs to which work; only the memory on top of the loaded modules counts.

    :param work: a function at the top level of a module.
    :param arguments: the arguments of the function.
    :returns: megabytes; None if the system does not tell.
    """
    if device.startswith('cuda'):
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work(*arguments)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    if not STATUS.exists():
        return None
    context = multiprocessing.get_context('spawn')  # a fork would share this process's memory
    threads = torch.get_num_threads()
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(_resident, threads, work, *arguments).result()


def _resident(threads: int, work: Callable[..., Any], *arguments: Any) -> float:
    """Return the megabytes that the work adds to this process's memory at most."""
    torch.set_num_threads(threads)
    before = _kilobytes('VmRSS')
    work(*arguments)
    return (_kilobytes('VmHWM') - before) * 1024 / 1e6


def _kilobytes(name: str) -> int:
    found = re.search(rf'^{name}:\s*(\d+) kB$', STATUS.read_text(encoding='utf-8'), re.MULTILINE)
    return int(found[1]) if found else 0
