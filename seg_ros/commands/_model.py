# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The arguments of every command that runs a network; they mean what the node's parameters do."""

from __future__ import annotations

import argparse
import sys
from typing import Any, TYPE_CHECKING

from ..inference import DEFAULT_MODEL

if TYPE_CHECKING:
    from ..inference.segmenter import Segmenter


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --model, --device, --backend, --precision and the input size."""
    parser.add_argument(
        '--model', default=DEFAULT_MODEL, help="a shipped name or a checkpoint's path"
    )
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--backend',
        default='auto',
        help='auto (the fastest), openvino, torch, or onnxruntime, also with a provider, such as '
        'onnxruntime:tensorrt',
    )
    parser.add_argument('--precision', default='auto', help='auto, fp32, bf16, fp16 or int8')
    size = "of what the network sees; 0 is the checkpoint's own"
    parser.add_argument('--input-height', type=int, default=0, help=size)
    parser.add_argument('--input-width', type=int, default=0, help=size)


def add_palette_argument(parser: argparse.ArgumentParser) -> None:
    """Add --palette."""
    parser.add_argument(
        '--palette', choices=('model', 'colorblind'), default='model',
        help="the network's own colours, or ones that a colour-blind person can tell apart",
    )  # fmt: skip


def make_segmenter(args: argparse.Namespace) -> Segmenter:
    """
    Load the network that the arguments name, and let these say what it runs with.

    Of several processes the first one chooses, as others might measure otherwise.
    """
    from ..inference.segmenter import Segmenter
    from ..metrics.process_group import gathered, rank

    def make() -> Segmenter:
        segmenter = Segmenter(
            args.model,
            input_height=args.input_height,
            input_width=args.input_width,
            device=args.device,
            backend=args.backend,
            precision=args.precision,
            report=lambda line: print(line, file=sys.stderr),
        )
        args.backend, args.precision = segmenter.backend, segmenter.precision
        return segmenter

    first = make() if rank() == 0 else None
    args.backend, args.precision = gathered((args.backend, args.precision))[0]
    return first or make()


def used(segmenter: Segmenter) -> dict[str, Any]:
    """Return what a result should say of the network behind it."""
    return {
        'model': segmenter.model,
        'device': segmenter.device,
        'backend': segmenter.backend,
        'precision': segmenter.precision,
        'input_size': list(segmenter.input_size),
    }
