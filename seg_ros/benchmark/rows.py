# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark's result: rows that each hold one measurement, and the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
import json
import os
from pathlib import Path
import platform
import re
from typing import Any

import torch

PACKAGES = (
    'torch', 'openvino', 'onnxruntime', 'onnxruntime-gpu', 'opencv-python-headless', 'numpy',
)  # fmt: skip


@dataclass(frozen=True)
class BenchmarkRow:
    """
    One measurement.

    :param benchmark: engine, baseline, overlay, node, end_to_end, cameras, deadline, overload or
        transport.
    :param network: the network's name, such as ``icnet:width=0.5``; empty if no network ran.
    :param backend: the backend that ran the network.
    :param input_size: (height, width) of the network's input.
    :param image_size: (height, width) of the camera's image and of its labels.
    :param batch: the number of images in a call.
    :param inside: a description of what was timed.
    :param timing: ``latency`` for one call after the other, ``throughput`` for several in flight.
    :param resize: whether the timed work includes resizing the image to the input size.
    :param latency_ms: p50, p95 and p99 of a call in milliseconds; empty for throughput.
    :param fps: images per second.
    :param memory_mb: the peak memory in megabytes: of the process on a CPU, of the device on a
        GPU.
    :param power_w: the mean power of the processor or GPU in watts; None if the machine does not
        tell.
    :param gmac: billions of multiply-adds in a call.
    :param roofline_ms: the milliseconds that a call would take at the machine's measured peak.
    :param baseline: the measurement that ``ratio`` compares with.
    :param ratio: the median latency divided by the baseline's, both of the same run.
    """

    benchmark: str
    network: str = ''
    backend: str = ''
    device: str = ''
    precision: str = ''
    input_size: Sequence[int] = ()
    image_size: Sequence[int] = ()
    batch: int = 1
    cameras: int = 1
    inside: str = ''
    timing: str = 'latency'
    resize: bool = False
    latency_ms: Mapping[str, float | None] = field(default_factory=dict)
    fps: float | None = None
    memory_mb: float | None = None
    power_w: float | None = None
    gmac: float | None = None
    roofline_ms: float | None = None
    baseline: str = ''
    ratio: float | None = None
    notes: str = ''

    @property
    def p50(self) -> float | None:
        """The median latency in milliseconds; None if there is none."""
        return self.latency_ms.get('p50')


def result(
    rows: Sequence[BenchmarkRow], command: str, peak: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """
    Return the result that the command ``benchmark`` writes as JSON.

    :param command: the command line that made the result.
    :param peak: the machine's peak, as :func:`seg_ros.benchmark.peak.measure` returns it.
    :param more: further entries of the result, by key.
    """
    return {
        'machine': machine(),
        'command': command,
        'peak': dict(peak or {}),
        'results': [asdict(row) for row in rows],
        **more,
    }


def read(path: str | Path) -> dict[str, Any]:
    """
    Read a benchmark's result from its JSON file; its ``results`` become rows.

    :raises ValueError: the file does not hold a benchmark's result.
    """
    try:
        found = json.loads(Path(path).read_text(encoding='utf-8'))
        rows = [BenchmarkRow(**row) for row in found['results']]
        return {**found, 'machine': dict(found['machine']), 'results': rows}
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        names = ', '.join(f.name for f in fields(BenchmarkRow))
        raise ValueError(
            f'{path}: expected what `benchmark --json` writes, whose results have {names}; '
            f'found {error!r}'
        ) from error


def machine() -> dict[str, Any]:
    """Return the properties of this machine and its software on which measurements depend."""
    return {
        'cpu': _cpu(),
        'cores': len(os.sched_getaffinity(0)),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'cuda': torch.version.cuda,
        'system': f'{platform.system()} {platform.machine()}',
        'python': platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
        'threads': torch.get_num_threads(),
    }


def _cpu() -> str:
    """Return the processor's name, and which of the instruction sets for networks it has."""
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        return platform.processor()
    name = re.search(r'^model name\s*: (.*)$', text, re.MULTILINE)
    flags = re.search(r'^flags\s*: (.*)$', text, re.MULTILINE)
    fast = ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'avx512_fp16', 'amx_bf16', 'amx_int8')
    has = [flag for flag in fast if flags and flag in flags[1].split()]
    return f'{name[1] if name else platform.machine()} ({", ".join(has) or "no AVX"})'


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
