# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a network: the one asked for, or the fastest that is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
import json
import os
import platform
from statistics import median
from time import perf_counter, sleep
from typing import NamedTuple

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

TURNS, RUNS = 3, 4
"""How often each is timed."""

PAUSE = 0.02
"""Seconds before a turn: the threads of the one before wait for work by spinning."""


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
    wanted, _, provider = backend.partition(':')
    # The libraries of the others stay out of the process.
    asked = [engine for engine in ENGINES if backend == 'auto' or engine.backend == wanted]
    can, problems = _usable(asked, device)
    for problem in problems:
        report(problem)
    if not can:
        here = ', '.join(engine.backend for engine in _usable(ENGINES, device)[0])
        raise EngineError(
            f'backend: expected auto or what is installed and runs on {device}: {here}; found '
            f"{'; '.join([repr(backend), *problems])}. See pip install 'seg_ros[{wanted}]'"
        )
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
        machine=[_name(device), os.cpu_count(), torch.get_num_threads()],
        versions=[
            getattr(import_module(package), '__version__', '')
            for engine in can
            for package in ('torch', *engine.packages)
        ],
    )
    try:
        name, why = json.loads(load(key, report) or b'')
        chosen_engine = makers[name]()
    except Exception:  # never measured, or not to be had any more, whatever its library says
        reference = TorchEngine(checkpoint, input_size, device, 'fp32', report)
        best = _fastest(makers, reference, _probe(input_size).to(device))
        name, why, chosen_engine = best.name, best.why, best.engine
        if not best.failed:  # which may pass
            store(key, json.dumps([name, why]).encode(), report)
    report(f'{name}: {why}')
    return chosen_engine


def _usable(
    engines: Sequence[type[Engine]], device: str
) -> tuple[dict[type[Engine], tuple[str, ...]], list[str]]:
    """Return those for a device, with their precisions, and what is wrong with others."""
    can, problems = {}, []
    for engine in engines:
        try:
            if engine.installed() and engine.runs_on(device):
                can[engine] = engine.precisions(device)
        except Exception as problem:  # whatever its import runs into; there are other engines
            problems.append(f'{engine.backend} cannot be loaded: {problem}')
    return can, problems


def _name(device: str) -> str:
    """Return the processor's or the GPU's name."""
    if device == 'cpu':
        return platform.processor() or platform.machine()
    return torch.cuda.get_device_name(device)


def _probe(input_size: tuple[int, int]) -> Tensor:
    """Return what looks a little like an image: blobs of colour under noise."""
    height, width = input_size
    random = torch.Generator().manual_seed(0)
    blobs = torch.rand(1, 3, -(-height // 32), -(-width // 32), generator=random) * 255
    noise = torch.randn(1, 3, height, width, generator=random) * 5
    image = F.interpolate(blobs, input_size, mode='bilinear') + noise
    return image.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class _Found(NamedTuple):
    """An engine, why it was chosen, and whether another failed, which it may not do again."""

    name: str
    why: str
    engine: Engine
    failed: bool


def _fastest(makers: dict[str, partial[Engine]], reference: Engine, pixels: Tensor) -> _Found:
    """
    Return an engine that is right.

    The first that is must also beat the last, mostly PyTorch. Those between are not built: that
    takes time, and the order says what to expect.
    """
    remarks: list[str] = []
    right: dict[str, Engine] = {}
    failed = False
    with torch.inference_mode():
        expected = reference.logits(pixels).clone()
        *_, last = makers
        for name in makers:
            if right and name != last:
                continue
            try:
                engine = makers[name]()
                error = float((engine.logits(pixels) - expected).norm() / expected.norm())
            except Exception as problem:  # a library's own; there are other engines
                remarks.append(f'{name} fails: {problem}')
                failed = True
                continue
            if error <= TOLERANCE[engine.precision]:
                right[name] = engine
            else:  # also where it is not a number
                remarks.append(f'{name} is wrong, its logits are off by {error:.0%}')
        if not right:
            raise EngineError(
                'backend: expected one that computes what PyTorch does in float32; found '
                + '; '.join(remarks)
            )
        name = next(iter(right))
        if len(right) > 1:
            times = dict(zip(right, _times(list(right.values()), pixels)))
            figures = (f'{each} takes {1e3 * time:.1f} ms' for each, time in times.items())
            remarks.append(', '.join(figures))
            if times[name] * MARGIN > times[last]:
                name = last
    return _Found(name, '; '.join(remarks), right[name], failed)


def _times(engines: Sequence[Engine], pixels: Tensor) -> list[float]:
    """Return the median seconds of each, run as it will be."""
    runs: list[Callable[[], object]] = [partial(engine.logits, pixels) for engine in engines]
    if pixels.is_cuda:
        from ..device_pipeline import DevicePipeline  # which knows engines

        image = pixels[0].cpu().numpy()
        pipelines = [DevicePipeline(e, image.shape[:2], False, True) for e in engines]
        runs = [partial(p, [image], False, 0.0, None, None) for p in pipelines]
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(TURNS):
        for run, mine in zip(runs, times):
            sleep(PAUSE)
            run()
            for _ in range(RUNS):
                start = perf_counter()
                run()
                mine.append(perf_counter() - start)
    return [median(each) for each in times]
