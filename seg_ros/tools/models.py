# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""List the networks that come with the package, or describe the given ones."""

from __future__ import annotations

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        'models', nargs='*', help="shipped names or checkpoints' paths; all shipped by default"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Print and return what each network is, what it was trained on and how well it does."""
    from ..inference.checkpoint import find_checkpoint, load_checkpoint, shipped_models

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
    return {'models': found}
