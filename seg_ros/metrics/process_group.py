# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Communication between the processes of one job that torchrun starts; one alone works, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
import os
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
import torch
from torch import distributed

T = TypeVar('T')


@contextmanager
def process_group(device: str, patience: timedelta | None = None) -> Iterator[str]:
    """
    Join the group of processes if torchrun started several.

    :param device: ``cpu``, ``cuda`` or ``cuda:N``; each of several processes takes the GPU of its
        local rank.
    :param patience: how long a process may wait for the others; PyTorch's default if None.
    :returns: the device of this process.
    :raises ValueError: the device is one GPU, but there are several processes.
    """
    alone = int(os.environ.get('WORLD_SIZE', '1')) == 1
    if not alone and device == 'cuda':
        device = f'cuda:{int(os.environ["LOCAL_RANK"])}'
    elif not alone and device != 'cpu':
        raise ValueError(f'device: expected cuda or cpu for several processes; found {device!r}')
    if ':' in device:
        torch.cuda.set_device(device)
    if alone:
        yield device
        return
    kind = 'nccl' if device.startswith('cuda') else 'gloo'
    distributed.init_process_group(kind, timeout=patience)
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Return this process's number; process 0 prints messages and writes files."""
    return distributed.get_rank() if _joined() else 0


def world_size() -> int:
    """Return the number of processes that share the job."""
    return distributed.get_world_size() if _joined() else 1


def _joined() -> bool:
    # Some builds of PyTorch for small devices lack torch.distributed.
    return distributed.is_available() and distributed.is_initialized()


def local_world_size() -> int:
    """Return the number of processes of the job that run on this machine."""
    return int(os.environ.get('LOCAL_WORLD_SIZE', '1')) if _joined() else 1


def summed(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of the counts of all processes; each process must call it."""
    return np.sum(gathered(counts), axis=0)


def gathered(value: T) -> list[T]:
    """Return the values of all processes by rank; each process must call it."""
    values: list[Any] = [value] * world_size()
    if world_size() > 1:
        distributed.all_gather_object(values, value)
    return values
