# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Profiling of a training: the time for loading images, and for each part of a step."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any, TypeVar

import torch
from torch import Tensor

from .loop import Training

T = TypeVar('T')
WARM_UP = 3
"""The number of steps before the first one that is timed."""


def profile(training: Training, steps: int) -> dict[str, Any]:
    """
    Time the parts of a training. This changes its weights, but saves nothing.

    :param steps: number of steps in each measurement.
    :returns: ``images_per_second`` of ``loading`` (augmented batches without training), of
        ``learning`` (training on one batch again and again) and of ``both`` (a normal training),
        and ``milliseconds`` of each part of a step.
    """
    batches = _Endless(training)
    images, labels = next(batches)
    for _ in range(WARM_UP):
        training.step(images, labels, 0)
    ways: dict[str, Callable[[], object]] = {
        'loading': lambda: next(batches),
        'learning': lambda: training.step(images, labels, 0),
        'both': lambda: training.step(*next(batches), 0),
    }
    batch = training.recipe.batch
    return {
        'images_per_second': {
            name: batch * steps / _seconds(training, batches, way, steps)
            for name, way in ways.items()
        },
        'milliseconds': _parts(training, images, labels, steps),
    }


class _Endless:
    """The loader's batches, epoch after epoch."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.batches = iter(training.loader)

    def __next__(self) -> tuple[Tensor, Tensor]:
        try:
            batch: tuple[Tensor, Tensor] = next(self.batches)
        except StopIteration:
            self.training.batches.epoch += 1
            self.batches = iter(self.training.loader)
            batch = next(self.batches)
        return batch


def _parts(training: Training, images: Tensor, labels: Tensor, steps: int) -> dict[str, float]:
    """Return the milliseconds of each part of a step, each timed until the device has done it."""
    seconds: dict[str, float] = {}

    def timed(name: str, part: Callable[..., T], *arguments: object) -> T:
        started = time.perf_counter()
        result = part(*arguments)
        _wait(training)
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
        return result

    for _ in range(steps):
        x, y = timed('to device', training.to_device, images, labels)
        outputs = timed('forward', training.forward, x)
        loss = timed('loss', training.loss, outputs, y, images)
        timed('backward', training.backward, loss)
        timed('update', training.update, 0)
    return {name: 1000 * total / steps for name, total in seconds.items()}


def _seconds(
    training: Training, batches: _Endless, part: Callable[[], object], times: int
) -> float:
    for _ in range(training.loader.num_workers * (training.loader.prefetch_factor or 0)):
        next(batches)  # Discard batches that were loaded before the measurement.
    _wait(training)
    started = time.perf_counter()
    for _ in range(times):
        part()
    _wait(training)
    return time.perf_counter() - started


def _wait(training: Training) -> None:
    if training.kind == 'cuda':
        torch.cuda.synchronize(training.device)
