# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Make a trained network smaller: filters that weigh little go, and what stays is fine-tuned.

It goes in steps, as the ICNet paper has it: each starts from the network that the one before has
left. Killed, it goes on where it was (--resume).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import pairwise
import json
from pathlib import Path
from typing import Any, TYPE_CHECKING

from ._result import plain, write_json

if TYPE_CHECKING:
    from ..datasets.dataset import LabelledImages
    from ..inference.checkpoint import Checkpoint
    from ..training.config import Recipe

PARTS = ('head', 'branches')
ARGUMENTS = 'arguments.json'
EPOCHS = 0.25
LEARNING_RATE = 0.5
"""Of the recipe's, since what is fine-tuned has learnt most of it already."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('model', metavar='MODEL', help="a shipped name or a checkpoint's path")
    parser.add_argument('--config', required=True, help='recipe to fine-tune by, a YAML file')
    parser.add_argument('--root', help="the data set's folder, instead of the recipe's")
    parser.add_argument(
        '--keep', nargs='+', type=float, default=[0.75, 0.5], metavar='SHARE',
        help="of MODEL's channels, step by step; 0.75 0.5 by default",
    )  # fmt: skip
    parser.add_argument(
        '--parts', nargs='+', choices=PARTS, default=PARTS,
        help='what gets narrower: the head of a BiSeNetV2 (with the boosters), or all before it; '
        'ICNet and PSPNet50 have branches alone; both by default',
    )  # fmt: skip
    parser.add_argument(
        '--epochs', type=int, metavar='N', help="of each fine-tuning; a quarter of the recipe's"
    )
    parser.add_argument(
        '--learning-rate', type=float, metavar='RATE', help="by default half of the recipe's"
    )
    parser.add_argument(
        '--set', action='append', default=[], metavar='KEY=VALUE',
        help="in place of the recipe's, as in --set 'crop=[288, 384]'",
    )  # fmt: skip
    parser.add_argument('--out', required=True, help='folder for the networks')
    parser.add_argument('--resume', action='store_true', help='go on where OUT left off')
    parser.add_argument(
        '--baseline', nargs='+', default=[], metavar='CHECKPOINT',
        help='networks to compare with, such as a small one that was trained from scratch',
    )  # fmt: skip
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--backend', default='auto', help='that scores and times: auto, openvino, torch, ...'
    )
    parser.add_argument('--precision', default='auto', help='likewise: auto, fp32, bf16 or fp16')


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Prune and fine-tune; print and return what each network costs and how well it does.

    :raises ValueError: an argument, or how network, recipe and data go together, is wrong.
    :raises CheckpointError: a network cannot be read, or OUT holds another compression.
    """
    from ..inference.checkpoint import find_checkpoint, load_checkpoint
    from ..inference.segmenter import choose_device
    from ..pruning.compression import narrower, prune
    from ..pruning.trade_off import TradeOff

    args.device = choose_device(args.device)
    out, file = Path(args.out), find_checkpoint(args.model)
    original = load_checkpoint(file)
    _check(args, out)
    recipe, scored = _opened(args, original)
    parts = [part for part in PARTS if part in args.parts]
    widths = {keep: narrower(original.architecture, keep, parts) for keep in args.keep}
    for architecture in widths.values():
        prune(original, architecture)  # what cannot be is said now, not hours later
    wanted = {'model': original.sha256, 'parts': parts, **asdict(recipe), 'root': ''}
    if args.resume and (out / ARGUMENTS).exists():
        begun = json.loads((out / ARGUMENTS).read_text(encoding='utf-8'))
        _check_made_of(out / ARGUMENTS, begun, wanted)
    else:
        write_json(out / ARGUMENTS, wanted)
    baselines = {name: _baseline(name, original) for name in args.baseline}

    table = TradeOff(scored, args.device, args.backend, args.precision)
    table.add('1', original, file)
    wide = original
    for keep, architecture in widths.items():
        pruned = prune(wide, architecture)
        pruned.training['compressed'][-1] |= {
            'from': file.name, 'keep': keep, 'parts': parts,
        }  # fmt: skip
        folder, file = out / f'keep_{keep:g}', out / f'keep_{keep:g}.safetensors'
        pruned = _pruned(folder / 'pruned.safetensors', pruned)
        table.add(f'{keep:g} pruned', pruned, folder / 'pruned.safetensors')
        wide = _fine_tuned(args, replace(recipe, network=architecture), pruned, folder, file)
        table.add(f'{keep:g} fine-tuned', wide, file)
    for name, other in baselines.items():
        table.add(f'baseline {name}', other, find_checkpoint(name))
    table.time()
    print(table.text())
    return {
        'model': args.model,
        'checkpoint': file,
        'device': args.device,
        'backend': table.backend,
        'precision': table.precision,
        'input_size': original.input_size,
        'parts': parts,
        'epochs': recipe.epochs,
        'learning_rate': recipe.learning_rate,
        'results': table.rows,
    }


