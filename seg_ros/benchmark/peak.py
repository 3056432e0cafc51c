# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The machine's peak performance, measured with matrix products and with copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ..inference.backends.torch_engine import TYPES

SIDES = {'cpu': (256, 512, 1024, 2048), 'cuda': (1024, 4096, 8192)}
"""The sides of the square matrices; the largest ones use all of a processor's units."""

COPIED = {'cpu': 2**28, 'cuda': 2**30}
"""The number of bytes to copy, several times the size of a cache."""

SECONDS = 0.4
"""How long one measurement may take, as a precision that a processor emulates is very slow."""

ATTEMPTS = 5


def measure(device: str, precisions: Iterable[str]) -> dict[str, Any]:
    """
    Measure the peak of a device with PyTorch's current number of threads.

    The best of several attempts counts, as other programs may use the machine.

    :param device: ``cpu``, ``cuda`` or ``cuda:N``.
    :param precisions: fp32, bf16, fp16 or int8.
    :returns: ``copy_gb_s``, the billions of bytes read and written per second; ``tflops``, each
        precision's trillions of operations (two for a multiply-add) per second, None if PyTorch
        cannot multiply matrices in this precision on the device; ``device`` and ``threads``.
    """
    kind = device.partition(':')[0]
    return {
        'device': device,
        'threads': torch.get_num_threads(),
        'copy_gb_s': 2 * COPIED[kind] / _copy(device, COPIED[kind]) / 1e9,
        'tflops': {name: _matrix_product(device, name) for name in sorted(set(precisions))},
    }


def best(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the highest of several peaks of one device, each as :func:`measure` returns it."""
    precisions = found[0]['tflops']
    return {
        **found[0],
        'copy_gb_s': max(peak['copy_gb_s'] for peak in found),
        'tflops': {
            name: max(
                (peak['tflops'][name] for peak in found if peak['tflops'][name]), default=None
            )
            for name in precisions
        },
    }


def _copy(device: str, count: int) -> float:
    """Return the seconds that copying ``count`` bytes takes."""
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return _best(lambda: target.copy_(source), device)


def _matrix_product(device: str, precision: str) -> float | None:
    """Return trillions of operations per second, None if PyTorch cannot do them."""
    fastest = 0.0
    for side in SIDES[device.partition(':')[0]]:
        try:
            matrix = _matrix(side, device, precision)
            seconds = min(_best(product, device) for product in _products(matrix))
        except RuntimeError:
            return None
        fastest = max(fastest, 2 * side**3 / seconds / 1e12)
        if 8 * seconds > SECONDS:  # a matrix of twice the side takes about eight times as long
            break
    return fastest


def _matrix(side: int, device: str, precision: str) -> Tensor:
    if precision == 'int8':
        return torch.randint(-100, 100, (side, side), dtype=torch.int8, device=device)
    return torch.randn(side, side, device=device).to(TYPES[precision])


def _products(matrix: Tensor) -> list[Callable[[], Any]]:
    """Return the ways in which PyTorch multiplies a matrix by itself."""
    if matrix.dtype == torch.int8:
        # On a GPU the second factor must be stored by columns.
        return [lambda: torch._int_mm(matrix, matrix.t())]
    products: list[Callable[[], Any]] = [lambda: matrix @ matrix]
    blocks = matrix.device.type == 'cpu' and torch.backends.mkldnn.is_available()
    if blocks and matrix.dtype == torch.float32:
        # By default PyTorch uses MKL, which on AMD's processors takes twice as long as oneDNN.
        blocked = matrix.to_mkldnn()
        products.append(lambda: torch.ops.aten.mkldnn_linear(blocked, blocked))
    return products


def _best(work: Callable[[], Any], device: str) -> float:
    """Return the fewest seconds that ``work`` takes in several attempts after a warm-up."""
    times: list[float] = []
    for _ in range(1 + ATTEMPTS):
        if sum(times) > SECONDS:
            break
        _wait(device)
        start = perf_counter()
        work()
        _wait(device)
        times.append(perf_counter() - start)
    return min(times[1:] or times)


def _wait(device: str) -> None:
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)
