# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""List the networks that come with the package, or describe the given ones; draw a legend."""

from __future__ import annotations

import argparse
from typing import Any

from ._model import add_palette_argument

LEGEND_ROW, LEGEND_HEIGHT = 32, 1080
"""Pixels for each class, and at most for all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        'models', nargs='*', help="shipped names or checkpoints' paths; all shipped by default"
    )
    parser.add_argument(
        '--legend', metavar='IMAGE', help="write the one model's classes and colours as a picture"
    )
    add_palette_argument(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Print and return what each network is, what it was trained on and how well it does.

    :raises ValueError: a legend is asked for of several networks.
    """
    from ..inference.checkpoint import find_checkpoint, load_checkpoint, shipped_models
    from ..inference.image_file import write_image
    from ..inference.overlay import legend
    from ..inference.palette import with_palette

    if args.legend and len(args.models) != 1:
        raise ValueError(
            f'--legend: expected one model to draw the classes of; found {len(args.models)}. '
            f'Name one, such as {shipped_models()[0]}'
        )

    found = {}
    for model in args.models or shipped_models():
        path = find_checkpoint(model)
        checkpoint = load_checkpoint(path)
        found[model] = {
            'path': path,
            'architecture': checkpoint.architecture,
            'input_size': checkpoint.input_size,
            'classes': checkpoint.labels.names,
            'parameters': sum(p.numel() for p in checkpoint.network.parameters()),
            'training': checkpoint.training,
        }
        facts = checkpoint.training
        miou = ', '.join(f'{split} {value:.3f}' for split, value in facts.get('miou', {}).items())
        height, width = checkpoint.input_size
        name, classes = checkpoint.architecture['name'], len(checkpoint.labels)
        print(f'{model}: {name}, {width}x{height}, {classes} classes')
        print(f'  trained on {facts.get("data", "unknown data")}; mIoU {miou or "unknown"}')
        print(f'  terms: {facts.get("terms", "unknown")}')
        print(f'  {path}')
        if args.legend:
            labels = with_palette(checkpoint.labels, args.palette)
            write_image(args.legend, legend(labels, min(LEGEND_ROW * classes, LEGEND_HEIGHT)))
            print(f'  legend: {args.legend}')
    return {'models': found}
