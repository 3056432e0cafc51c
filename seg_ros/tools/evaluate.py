# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Score a network on a labelled data set.

`python -m torch.distributed.run --nproc-per-node N -m seg_ros evaluate ...` shares the images
among N processes, each with a GPU of its own where there are GPUs; the scores stay the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Any, TYPE_CHECKING

from ._model import add_model_arguments, make_segmenter, used

if TYPE_CHECKING:
    from ..datasets.dataset import LabelledImages
    from ..inference.image_file import Image

DATASETS = ('cityscapes', 'camvid', 'camvid32', 'coco_stuff', 'folder', 'sample_drive')
# Where `test` has no public labels, or may not exist; elsewhere it is the default.
SPLITS = {'cityscapes': 'val', 'coco_stuff': 'val', 'folder': 'val'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('--dataset', required=True, choices=DATASETS)
    parser.add_argument(
        '--root', default='', help="the data set's folder; for sample_drive a bag, or none to draw"
    )
    parser.add_argument('--split', help='test by default; val of cityscapes, coco_stuff, folder')
    parser.add_argument(
        '--scales', type=float, nargs='+', default=[1.0], metavar='S',
        help='input sizes, such as 0.75 1 1.25, whose probabilities are averaged; 1 by default',
    )  # fmt: skip
    parser.add_argument('--flip', action='store_true', help='average with the mirrored image')
    parser.add_argument('--report', metavar='PATH', help='write an HTML report to this file')
    parser.add_argument(
        '--submission', metavar='DIR', help='write what the server of Cityscapes takes'
    )
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Print and return the scores; None in all processes but the first."""
    from ..evaluation.processes import process_group
    from ..inference.segmenter import choose_device

    _check(args)
    with process_group(choose_device(args.device)) as args.device:
        return _evaluate(args)


def _check(args: argparse.Namespace) -> None:
    """Refuse what can be known to fail before the work, not after it."""
    if min(args.scales) <= 0:
        raise ValueError(f'--scales: expected numbers above 0; found {args.scales}')
    if not args.root and args.dataset != 'sample_drive':
        raise ValueError(f'--root: expected the folder of {args.dataset}; found nothing')
    if args.submission and args.dataset != 'cityscapes':
        raise ValueError(
            f'--submission: expected --dataset cityscapes, whose server takes it; found '
            f'{args.dataset}'
        )
    if args.report and Path(args.report).is_dir():
        raise ValueError(f'--report: expected a file to write; found the folder {args.report}')


def _evaluate(args: argparse.Namespace) -> dict[str, Any] | None:
    from tqdm import tqdm

    from ..datasets.catalog import open_dataset
    from ..datasets.dataset import Dataset
    from ..evaluation.cityscapes import instance_files, read_instances, write_submission
    from ..evaluation.processes import rank, world_size
    from ..evaluation.reports.dataset_report import Gallery, write_dataset_report
    from ..evaluation.scores import Scores
    from ..inference.labels import CAMVID

    segmenter = make_segmenter(args)
    objects = None
    if args.dataset == 'sample_drive' and args.root:
        split, labels, samples, total = None, CAMVID, _of_bag(args.root), None
    else:
        split = args.split or SPLITS.get(args.dataset, 'test')
        images = open_dataset(args.dataset, args.root, split)
        share = range(rank(), len(images), world_size())
        labels, samples, total = images.labels, _of_dataset(images, share), len(share)
        if isinstance(images, Dataset) and args.dataset == 'cityscapes':
            objects = instance_files(images)
    if segmenter.labels.names != labels.names:
        raise ValueError(
            f'{args.dataset}: expected a network of its {len(labels)} classes '
            f'({", ".join(labels.names)}); found {len(segmenter.labels)} in {args.model} '
            f'({", ".join(segmenter.labels.names)})'
        )
    plain = args.scales == [1.0] and not args.flip
    scores, gallery = Scores(labels, bool(objects)), Gallery()
    bar = tqdm(samples, 'evaluating', total=total, unit='image', disable=rank() > 0)
    for index, source, image, truth in bar:
        if plain:
            predicted = segmenter.predict(image).labels
        else:
            predicted = segmenter.predict_averaged(image, args.scales, args.flip)
        instances = read_instances(objects[index], truth.shape) if objects else None
        score = scores.update(predicted, truth, instances)
        if args.report:
            gallery.add(score, index, source, image, truth, predicted)
        if args.submission:
            write_submission(args.submission, source, predicted)
    scores.combine()
    gallery.combine()
    if not scores.images:
        raise ValueError(f'{args.root}: expected images with labels; found none')
    if rank() > 0:
        return None
    if args.report:
        title, subtitle = f'{segmenter.model} on {args.dataset}', _subtitle(args, split)
        write_dataset_report(args.report, title, subtitle, scores, gallery)
    result = scores.result()
    _show(result)
    return {
        **used(segmenter),
        'dataset': args.dataset,
        'split': split,
        'scales': args.scales,
        'flip': args.flip,
        **result,
    }


def _of_dataset(
    images: LabelledImages, share: Sequence[int]
) -> Iterator[tuple[int, str, Image, Image]]:
    """Yield place in the set, name, image and ground truth."""
    from ..datasets.dataset import read_ahead

    for i, pair in zip(share, read_ahead(images, share)):
        yield i, images.source(i), *pair


def _of_bag(path: str) -> Iterator[tuple[int, str, Image, Image]]:
    """Yield the same of this process's share of a bag."""
    from ..evaluation.bags.bag import read_labelled_images
    from ..evaluation.processes import rank, world_size

    for i, pair in enumerate(read_labelled_images(path)):
        if i % world_size() == rank():
            yield i, f'frame {i}', *pair


def _subtitle(args: argparse.Namespace, split: str | None) -> str:
    facts = [f'split {split}' if split else args.root]
    facts.append('scales ' + ', '.join(f'{scale:g}' for scale in args.scales))
    return '; '.join([*facts, 'with mirrored images'] if args.flip else facts)


def _show(result: dict[str, Any]) -> None:
    """Print a table by class, one by category, and the means."""
    columns = {'iou': 'IoU', 'boundary_f': 'boundary F', 'iiou': 'iIoU'}
    _table('class', result, columns)
    if 'category_iou' in result:
        _table('category', result, {'category_iou': 'IoU', 'category_iiou': 'iIoU'})
    accuracy = f'pixel accuracy {_figure(result["pixel_accuracy"])}'
    print(f'mIoU {_figure(result["miou"])}, {accuracy}, {result["images"]} images')


def _table(heading: str, result: dict[str, Any], columns: dict[str, str]) -> None:
    present = {name: text for name, text in columns.items() if name in result}
    rows = next(iter(present))
    print(f'{heading:<16}' + ''.join(f'{text:>12}' for text in present.values()))
    for row in result[rows]:
        cells = (_figure(result[name][row]) if row in result[name] else '' for name in present)
        print(f'{row:<16}' + ''.join(f'{cell:>12}' for cell in cells))
    means = (result['miou' if name == 'iou' else f'mean_{name}'] for name in present)
    print(f'{"mean":<16}' + ''.join(f'{_figure(value):>12}' for value in means))


def _figure(value: float) -> str:
    return 'none' if isnan(value) else f'{value:.4f}'
