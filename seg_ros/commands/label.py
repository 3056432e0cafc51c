# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Label images, videos or bags by a network, as a data set to train others on.

The network sees each image at several scales and mirrored; where the mean of its probabilities is
not sure the label is 255. OUT has the layout of the data set `folder`. What is labelled already
is left alone, so an interrupted run goes on where it was; `torchrun --nproc-per-node N -m seg_ros
label ...` shares the images among N processes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TYPE_CHECKING

from ._model import add_model_arguments, make_segmenter, used

if TYPE_CHECKING:
    from ..datasets.teacher import SourceFrame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        'inputs', nargs='+', metavar='INPUT', help='image, folder (all below it), video or bag'
    )
    parser.add_argument('--out', required=True, help='folder of the data set')
    parser.add_argument('--split', default='train', help='of the data set; train by default')
    parser.add_argument('--topic', help='image topic of the bags, where they have several')
    parser.add_argument(
        '--scales', type=float, nargs='+', default=[0.75, 1.0, 1.5], metavar='S',
        help="of the network's input size; 0.75 1 1.5 by default",
    )  # fmt: skip
    parser.add_argument('--no-flip', action='store_true', help='leave the mirrored image out')
    parser.add_argument(
        '--least-confidence', type=float, default=0.5, metavar='P',
        help='below this probability a pixel is 255; 0.5 by default',
    )  # fmt: skip
    parser.add_argument(
        '--merge', metavar='LABELS',
        help="folder of labels that are there already, named as the images are and in the "
        "network's ids, 255 where nothing is known",
    )  # fmt: skip
    parser.add_argument(
        '--merge-weight', type=float, default=1.0, metavar='W',
        help='1, the default, keeps those labels; less averages them with the network',
    )  # fmt: skip
    parser.add_argument('--every', type=int, default=1, metavar='N',
                        help='label one frame in N of a video or bag')  # fmt: skip
    parser.add_argument(
        '--least-change', type=float, default=0.0, metavar='STEPS',
        help='of a video or bag label only frames whose brightness differs by so many of 255 '
        'steps from the one labelled before; 0 labels all',
    )  # fmt: skip
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Label what there is; return how many images and which share of their pixels.

    :raises ValueError: an input, the labels to merge or a number is not what it should be.
    """
    import numpy as np
    from tqdm import tqdm

    from ..datasets.teacher import LabelledFolder, merged_labels
    from ..images.image_file import read_labels
    from ..images.labels import IGNORE
    from ..metrics.process_group import process_group, rank, summed, world_size

    _check(args)
    # PyTorch alone computes at several scales; engines are made for one.
    args.backend = 'torch' if args.backend == 'auto' else args.backend
    with process_group(args.device) as device:
        args.device = device
        segmenter = make_segmenter(args)
        folder = LabelledFolder(args.out, args.split, segmenter.labels)
        counts = np.zeros(3, np.int64)  # images, pixels, labelled pixels
        bar = tqdm(_frames(args), 'labelling', unit='image', disable=rank() > 0 or None)
        for i, frame in enumerate(bar):
            if i % world_size() != rank():
                continue
            if frame.name not in folder:
                given = None
                if args.merge:
                    file = Path(args.merge, f'{frame.name}.png')
                    given = read_labels(file) if file.is_file() else None
                probabilities = segmenter.probabilities(frame.image, args.scales, not args.no_flip)
                try:
                    labels = merged_labels(
                        probabilities, given, args.merge_weight, args.least_confidence
                    )
                except ValueError as error:
                    raise ValueError(f'{args.merge}: {frame.name}: {error}') from error
                folder.add(frame, labels)
            labels = folder.labels(frame.name)
            counts += np.array([1, labels.size, np.count_nonzero(labels != IGNORE)])
        images, pixels, labelled = summed(counts).tolist()
    return {**used(segmenter), 'images': images, 'labelled': labelled / pixels}


def _frames(args: argparse.Namespace) -> Iterator[SourceFrame]:
    """Yield the images of all inputs, each under a name that no other has."""
    from ..bags.bag import read_images
    from ..bags.storage import is_recording, is_storage
    from ..datasets.teacher import frames_of, thinned

    seen: dict[str, Path] = {}
    for path in map(Path, args.inputs):
        if is_recording(path) if path.is_dir() else is_storage(path):
            images = (image for _, _, image in read_images(path, args.topic))
            frames = thinned(path.stem, images, args.every, args.least_change)
        else:
            frames = frames_of(path, args.every, args.least_change)
        for frame in frames:
            other = seen.setdefault(frame.name, path)
            if other is not path:
                raise ValueError(
                    f'{path}: expected images named otherwise than those of {other}; found '
                    f'{frame.name} in both. Label them into folders of their own'
                )
            yield frame


def _check(args: argparse.Namespace) -> None:
    for name, value in (
        ('--least-confidence', args.least_confidence),
        ('--merge-weight', args.merge_weight),
    ):
        if not 0 <= value <= 1:
            raise ValueError(f'{name}: expected 0 to 1; found {value:g}')
    if args.every < 1:
        raise ValueError(f'--every: expected 1 or more; found {args.every}')
    if min(args.scales) <= 0:
        raise ValueError(f'--scales: expected more than 0; found {min(args.scales):g}')
    if args.merge and not Path(args.merge).is_dir():
        raise ValueError(f'--merge: expected a folder of labels; found none at {args.merge}')
