# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Score a network on labelled data sets, camera by camera.

`python -m torch.distributed.run --nproc-per-node N -m seg_ros evaluate ...` shares the images
among N processes, each with a GPU of its own where there are GPUs; the scores stay the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple, TYPE_CHECKING

from ._model import add_model_arguments, make_segmenter, used

if TYPE_CHECKING:
    from ..datasets.dataset import LabelledImages
    from ..images.image_file import Image
    from ..images.labels import LabelSet
    from ..inference.segmenter import Segmenter
    from ..metrics.cameras import CameraRow, ScoresByCamera
    from ..reports.dataset_report import Gallery
    from ..training.config import Source

DATASETS = ('cityscapes', 'camvid', 'camvid32', 'coco_stuff', 'folder', 'sample_drive')
# Where `test` has no public labels, or may not exist; elsewhere it is the default.
SPLITS = {'cityscapes': 'val', 'coco_stuff': 'val', 'folder': 'val'}
YAML = ('.yaml', '.yml')
ROW = ('images', 'classes', 'mIoU', 'accuracy')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--dataset', choices=DATASETS)
    what.add_argument(
        '--datasets', nargs='+', metavar='DATASET=ROOT[:SPLIT]',
        help='several in one table, such as camvid=CAMVID:test folder=STREET:val; or a YAML file '
        "of a list like a recipe's `datasets`, which can name mappings",
    )  # fmt: skip
    parser.add_argument(
        '--root', default='', help="the data set's folder; for sample_drive a bag, or none to draw"
    )
    parser.add_argument('--split', help='test by default; val of cityscapes, coco_stuff, folder')
    parser.add_argument(
        '--mapping', default='', metavar='NAME',
        help="of the network's and the data set's classes, where they differ and no mapping is "
        'known: a YAML file (doc/datasets.md)',
    )  # fmt: skip
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
    from ..inference.segmenter import choose_device
    from ..metrics.process_group import process_group

    _check(args)
    sources = _sources(args)
    with process_group(choose_device(args.device)) as args.device:
        return _evaluate(args, sources)


def _check(args: argparse.Namespace) -> None:
    """Refuse what can be known to fail before the work, not after it."""
    if min(args.scales) <= 0:
        raise ValueError(f'--scales: expected numbers above 0; found {args.scales}')
    for name in ('root', 'split', 'mapping', 'submission'):
        if args.datasets and getattr(args, name):
            raise ValueError(
                f'--{name}: expected it with one --dataset; found it with --datasets, which says '
                'such things of each'
            )
    if args.submission and args.dataset != 'cityscapes':
        raise ValueError(
            f'--submission: expected --dataset cityscapes, whose server takes it; found '
            f'{args.dataset}'
        )
    if args.report and Path(args.report).is_dir():
        raise ValueError(f'--report: expected a file to write; found the folder {args.report}')


def _sources(args: argparse.Namespace) -> list[Source]:
    """Return what to score on, with the split of each."""
    from ..training.config import read_sources, Source

    if args.dataset:
        sources = [Source(args.dataset, args.root, args.split or '', mapping=args.mapping)]
    elif args.datasets[0].endswith(YAML) and len(args.datasets) == 1:
        import yaml

        try:
            content = yaml.safe_load(Path(args.datasets[0]).read_text())
        except yaml.YAMLError as error:
            raise ValueError(f'{args.datasets[0]}: expected YAML: {error}') from error
        sources = [*read_sources(content, args.datasets[0])]
    else:
        sources = [_parse(text) for text in args.datasets]
    option = '--root' if args.dataset else '--datasets'
    for source in sources:
        if source.dataset not in DATASETS:
            raise ValueError(
                f'{option}: expected one of {", ".join(DATASETS)}; found {source.dataset!r}'
            )
        if not source.root and source.dataset != 'sample_drive':
            raise ValueError(f'{option}: expected the folder of {source.dataset}; found nothing')
    return [replace(s, split=s.split or SPLITS.get(s.dataset, 'test')) for s in sources]


def _parse(text: str) -> Source:
    """Read DATASET=ROOT:SPLIT, of which :SPLIT may be missing."""
    from ..training.config import Source

    dataset, _, place = text.partition('=')
    root, colon, split = place.rpartition(':')
    if not colon or '/' in split:  # a colon in a folder's name
        root, split = place, ''
    return Source(dataset, root, split)


class _Opened(NamedTuple):
    """
    A data set, this process's share of it.

    :param name: of the set and the split.
    :param samples: place in the set, camera, name, image and ground truth of each image.
    :param total: how many these are, if known.
    :param cameras: the names of all.
    :param objects: files of instance ids, one an image.
    """

    name: str
    labels: LabelSet
    samples: Iterator[tuple[int, str, str, Image, Image]]
    total: int | None
    cameras: list[str]
    objects: list[Path] | None


def _evaluate(args: argparse.Namespace, sources: Sequence[Source]) -> dict[str, Any] | None:
    from ..metrics.cameras import means, worst
    from ..metrics.process_group import rank
    from ..reports.dataset_report import write_dataset_report, write_datasets_report

    segmenter = make_segmenter(args)
    sets = [_score(args, segmenter, source) for source in sources]
    if rank() > 0:
        return None
    rows = [row for cameras, _ in sets for row in cameras.rows()]
    results = [cameras.together().result() for cameras, _ in sets]
    if len(sets) == 1:
        result, about = results[0], {'dataset': sources[0].dataset, 'split': _split(sources[0])}
        _show(result)
    else:
        about = {'dataset': ', '.join(cameras.name for cameras, _ in sets), 'split': None}
        result = means(rows)
        result['datasets'] = [
            {'dataset': source.dataset, 'split': _split(source), 'name': cameras.name, **each}
            for source, (cameras, _), each in zip(sources, sets, results)
        ]
    if len(rows) > 1:
        _show_rows(rows)
    if args.report and len(sets) == 1:
        title = f'{segmenter.model} on {sources[0].dataset}'
        subtitle = _subtitle(args, _split(sources[0]))
        together = sets[0][0].together()
        write_dataset_report(args.report, title, subtitle, together, sets[0][1], rows)
    elif args.report:
        title = f'{segmenter.model} on {len(sets)} data sets'
        write_datasets_report(args.report, title, _subtitle(args, None), sets, rows)
    lowest = worst(rows)
    return {
        **used(segmenter),
        **about,
        'scales': args.scales,
        'flip': args.flip,
        **result,
        'cameras': [row._asdict() for row in rows],
        'worst_camera': lowest.name if lowest else None,
    }


