# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train a network as a recipe says."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('--config', required=True, help='recipe, a YAML file')
    parser.add_argument('--root', help="the data set's folder, instead of the recipe's")
    parser.add_argument('--out', required=True, help='folder for the weights')
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda')
    parser.add_argument('--resume', action='store_true', help='go on where OUT left off')


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train; return the best validation mIoU and where the weights are."""
    import torch

    from ..training.config import load_recipe
    from ..training.loop import Training

    recipe = load_recipe(args.config)
    if args.root:
        recipe = replace(recipe, root=args.root)
    device = args.device
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    training = Training(recipe, args.out, device)
    if args.resume:
        training.resume()
    return training.run()
