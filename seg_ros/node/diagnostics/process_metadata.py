# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What this process takes of the computer: where it grows, something leaks."""

from __future__ import annotations

from pathlib import Path
import re
import sys

PROC = Path('/proc/self')
"""Linux's own; where there is none, nothing is known."""

KEYS = {'VmRSS': 'memory (MB)', 'VmHWM': 'memory at most (MB)', 'Threads': 'threads'}
"""Lines of `status` there, and what they are called here."""


def process_facts() -> dict[str, float | int | None]:
    """Return memory in megabytes, threads and open files; None where it cannot be known."""
    facts: dict[str, float | int | None] = dict.fromkeys([*KEYS.values(), 'open files'])
    try:
        status = (PROC / 'status').read_text(encoding='utf-8')
        facts['open files'] = sum(1 for _ in (PROC / 'fd').iterdir()) - 1  # the look itself
    except OSError:
        return facts
    for line, number, unit in re.findall(r'^(\w+):\s+(\d+)( kB)?$', status, re.MULTILINE):
        if line in KEYS:
            facts[KEYS[line]] = int(number) / 1024 if unit else int(number)
    return facts


def cuda_memory(device: str) -> dict[str, float | str]:
    """
    Return what PyTorch holds of a device's memory, and what is free there, in megabytes.

    :param device: empty is returned for another than CUDA, and the reason where it does not
        answer, as one that is gone.
    """
    # Not imported: who has a device has it; nobody else should pay seconds for this.
    torch = sys.modules.get('torch')
    if torch is None or not device.startswith('cuda'):
        return {}
    try:
        free, total = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_allocated(device)
    except Exception as error:  # of a device that is gone there are many
        return {'device memory': f'unknown: {error}'}
    megabytes = {'held': held, 'free': free, 'in all': total}
    return {f'device memory {name} (MB)': size / 2**20 for name, size in megabytes.items()}
