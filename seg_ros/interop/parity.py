# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an exported file computes what PyTorch does, in every runtime that is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from ..inference import backends  # noqa: F401  # which keeps runtimes from reporting home
from ..inference.checkpoint import Checkpoint
from ..inference.export import Portable, SMALLEST

SAME_LABELS = {'fp32': 0.999, 'fp16': 0.999, 'int8': 0.985}
"""
Of an image's pixels, so many must have PyTorch's label.

In 8 bits a sum that ends a hair from the edge of a step falls to the one or the other side, layer
after layer: of a trained network two correct computations differ in half a percent of the labels.
"""

LOGIT_ERROR = {'fp32': 1e-3, 'fp16': 0.01, 'int8': 0.05}
"""The most that logits may differ: the norm of the difference over theirs."""

Run = Callable[[NDArray[np.uint8]], NDArray[Any]]
Figures = dict[str, Any]


def sizes(input_size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the sizes to check at: the network's own, an odd one, and one of another shape."""
    height, width = input_size
    other = [(height // 2 | 1, width // 2 | 1), (height // 2, width // 3 | 1)]
    return [input_size, *((max(SMALLEST | 1, h), max(SMALLEST | 1, w)) for h, w in other)]


def runtimes(suffix: str, symmetric: bool) -> dict[str, Callable[[bytes], Run]]:
    """
    Return what makes each runtime that is installed ready for a file's content.

    :param suffix: of the file.
    :param symmetric: whether it is made for TensorRT, whose int8 OpenVINO computes inaccurately.
    :raises ValueError: none is installed.
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
        # Or a CPU that has it computes in bfloat16.
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
    Run a file in each runtime, and return how its results differ from PyTorch's.

    In float32 that is the checkpoint's network as it was trained; in other precisions the network
    that was exported, which rounds alike, and ``same_labels_as_fp32`` says what rounding costs.

    :param makers: those of :func:`runtimes`.
    :param images: uint8 RGB, (N, H, W, 3), several sizes.
    :returns: by runtime, for each of the images: ``size``, ``batch``, ``same_labels`` (the
        least of any image) and, of logits, ``logit_error``; or ``error``, where it does not run.
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
        except Exception as error:  # a runtime's own kind
            parity[name].append({'error': f'{error}'[:1000]})
    return parity


def mismatches(parity: Mapping[str, list[Figures]], precision: str) -> list[str]:
    """Return what is not as it should be, a line each."""
    lines = []
    for runtime, rows in parity.items():
        for row in rows:
            if 'error' in row:
                lines.append(f'{runtime} it does not run: {row["error"]}')
                continue
            where = f'{runtime} at {row["size"][1]}x{row["size"][0]}'
            if row['same_labels'] < SAME_LABELS[precision]:
                lines.append(f'{where} {row["same_labels"]:.3%} of the labels are the same')
            # Also where it is not a number.
            if not row.get('logit_error', 0.0) <= LOGIT_ERROR[precision]:
                lines.append(f'{where} the logits are off by {row["logit_error"]:.2%}')
    return lines


def _trained(checkpoint: Checkpoint, pixels: NDArray[np.uint8]) -> Tensor:
    """Return the logits of a checkpoint's network as it is."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    logits: Tensor = checkpoint.network(checkpoint.preprocessing.normalise(images))
    return logits


def _same(labels: Tensor, logits: Tensor) -> float:
    """Return the share of pixels with the label that the logits give, of the worst image."""
    if labels.shape != (len(logits), *logits.shape[2:]):
        return 0.0
    return float((labels == logits.argmax(1)).float().mean((1, 2)).min())