def _check(args: argparse.Namespace, out: Path) -> None:
    """Refuse what can be known to fail before the work, not after it."""
    if not args.keep[0] < 1 or any(a <= b for a, b in pairwise([*args.keep, 0])):
        raise ValueError(
            f'--keep: expected falling shares between 1 and 0, as in 0.75 0.5; found '
            f'{" ".join(f"{keep:g}" for keep in args.keep)}'
        )
    if args.precision == 'int8':
        raise ValueError(
            '--precision: expected auto, fp32, bf16 or fp16; found int8, which needs ranges that '
            'a pruned network does not have yet. Compress it, and then: seg_ros calibrate'
        )
    leftovers = sorted(out.glob('keep_*'))
    if leftovers and not args.resume:
        raise ValueError(
            f'{out}: expected a folder without a compression; found {leftovers[0].name}. Go on '
            'with it (--resume), or choose another folder (--out)'
        )
    for part in (*out.glob('.keep_*.safetensors.*'), *out.glob('keep_*/.pruned.*')):
        part.unlink()  # a kill came while this was being written


def _opened(
    args: argparse.Namespace, original: Checkpoint
) -> tuple[Recipe, dict[str, LabelledImages]]:
    """Return how to fine-tune, and the splits to score on."""
    from ..datasets.catalog import open_dataset
    from ..training.config import load_recipe

    recipe = load_recipe(args.config, args.set)
    if recipe.network.get('name') != original.architecture['name']:
        raise ValueError(
            f'{args.config}: expected a recipe of the network to compress, '
            f'{original.architecture["name"]}; found one of {recipe.network.get("name")}'
        )
    epochs, rate = args.epochs, args.learning_rate
    recipe = replace(
        recipe,
        root=args.root or recipe.root,
        # What all networks of the table are scored at.
        input_size=original.input_size,
        epochs=max(1, round(EPOCHS * recipe.epochs)) if epochs is None else epochs,
        learning_rate=LEARNING_RATE * recipe.learning_rate if rate is None else rate,
    )
    splits = {split: open_dataset(recipe.dataset, recipe.root, split) for split in recipe.splits}
    classes = splits[recipe.splits[0]].labels.names
    if classes != original.labels.names:
        raise ValueError(
            f'{args.model}: expected a network of the {len(classes)} classes of {recipe.dataset} '
            f'({", ".join(classes)}); found {len(original.labels)} '
            f'({", ".join(original.labels.names)}). Train it on them first (pretrained)'
        )
    return recipe, {split: splits[split] for split in recipe.splits[1:]}


def _baseline(name: str, original: Checkpoint) -> Checkpoint:
    from ..inference.checkpoint import find_checkpoint, load_checkpoint

    other = load_checkpoint(find_checkpoint(name))
    if other.labels.names != original.labels.names:
        raise ValueError(
            f'--baseline: expected a network of the classes of the one to compress; found '
            f'{", ".join(other.labels.names)} in {name}'
        )
    return other


def _pruned(file: Path, pruned: Checkpoint) -> Checkpoint:
    """Return what a killed compression has pruned, or else write it."""
    from ..inference.checkpoint import load_checkpoint, save_checkpoint

    if not file.exists():
        save_checkpoint(file, pruned)
    found = load_checkpoint(file)
    _check_made_of(file, found.training, {'compressed': pruned.training['compressed']})
    return found


def _fine_tuned(
    args: argparse.Namespace, recipe: Recipe, pruned: Checkpoint, folder: Path, file: Path
) -> Checkpoint:
    """Return what a killed compression has made, or go on making it."""
    import torch

    from ..inference.checkpoint import load_checkpoint, save_checkpoint
    from ..training.loop import Training

    history = pruned.training['compressed']
    if not file.exists():
        recipe = replace(recipe, pretrained=str(folder / 'pruned.safetensors'))
        training = Training(recipe, folder, args.device)
        training.resume()
        training.run()
        best = load_checkpoint(folder / 'best.safetensors')
        best.training['compressed'] = history
        save_checkpoint(file, best, torch.float16)
    found = load_checkpoint(file)
    _check_made_of(file, found.training, {'compressed': history})
    # Of other files a checkpoint holds the names alone.
    given = found.training['recipe'].keys() - {'root', 'pretrained', 'teacher'}
    wanted = {key: value for key, value in asdict(recipe).items() if key in given}
    _check_made_of(file, found.training['recipe'], wanted)
    return found


def _check_made_of(file: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise unless a file of an earlier run is what this one would make."""
    from ..inference.checkpoint import CheckpointError

    for key, value in plain(wanted).items():
        if found.get(key) != value:
            raise CheckpointError(
                f'{file}: expected {key}: {value}; found {found.get(key)}. Resume with the '
                'arguments that it was made with, or choose another folder (--out)'
            )
