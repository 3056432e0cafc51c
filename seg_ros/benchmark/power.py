# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measuring the power of a processor or GPU by its energy counter, if it has one."""

from __future__ import annotations

import ctypes
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

POWERCAP = Path('/sys/class/powercap')
"""The folder in which Linux shows the energy counters (RAPL) of Intel's and AMD's processors."""


class Power:
    """
    A context manager that measures a device's mean power while its block runs.

    On a CPU it is the power of all packages, without memory, including the work of other
    processes.

    :param device: ``cpu``, ``cuda`` or ``cuda:N``.
    :param powercap: the folder of the processor's energy counters.
    :ivar watts: the mean power, known after the block; None if the machine does not tell.
    """

    def __init__(self, device: str, powercap: Path = POWERCAP) -> None:
        self.watts: float | None = None
        self._device, self._powercap = device, powercap

    def __enter__(self) -> Power:
        self._before, self._start = self._joules(), perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        seconds, after = perf_counter() - self._start, self._joules()
        if after and len(after) == len(self._before):
            # A counter that reaches its maximum starts at 0 again.
            joules = sum((now - then) % end for (then, _), (now, end) in zip(self._before, after))
            self.watts = joules / seconds

    def _joules(self) -> list[tuple[float, float]]:
        """Return (energy, maximum) of each counter in joules; none if they cannot be read."""
        try:
            if self._device.startswith('cuda'):
                return [(_gpu_joules(self._device), float('inf'))]
            # A package is named like intel-rapl:0, a part of a package like intel-rapl:0:0.
            packages = sorted(self._powercap.glob('intel-rapl:?'))
            names = ('energy_uj', 'max_energy_range_uj')
            return [(_micro(p / names[0]), _micro(p / names[1])) for p in packages]
        except (OSError, ValueError, AttributeError):
            return []


def _micro(path: Path) -> float:
    return int(path.read_text(encoding='utf-8')) / 1e6


def _gpu_joules(device: str) -> float:
    """
    Return the joules that a GPU has used since its driver was loaded, as NVML tells.

    :raises OSError: NVIDIA's management library is not installed, or the GPU does not tell.
    """
    library = ctypes.CDLL('libnvidia-ml.so.1')
    # Find the GPU by its UUID, as CUDA may order GPUs differently, or see only some of them.
    properties: Any = torch.cuda.get_device_properties(device)
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    calls = (
        lambda: library.nvmlInit_v2(),
        lambda: library.nvmlDeviceGetHandleByUUID(
            f'GPU-{properties.uuid}'.encode(), ctypes.byref(handle)
        ),
        lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)),
    )
    for call in calls:
        if error := call():
            raise OSError(f'NVML: error {error}')
    return millijoules.value / 1e3
