# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a network: the one asked for, or the fastest that is right."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
import json
import os
from statistics import median
from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checkpoint import Checkpoint
from .cache import content_key, load, Report, store
from .engine import Engine, EngineError
from .onnxruntime_engine import OnnxRuntimeEngine, PROVIDERS
from .openvino_engine import OpenVinoEngine
from .torch_engine import TorchEngine

ENGINES: tuple[type[Engine], ...] = (OpenVinoEngine, OnnxRuntimeEngine, TorchEngine)
"""Fastest first, as doc/benchmarks found them where they run at all."""

BACKENDS = (
    'auto',
    *(engine.backend for engine in ENGINES),
    *(f'onnxruntime:{name}' for names in PROVIDERS.values() for name in names),
)
PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16', 'int8')

TOLERANCE = {'fp32': 1e-3, 'fp16': 0.02, 'bf16': 0.1, 'int8': 0.5}
"""
How far an engine's logits may be from float32 PyTorch's: the norm of the difference over theirs.
Rounding does a fraction of that, a wrong result several times as much.
"""

MARGIN = 1.1
"""How much faster than PyTorch another must be, so that noise does not choose."""

RUNS = 7
"""How often each is timed, by turns."""


def make_engine(
    checkpoint: Checkpoint,
    input_size: tuple[int, int],
    device: str,
    backend: str,
    precision: str,
    report: Report,
) -> Engine:
    """
    Return an engine; for arguments see :class:`seg_ros.inference.segmenter.Segmenter`.

    :param report: told which was chosen where there is a choice, and why.
    :raises EngineError: it is not to be had; the message says what is.
    """
    for what, found, names in (
        ('backend', backend, BACKENDS),
        ('precision', precision, PRECISIONS),
    ):
        if found not in names:
            raise EngineError(f'{what}: expected one of {", ".join(names)}; found {found!r}')
    here = {e.backend: e for e in ENGINES if e.installed() and e.runs_on(device)}
    wanted, _, provider = backend.partition(':')
    if backend != 'auto':
        if wanted not in here:
            raise EngineError(
                f'backend: expected auto or what is installed and runs on {device}: '
                f"{', '.join(here)}; found {backend!r}. See pip install 'seg_ros[{wanted}]'"
            )
        here = {wanted: here[wanted]}
    can = {engine: engine.precisions(device) for engine in here.values()}
    extra = {'provider': provider} if provider else {}
    makers = {
        f'{engine.backend} {chosen}': partial(
            engine, checkpoint, input_size, device, chosen, report, **extra
        )
        for engine, precisions in can.items()
        if (chosen := precisions[0] if precision == 'auto' else precision) in precisions
    }
    if not makers:
        raise EngineError(
            f'precision: expected what runs on {device}: '
            + '; '.join(f'{engine.backend} {", ".join(names)}' for engine, names in can.items())
            + f'; found {precision!r}'
        )
    if len(makers) == 1:
        return next(iter(makers.values()))()
    # What was measured is kept, as it takes seconds, and as other processes shall get the same
    # labels.
    key = content_key(
        checkpoint,
        choice=list(makers),
        input_size=input_size,
        machine=[device, os.cpu_count(), torch.get_num_threads(), torch.__version__],
    )
    try:
        name, why = json.loads(load(key, report) or b'')
        engine = makers[name]()
    except (KeyError, ValueError):  # never measured, or not to be had any more
        reference = TorchEngine(checkpoint, input_size, device, 'fp32', report)
        name, why, engine = _fastest(makers, reference, _probe(input_size).to(device))
        store(key, json.dumps([name, why]).encode(), report)
    report(f'{name}: {why}')
    return engine


def _probe(input_size: tuple[int, int]) -> Tensor:
    """Return what looks a little like an image: blobs of colour under noise."""
    height, width = input_size
    random = torch.Generator().manual_seed(0)
    blobs = torch.rand(1, 3, -(-height // 32), -(-width // 32), generator=random) * 255
    noise = torch.randn(1, 3, height, width, generator=random) * 5
    image = F.interpolate(blobs, input_size, mode='bilinear') + noise
    return image.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _fastest(
    makers: dict[str, partial[Engine]], reference: Engine, pixels: Tensor
) -> tuple[str, str, Engine]:
    """
    Return an engine that is right, its name, and why it was chosen.

    The last in the order, PyTorch, is what the first that is right must beat. The others are not
    built: that takes time, and the order says what to expect.
    """
    *others, last = makers
    remarks = []
    with torch.inference_mode():
        expected = reference.logits(pixels).clone()
        for name in others:
            try:
                engine = makers[name]()
                error = float((engine.logits(pixels) - expected).norm() / expected.norm())
            except Exception as problem:  # a library's own; there are other engines
                remarks.append(f'{name} fails: {problem}')
                continue
            if not error <= TOLERANCE[engine.precision]:  # or not a number
                remarks.append(f'{name} is wrong, its logits are off by {error:.0%}')
                continue
            fallback = makers[last]()
            seconds, limit = _times([engine, fallback], pixels)
            remarks.append(f'{name} takes {1e3 * seconds:.1f} ms, {last} {1e3 * limit:.1f}')
            if seconds * MARGIN < limit:
                return name, '; '.join(remarks), engine
            return last, '; '.join(remarks), fallback
    return last, '; '.join(remarks), makers[last]()


def _times(engines: Sequence[Engine], pixels: Tensor) -> list[float]:
    """Return the median seconds of each."""
    times: list[list[float]] = [[] for _ in engines]
    for _ in range(RUNS):
        for engine, mine in zip(engines, times):
            start = perf_counter()
            engine.logits(pixels)
            if pixels.is_cuda:
                torch.cuda.synchronize(pixels.device)
            mine.append(perf_counter() - start)
    return [median(each) for each in times]