def _score(
    args: argparse.Namespace, segmenter: Segmenter, source: Source
) -> tuple[ScoresByCamera, Gallery]:
    """Score on one data set."""
    import cv2
    from tqdm import tqdm

    from ..datasets.mappings import common_classes
    from ..images.labels import CITYSCAPES
    from ..metrics.cameras import ScoresByCamera
    from ..metrics.cityscapes import read_instances, write_submission
    from ..metrics.process_group import rank
    from ..metrics.scores import Scores
    from ..reports.dataset_report import Gallery

    opened = _open(source)
    common = common_classes(
        segmenter.labels, opened.labels, source.mapping, args.model, source.dataset
    )
    if args.submission and segmenter.labels.names != CITYSCAPES.names:
        raise ValueError(
            f"--submission: expected a network of Cityscapes' classes; found "
            f'{", ".join(segmenter.labels.names)}'
        )
    objects = opened.objects if common.labels.names == CITYSCAPES.names else None
    plain = args.scales == [1.0] and not args.flip
    cameras = ScoresByCamera(
        opened.name, {c: Scores(common.labels, bool(objects)) for c in opened.cameras}
    )
    gallery = Gallery()
    bar = tqdm(
        opened.samples, 'evaluating', total=opened.total, unit='image', disable=rank() > 0 or None
    )
    for index, camera, name, image, truth in bar:
        if plain:
            predicted = segmenter.predict(image).labels
        else:
            predicted = segmenter.predict_averaged(image, args.scales, args.flip)
        if args.submission:
            write_submission(args.submission, name, predicted)
        predicted, truth = cv2.LUT(predicted, common.predicted), cv2.LUT(truth, common.truth)
        instances = read_instances(objects[index], truth.shape) if objects else None
        score = cameras.cameras[camera].update(predicted, truth, instances)
        if args.report:
            gallery.add(score, index, name, image, truth, predicted)
    cameras.combine()
    gallery.combine()
    if not cameras.together().images:
        raise ValueError(f'{source.root}: expected images with labels; found none')
    return cameras, gallery


def _open(source: Source) -> _Opened:
    from ..datasets.catalog import open_dataset
    from ..datasets.dataset import Dataset
    from ..images.labels import CAMVID
    from ..metrics.cityscapes import instance_files
    from ..metrics.process_group import rank, world_size

    if _split(source) is None:
        return _Opened(Path(source.root).name, CAMVID, _of_bag(source.root), None, [''], None)
    images = open_dataset(source.dataset, source.root, source.split)
    share = range(rank(), len(images), world_size())
    cameras, objects = [''] * len(images), None
    if isinstance(images, Dataset):
        cameras = [images.camera(i) for i in range(len(images))]
        objects = instance_files(images) if source.dataset == 'cityscapes' else None
    name = f'{images.name} {source.split}'
    samples = _of_dataset(images, share, cameras)
    return _Opened(name, images.labels, samples, len(share), sorted(set(cameras)), objects)


def _split(source: Source) -> str | None:
    """Return the split; None of a bag, which is all there is."""
    return None if source.dataset == 'sample_drive' and source.root else source.split


def _of_dataset(
    images: LabelledImages, share: Sequence[int], cameras: Sequence[str]
) -> Iterator[tuple[int, str, str, Image, Image]]:
    """Yield place in the set, camera, name, image and ground truth."""
    from ..datasets.dataset import read_ahead

    for i, pair in zip(share, read_ahead(images, share)):
        yield i, cameras[i], images.source(i), *pair


def _of_bag(path: str) -> Iterator[tuple[int, str, str, Image, Image]]:
    """Yield the same of this process's share of a bag."""
    from ..bags.bag import read_labelled_images
    from ..metrics.process_group import rank, world_size

    for i, pair in enumerate(read_labelled_images(path)):
        if i % world_size() == rank():
            yield i, '', f'frame {i}', *pair


def _subtitle(args: argparse.Namespace, split: str | None) -> str:
    facts = [f'split {split}'] if split else [args.root] if args.root else []
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


def _show_rows(rows: Sequence[CameraRow]) -> None:
    """Print a row for each camera, and the worst one's name."""
    from ..metrics.cameras import worst

    width = max(16, *(len(row.name) + 2 for row in rows))
    print(f'{"camera":<{width}}' + ''.join(f'{text:>12}' for text in ROW))
    for row in rows:
        figures = (_figure(value) for value in (row.miou, row.pixel_accuracy))
        cells = (f'{row.images}', f'{row.classes}', *figures)
        print(f'{row.name:<{width}}' + ''.join(f'{cell:>12}' for cell in cells))
    lowest = worst(rows)
    if lowest:
        print(f'worst camera: {lowest.name}, mIoU {_figure(lowest.miou)}')


def _figure(value: float) -> str:
    return 'none' if isnan(value) else f'{value:.4f}'
