# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The choice of an engine: the one asked for, or the fastest whose results are correct."""

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
"""All engines, the fastest first, as measured in doc/benchmarks."""

BACKENDS = (
    'auto',
    *(engine.backend for engine in ENGINES),
    *(f'onnxruntime:{name}' for names in PROVIDERS.values() for name in names),
)
PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16', 'int8')

TOLERANCE = {'fp32': 1e-3, 'fp16': 0.02, 'bf16': 0.1, 'int8': 0.5}
"""
The largest relative error of an engine's logits, by precision: the norm of their difference to
PyTorch's in float32, divided by the norm of the latter. Rounding causes a fraction of that, a
wrong result several times as much.
"""

MARGIN = 1.1
"""How many times faster than PyTorch another engine must be to be chosen in spite of noise."""

TURNS, RUNS = 3, 4
"""How many turns each engine has when engines are timed, and how many timed runs a turn has."""

PAUSE = 0.02
"""The seconds to wait before a turn, as the threads of the engine before still spin for work."""


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

    :param report: called with problems, and with the engine that was chosen and why.
    :raises EngineError: no engine of that backend and precision runs on the device.
    """
    for what, found, names in (
        ('backend', backend, BACKENDS),
        ('precision', precision, PRECISIONS),
    ):
        if found not in names:
            raise EngineError(f'{what}: expected one of {", ".join(names)}; found {found!r}')
    wanted, _, provider = backend.partition(':')
    # Only the libraries of the engines asked for are loaded into the process.
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
    # The choice is cached: measuring takes seconds, and other processes should make the same
    # choice, and so get the same labels.
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
    except Exception:  # no choice is cached, or the engine fails now, with any kind of error
        reference = TorchEngine(checkpoint, input_size, device, 'fp32', report)
        best = _fastest(makers, reference, _probe(input_size).to(device))
        name, why, chosen_engine = best.name, best.why, best.engine
        if not best.failed:  # an engine that failed may work the next time
            store(key, json.dumps([name, why]).encode(), report)
    report(f'{name}: {why}')
    return chosen_engine


def _usable(
    engines: Sequence[type[Engine]], device: str
) -> tuple[dict[type[Engine], tuple[str, ...]], list[str]]:
    """Return the engines that run on a device, with their precisions; and problems of others."""
    can, problems = {}, []
    for engine in engines:
        try:
            if engine.installed() and engine.runs_on(device):
                can[engine] = engine.precisions(device)
        except Exception as problem:  # importing a library may raise anything; try the others
            problems.append(f'{engine.backend} cannot be loaded: {problem}')
    return can, problems


def _name(device: str) -> str:
    """Return the processor's or the GPU's name."""
    if device == 'cpu':
        return platform.processor() or platform.machine()
    return torch.cuda.get_device_name(device)


def _probe(input_size: tuple[int, int]) -> Tensor:
    """Return a test image, uint8 (1, h, w, 3): smooth blobs of colour with noise."""
    height, width = input_size
    random = torch.Generator().manual_seed(0)
    blobs = torch.rand(1, 3, -(-height // 32), -(-width // 32), generator=random) * 255
    noise = torch.randn(1, 3, height, width, generator=random) * 5
    image = F.interpolate(blobs, input_size, mode='bilinear') + noise
    return image.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class _Found(NamedTuple):
    """The chosen engine with its name, the reason, and whether another engine failed."""

    name: str
    why: str
    engine: Engine
    failed: bool


def _fastest(makers: dict[str, partial[Engine]], reference: Engine, pixels: Tensor) -> _Found:
    """
    Return the first engine with correct results, or the last if that is faster.

    The last is PyTorch in most cases. Correct engines between the two are not built, as that takes
    time and :data:`ENGINES` is sorted by speed.

    :raises EngineError: no engine gives correct results.
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
            except Exception as problem:  # libraries raise errors of their own; try the others
                remarks.append(f'{name} fails: {problem}')
                failed = True
                continue
            if error <= TOLERANCE[engine.precision]:
                right[name] = engine
            else:  # also if the error is NaN
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
    """Return each engine's median seconds, measured as it will be run: on CUDA in a pipeline."""
    runs: list[Callable[[], object]] = [partial(engine.logits, pixels) for engine in engines]
    if pixels.is_cuda:
        from ..device_pipeline import DevicePipeline  # here, as that module imports engines

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
