# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Write a network as one file for other programs: ONNX, or PyTorch's own (.pt2).

It takes 8-bit RGB images of any size and gives their labels, or logits; what happens to pixels
before the network sees them is inside. The file is written only if it computes what PyTorch does,
in every runtime that is installed here. doc/export.md tells how to run it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from ..images.image_file import Image
    from ..inference.checkpoint import Checkpoint

SUFFIXES = ('.onnx', '.pt2')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('model', metavar='MODEL', help="a shipped name or a checkpoint's path")
    parser.add_argument(
        '--out', required=True, metavar='FILE', help='the file to write: *.onnx or *.pt2'
    )
    parser.add_argument(
        '--output', choices=('labels', 'logits'), default='labels',
        help="what it computes, at the image's size: uint8 class ids (default), or float logits",
    )  # fmt: skip
    parser.add_argument('--precision', choices=('fp32', 'fp16', 'int8'), default='fp32')
    parser.add_argument(
        '--symmetric', action='store_true',
        help='with int8: round activations around 0, as TensorRT demands; OpenVINO computes that '
        'inaccurately, so it is not checked there',
    )  # fmt: skip
    parser.add_argument(
        '--exit', help='leave an ICNet early: sub4 or sub24; by default as the checkpoint says'
    )
    parser.add_argument(
        '--opset', type=int,
        help='of ONNX, 17 (default; the last that TensorRT 8.6 reads) to 21',
    )  # fmt: skip


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Write the file; print and return what is in it and how it compares with PyTorch.

    :raises CheckFailed: a runtime computes something else; no file is written.
    :raises ValueError: the model or an argument is wrong, or no runtime is installed.
    """
    from ..images.files import write_atomically
    from ..inference.checkpoint import find_checkpoint, load_checkpoint
    from ..inference.export import describe, export_onnx, export_program, OPSET, with_metadata
    from ..interop.parity import compare, mismatches, runtimes
    from . import CheckFailed

    target = Path(args.out)
    _check(args, target)
    makers = runtimes(target.suffix, args.symmetric)
    checkpoint = _with_exit(load_checkpoint(find_checkpoint(args.model)), args.exit)
    how = args.output, args.precision, args.symmetric
    facts = describe(checkpoint, *how)
    opset = None
    if target.suffix == '.onnx':
        opset = args.opset or OPSET
        content = export_onnx(checkpoint, *how, opset=opset)
    else:
        content = export_program(checkpoint, *how)
    images = _images(checkpoint.input_size)
    parity = compare(content, makers, checkpoint, *how, images)
    result = {
        'model': args.model,
        'opset': opset,
        'inputs': {'pixels': 'uint8 (batch, height, width, 3)'},
        'outputs': {args.output: facts['output_layout']},
        'sizes': [batch.shape[1:3] for batch in images],
        **facts,
        'parity': parity,
    }
    _print(parity)
    if wrong := mismatches(parity, args.precision):
        raise CheckFailed(
            f'expected what PyTorch computes in {args.precision}; found that in '
            f'{"; in ".join(wrong)}. {target} is not written',
            {**result, 'path': None, 'bytes': 0},
        )
    content = with_metadata(content, target.suffix, {**facts, 'parity': parity})
    write_atomically(target, content)
    print(f'{target}: {args.output}, {args.precision}, {len(content) / 1e6:.1f} MB')
    return {**result, 'path': target, 'bytes': len(content)}


def _print(parity: dict[str, list[dict[str, Any]]]) -> None:
    for runtime, rows in parity.items():
        for row in rows:
            if 'error' not in row:
                height, width = row['size']
                off = f', logits off by {row["logit_error"]:.1e}' if 'logit_error' in row else ''
                print(f'{runtime}, {width}x{height}: {row["same_labels"]:.3%} same labels{off}')


def _check(args: argparse.Namespace, target: Path) -> None:
    """Refuse what can be known to fail before the work, not after it."""
    from ..inference.export import OPSETS

    if target.suffix not in SUFFIXES or target.is_dir():
        raise ValueError(
            f'--out: expected a file to write, ending {" or ".join(SUFFIXES)}; found {target}'
        )
    if args.opset is not None and (args.opset not in OPSETS or target.suffix != '.onnx'):
        raise ValueError(
            f'--opset: expected {OPSETS[0]} to {OPSETS[-1]}, for a file ending .onnx; found '
            f'{args.opset} for {target}'
        )
    if args.symmetric and args.precision != 'int8':
        raise ValueError(
            f'--symmetric: expected --precision int8 with it; found {args.precision}. Leave it out'
        )


def _with_exit(checkpoint: Checkpoint, exit: str | None) -> Checkpoint:  # noqa: A002
    from ..models.cascade import Cascade

    if exit is None:
        return checkpoint
    network = checkpoint.network
    if not isinstance(network, Cascade):
        raise ValueError(
            f'--exit: expected a network with early exits, such as icnet; found '
            f'{checkpoint.architecture["name"]}, which has none. Leave it out'
        )
    architecture = {**checkpoint.architecture, 'exit': exit}
    return replace(checkpoint, network=network.ending(exit), architecture=architecture)


def _images(input_size: tuple[int, int]) -> list[Image]:
    """Return frames of the sample drive to compare results on, (N, H, W, 3), of several sizes."""
    import numpy as np

    from ..datasets.synthetic.sample_drive import SampleDrive
    from ..interop.parity import sizes

    images = []
    for count, (height, width) in zip((1, 1, 2), sizes(input_size)):
        drive = SampleDrive(seed=1, frames=60, size=(width, height))
        images.append(np.stack([drive[30 * i][0] for i in range(count)]))
    return images
