# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several processes that share one job, as torchrun starts them; a single one needs nothing."""

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
    Join the processes that torchrun started, if it did.

    :param patience: how long one may wait for the others; PyTorch's own minutes by default.
    :param device: ``cpu``, ``cuda`` or ``cuda:N``; with several processes each takes the GPU of
        its rank.
    :returns: the device of this process.
    :raises ValueError: several processes shall share one GPU.
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
    """Return this process's number; 0 is the one that prints and writes."""
    return distributed.get_rank() if _joined() else 0


def world_size() -> int:
    """Return how many processes share the job."""
    return distributed.get_world_size() if _joined() else 1


def _joined() -> bool:
    # Some builds of PyTorch, for small devices, come without the whole package.
    return distributed.is_available() and distributed.is_initialized()


def local_world_size() -> int:
    """Return how many of them share this machine."""
    return int(os.environ.get('LOCAL_WORLD_SIZE', '1')) if _joined() else 1


def summed(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of all processes' counts, to each of them."""
    return np.sum(gathered(counts), axis=0)


def gathered(value: T) -> list[T]:
    """Return all processes' values, by rank, to each of them."""
    values: list[Any] = [value] * world_size()
    if world_size() > 1:
        distributed.all_gather_object(values, value)
    return values
