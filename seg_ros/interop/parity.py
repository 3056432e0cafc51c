# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A check that an exported file gives PyTorch's results in every runtime that is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from ..inference import backends  # noqa: F401  # this turns off the runtimes' telemetry
from ..inference.checkpoint import Checkpoint
from ..inference.export import Portable, SMALLEST

SAME_LABELS = {'fp32': 0.999, 'fp16': 0.999, 'int8': 0.985}
"""
The least share of an image's pixels that must have the same label as in PyTorch, by precision.

In 8 bits, sums close to the edge of a step are rounded up by one runtime and down by another, in
every layer: two correct computations of a trained network differ in half a percent of the labels.
"""

LOGIT_ERROR = {'fp32': 1e-3, 'fp16': 0.01, 'int8': 0.05}
"""The largest relative error of the logits, by precision: the norm of their difference to
PyTorch's, divided by the norm of the latter."""

Run = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""A function that runs a file on images, uint8 (N, H, W, 3), and returns labels or logits."""

Figures = dict[str, Any]
"""The results of a comparison in one runtime at one size; see :func:`compare`."""


def sizes(input_size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the sizes to check: the input size, an odd one, and one of another aspect ratio."""
    height, width = input_size
    other = [(height // 2 | 1, width // 2 | 1), (height // 2, width // 3 | 1)]
    return [input_size, *((max(SMALLEST | 1, h), max(SMALLEST | 1, w)) for h, w in other)]


def runtimes(suffix: str, symmetric: bool) -> dict[str, Callable[[bytes], Run]]:
    """
    Return, for each installed runtime, the function that loads a file's content.

    :param suffix: the file's suffix.
    :param symmetric: whether the file is quantized for TensorRT. OpenVINO is then left out, as it
        computes such int8 inaccurately.
    :raises ValueError: no runtime is installed that can read the file.
    """
    if suffix == '.pt2':
        return {'torch': _torch}
    makers: dict[str, Callable[[bytes], Run]] = {'onnxruntime': _onnxruntime}
    if not symmetric:
        makers['openvino'] = _openvino
    installed = {name: make for name, make in makers.items() if find_spec(name)}
    if not installed:
        raise ValueError(
            f'expected a runtime to check the file with, {" or ".join(makers)}; found none '
            f'installed. Install one: pip install {next(iter(makers))}'
        )
    return installed


def _onnxruntime(content: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, ['CPUExecutionProvider'])
    return lambda pixels: session.run(None, {'pixels': pixels})[0]


def _openvino(content: bytes) -> Run:
    from ..inference.backends.openvino_engine import core

    settings = {
        # Otherwise CPUs with bfloat16 would compute in that.
        'INFERENCE_PRECISION_HINT': 'f32',
        'INFERENCE_NUM_THREADS': torch.get_num_threads(),
        'ENABLE_CPU_PINNING': False,
    }
    model = core().compile_model(core().read_model(content), 'CPU', settings)
    return lambda pixels: np.array(model(pixels)[0])


def _torch(content: bytes) -> Run:
    network = torch.export.load(BytesIO(content)).module()
    return lambda pixels: network(torch.from_numpy(pixels)).numpy()


def compare(
    content: bytes,
    makers: Mapping[str, Callable[[bytes], Run]],
    checkpoint: Checkpoint,
    output: str,
    precision: str,
    symmetric: bool,
    images: Sequence[NDArray[np.uint8]],
) -> dict[str, list[Figures]]:
    """
    Run a file in each runtime, and compare its results with PyTorch's.

    In float32 the reference is the checkpoint's network as it was trained. In other precisions it
    is the exported network, which rounds in the same way; ``same_labels_as_fp32`` then shows the
    effect of the rounding.

    :param content: the file's content.
    :param makers: the result of :func:`runtimes`.
    :param output: the file's output, ``labels`` or ``logits``.
    :param precision: the file's precision.
    :param symmetric: whether the file is quantized for TensorRT.
    :param images: batches of uint8 RGB, (N, H, W, 3), of several sizes.
    :returns: by runtime, for each batch: ``size``, ``batch`` (N), ``same_labels`` and
        ``same_labels_as_fp32`` (the share of the worst image) and, for logits, ``logit_error``; or
        ``error`` if the file does not run.
    """
    with torch.inference_mode():
        trained = [_trained(checkpoint, pixels) for pixels in images]
        expected = trained
        if precision != 'fp32':
            network = Portable(checkpoint, 'logits', precision, symmetric)
            expected = [network(torch.from_numpy(pixels)) for pixels in images]
    parity: dict[str, list[Figures]] = {}
    for name, make in makers.items():
        parity[name] = []
        try:
            run = make(content)
            for pixels, right, ideal in zip(images, expected, trained):
                found = torch.from_numpy(run(pixels))
                labels = found.argmax(1) if output == 'logits' else found
                figures: Figures = {
                    'size': list(pixels.shape[1:3]),
                    'batch': len(pixels),
                    'same_labels': _same(labels, right),
                    'same_labels_as_fp32': _same(labels, ideal),
                }
                if output == 'logits':
                    figures['logit_error'] = float((found - right).norm() / right.norm())
                parity[name].append(figures)
        except Exception as error:  # each runtime raises errors of its own
            parity[name].append({'error': f'{error}'[:1000]})
    return parity


def mismatches(parity: Mapping[str, list[Figures]], precision: str) -> list[str]:
    """Return a line for each result of :func:`compare` that is not within the limits."""
    lines = []
    for runtime, rows in parity.items():
        for row in rows:
            if 'error' in row:
                lines.append(f'{runtime} the file does not run: {row["error"]}')
                continue
            where = f'{runtime} at {row["size"][1]}x{row["size"][0]}'
            if row['same_labels'] < SAME_LABELS[precision]:
                lines.append(f'{where} {row["same_labels"]:.3%} of the labels are the same')
            # The comparison also fails for NaN.
            if not row.get('logit_error', 0.0) <= LOGIT_ERROR[precision]:
                lines.append(f'{where} the logits are off by {row["logit_error"]:.2%}')
    return lines


def _trained(checkpoint: Checkpoint, pixels: NDArray[np.uint8]) -> Tensor:
    """Return the logits of a checkpoint's network as it was trained."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    logits: Tensor = checkpoint.network(checkpoint.preprocessing.normalise(images))
    return logits


def _same(labels: Tensor, logits: Tensor) -> float:
    """Return the share of pixels with the same label as the logits, of the worst image."""
    if labels.shape != (len(logits), *logits.shape[2:]):
        return 0.0
    return float((labels == logits.argmax(1)).float().mean((1, 2)).min())
