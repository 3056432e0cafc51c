# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score a network on a labelled data set."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, TYPE_CHECKING

from ._model import add_model_arguments, make_segmenter, used

if TYPE_CHECKING:
    from ..inference.image_file import Image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('--dataset', required=True, choices=['camvid', 'sample_drive'])
    parser.add_argument('--root', required=True, help="the data set's folder, or the drive's bag")
    parser.add_argument('--split', default='test', help='of a data set that has splits')
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Print and return mIoU, IoU by class and pixel accuracy."""
    from tqdm import tqdm

    from ..datasets.camvid import camvid
    from ..evaluation.bag import read_labelled_images
    from ..evaluation.dataset import evaluate
    from ..inference.labels import CAMVID

    segmenter = make_segmenter(args)
    if segmenter.labels.names != CAMVID.names:
        raise ValueError(
            f'{args.dataset}: expected a network of its classes ({", ".join(CAMVID.names)}); '
            f'found {", ".join(segmenter.labels.names)}'
        )
    if args.dataset == 'camvid':
        dataset = camvid(args.root, args.split)
        samples: Iterable[tuple[Image, Image]] = map(dataset.__getitem__, range(len(dataset)))
        total: int | None = len(dataset)
    else:
        samples, total = read_labelled_images(args.root), None
    bar = tqdm(samples, 'evaluating', total=total, unit='image')
    matrix = evaluate(segmenter, bar)
    iou = dict(zip(segmenter.labels.names, matrix.iou().tolist()))
    for name, value in iou.items():
        print(f'{name:<12}{value:7.4f}')
    print(f'{"mIoU":<12}{matrix.miou():7.4f}')
    return {
        **used(segmenter),
        'dataset': args.dataset,
        'split': args.split if args.dataset == 'camvid' else None,
        'miou': matrix.miou(),
        'iou': iou,
        'pixel_accuracy': matrix.pixel_accuracy(),
        'images': bar.n,
    }
