# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The memory, threads and open files of this process; a leak shows as their growth."""

from __future__ import annotations

from pathlib import Path
import re
import sys

PROC = Path('/proc/self')
"""Linux's folder about this process; on other systems it is missing, and nothing is known."""

KEYS = {'VmRSS': 'memory (MB)', 'VmHWM': 'memory at most (MB)', 'Threads': 'threads'}
"""The lines of its file `status` that are read, and their keys in the diagnostics."""


def process_metadata() -> dict[str, float | int | None]:
    """Return memory in megabytes, threads and open files; None for values that are not known."""
    metadata: dict[str, float | int | None] = dict.fromkeys([*KEYS.values(), 'open files'])
    try:
        status = (PROC / 'status').read_text(encoding='utf-8')
        # Reading the folder opens one more file, which does not count.
        metadata['open files'] = sum(1 for _ in (PROC / 'fd').iterdir()) - 1
    except OSError:
        return metadata
    for line, number, unit in re.findall(r'^(\w+):\s+(\d+)( kB)?$', status, re.MULTILINE):
        if line in KEYS:
            metadata[KEYS[line]] = int(number) / 1024 if unit else int(number)
    return metadata


def cuda_memory(device: str) -> dict[str, float | str]:
    """
    Return the memory of a CUDA device in megabytes: held by PyTorch, free, and in all.

    :param device: the device's name.
    :returns: the values by key; none for other devices, the error if the device does not answer.
    """
    # Not imported: a process that uses a device has it already, others must not wait for it.
    torch = sys.modules.get('torch')
    if torch is None or not device.startswith('cuda'):
        return {}
    try:
        free, total = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_allocated(device)
    except Exception as error:  # a device that is gone can raise many kinds of exceptions
        return {'device memory': f'unknown: {error}'}
    megabytes = {'held': held, 'free': free, 'in all': total}
    return {f'device memory {name} (MB)': size / 2**20 for name, size in megabytes.items()}
