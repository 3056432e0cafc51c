# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Train a network as a recipe says.

On several GPUs: torchrun --nproc-per-node N -m seg_ros train ...; the recipe's batch is shared.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('--config', required=True, help='recipe, a YAML file')
    parser.add_argument('--root', help="the data set's folder, instead of the recipe's")
    parser.add_argument('--out', help="folder for the weights; runs/ and the recipe's name")
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--resume', action='store_true', help='go on where OUT left off')
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help="in place of the recipe's, as in --set epochs=10 --set 'crop=[288, 384]'",
    )
    parser.add_argument(
        '--profile',
        type=_steps,
        metavar='N',
        help='only time N steps: images/s with and without loading, and the parts of a step',
    )


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Train; return the mIoU reached and where the weights are."""
    from ..inference.segmenter import choose_device
    from ..metrics.process_group import process_group, rank
    from ..training.config import load_recipe
    from ..training.loop import Training
    from ..training.profile import profile

    recipe = load_recipe(args.config, args.set)
    if args.root:
        recipe = replace(recipe, root=args.root)
    out = Path(args.out or Path('runs') / Path(args.config).stem)
    if not args.resume and not args.profile and (out / 'last.pt').exists():
        raise ValueError(
            f'{out}: expected a folder without a training; found last.pt. Go on with it '
            '(--resume), or choose another folder (--out)'
        )
    with process_group(choose_device(args.device)) as device:
        training = Training(recipe, out, device)
        if args.profile:
            result = profile(training, args.profile)
            if rank() > 0:
                return None
            for unit, values in result.items():
                for name, value in values.items():
                    print(f'{name:<12}{value:9.1f} {unit.replace("_per_", "/")}')
            return result
        if args.resume:
            training.resume()
        result = training.run()
        return result if rank() == 0 else None


def _steps(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'expected a number of steps, 1 or more; found {text!r}')
    return int(text)
