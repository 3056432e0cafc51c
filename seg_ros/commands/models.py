# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""List the networks that come with the package, or those given or in a folder; draw a legend."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TYPE_CHECKING

from ._model import add_palette_argument

if TYPE_CHECKING:
    from ..inference.checkpoint import Checkpoint

LEGEND_ROW, LEGEND_HEIGHT = 32, 1080
"""Pixels for each class, and at most for all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        'models', nargs='*', metavar='MODEL',
        help="shipped names, checkpoints' paths, or folders, in which and below which all "
        'checkpoints are listed; all shipped by default',
    )  # fmt: skip
    parser.add_argument(
        '--legend', metavar='IMAGE', help="write the one model's classes and colours as a picture"
    )
    add_palette_argument(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Print and return what each network is, what it was made from and how well it does.

    Of a file in a folder that cannot be read, that is the error.

    :raises ValueError: what is named cannot be read, there is nothing in a folder, or a legend is
        asked for of several networks.
    """
    from ..images.image_file import write_image
    from ..images.overlay import legend
    from ..images.palette import with_palette
    from ..inference.checkpoint import (
        CheckpointError,
        find_checkpoint,
        load_checkpoint,
        shipped_models,
    )

    named = {model: find_checkpoint(model) for model in args.models if not Path(model).is_dir()}
    if args.legend and (len(args.models) != 1 or not named):
        raise ValueError(
            f'--legend: expected one model to draw the classes of; found {len(named)}. '
            f'Name one, such as {shipped_models()[0]}'
        )
    if not args.models:
        named = {model: find_checkpoint(model) for model in shipped_models()}
    inside = {str(path): path for model in args.models for path in _checkpoints(Path(model))}
    found: dict[str, Any] = {}
    for model, path in (inside | named).items():
        try:
            checkpoint = load_checkpoint(path)
        except CheckpointError as error:
            if model in named:
                raise
            found[model] = {'path': path, 'error': str(error)}
            print(f'{model}: cannot be read\n  {error}')
            continue
        found[model] = facts = {'path': path, **_facts(checkpoint)}
        _print(model, facts)
        if args.legend:
            labels = with_palette(checkpoint.labels, args.palette)
            height = min(LEGEND_ROW * len(labels), LEGEND_HEIGHT)
            write_image(args.legend, legend(labels, height))
            print(f'  legend: {args.legend}')
    return {'models': found}


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in and below a folder; none of what is not a folder."""
    from ..inference.checkpoint import SUFFIX

    if not folder.is_dir():
        return []
    paths = sorted(path for path in folder.rglob(f'*{SUFFIX}') if path.is_file())
    if not paths:
        raise ValueError(
            f'{folder}: expected a folder with checkpoints, *{SUFFIX}; found none there or below. '
            'Check the path; `seg_ros train` and `seg_ros import_checkpoint` make some'
        )
    return paths


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    from ..models.cost import cost_by_branch, total

    network, training = checkpoint.network, checkpoint.training
    return {
        'architecture': checkpoint.architecture,
        'input_size': checkpoint.input_size,
        'classes': checkpoint.labels.names,
        'parameters': sum(p.numel() for p in network.parameters()),
        'multiply_adds': total(cost_by_branch(network, checkpoint.input_size)).macs,
        'int8_ranges': len(checkpoint.activation_ranges),
        'imported_from': training.get('imported_from'),
        'compressed': training.get('compressed', []),
        'miou': training.get('miou', {}),
        'training': training,
    }


def _print(model: str, facts: dict[str, Any]) -> None:
    height, width = facts['input_size']
    name, training = facts['architecture']['name'], facts['training']
    miou = facts['miou'] if isinstance(facts['miou'], dict) else {'': facts['miou']}
    scores = ', '.join(f'{split} {value:.3f}'.strip() for split, value in miou.items())
    int8 = 'knows its ranges for int8' if facts['int8_ranges'] else 'no ranges for int8'
    print(
        f'{model}: {name}, {width}x{height}, {len(facts["classes"])} classes\n'
        f'  {facts["parameters"] / 1e6:.2f} M parameters with what only training needs, '
        f'{facts["multiply_adds"] / 1e9:.2f} G multiply-adds, {int8}'
    )
    if origin := facts['imported_from']:
        print(f'  imported from {origin["project"]}: {origin["file"]}, {origin["url"]}')
    for step in facts['compressed']:
        before = step.get('from', step['architecture'])
        print(f'  compressed from {before}')
    print(f'  trained on {training.get("data", "unknown data")}; mIoU {scores or "unknown"}')
    print(f'  terms: {training.get("terms", "unknown")}')
    print(f'  {facts["path"]}')
