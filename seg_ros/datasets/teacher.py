# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labelling images that have no labels with a network, which makes a new data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import csv
import io
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.files import write_atomically
from ..images.image_file import (
    encode_image,
    Image,
    IMAGE_SUFFIXES,
    read_image,
    read_labels,
    write_image,
)
from ..images.labels import IGNORE, LabelSet
from ..images.video_file import read_video, VIDEO_SUFFIXES
from .dataset import DatasetError

THUMBNAIL = 32, 18
"""The width and height, in pixels, of the small copies by which frames are compared."""


class SourceFrame(NamedTuple):
    """
    An image to label.

    :param name: path below ``images/SPLIT`` and ``labels/SPLIT``, without a suffix.
    :param image: uint8 RGB, (H, W, 3).
    :param file: the image's file, which is copied as it is; None for a frame of a video or bag,
        which is written as a JPEG.
    """

    name: str
    image: Image
    file: Path | None


def frames_of(path: Path, every: int = 1, least_change: float = 0.0) -> Iterator[SourceFrame]:
    """
    Yield an image file, all images in a folder and below it, or the frames of a video.

    :param every: take only one of so many frames of a video.
    :param least_change: take only frames of a video that differ from the last one taken by at
        least this mean difference of small grey copies, in steps of 8-bit brightness.
    :raises ValueError: the path does not exist, or is a folder without images.
    """
    if path.is_dir():
        files = sorted(f for f in path.rglob('*') if f.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise ValueError(f'{path}: expected images in this folder; found none')
        for file in files:
            yield SourceFrame(str(file.relative_to(path).with_suffix('')), read_image(file), file)
    elif not path.is_file():
        raise ValueError(
            f'{path}: expected an image, a folder, a video or a bag; it does not exist'
        )
    elif path.suffix.lower() in VIDEO_SUFFIXES:
        yield from thinned(path.stem, read_video(path), every, least_change)
    else:
        yield SourceFrame(path.stem, read_image(path), path)


def thinned(
    name: str, images: Iterable[Image], every: int = 1, least_change: float = 0.0
) -> Iterator[SourceFrame]:
    """
    Yield one of so many frames of a drive, and only those that differ from the last one taken.

    :param name: the drive's name, which becomes the folder of its numbered frames.
    :param every: see :func:`frames_of`.
    :param least_change: see :func:`frames_of`.
    """
    last: NDArray[np.float32] | None = None
    for i, image in enumerate(images):
        if i % every:
            continue
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if last is None or np.abs(small - last).mean() >= least_change:
            last = small
            yield SourceFrame(f'{name}/{i:06}', image, None)


def merged_labels(
    probabilities: NDArray[np.float32],
    given: Image | None = None,
    weight: float = 1.0,
    least_confidence: float = 0.0,
) -> Image:
    """
    Return the most probable class of each pixel, or 255 if it is not probable enough.

    :param probabilities: the network's probability of each class, (C, H, W), summing to 1.
    :param given: existing labels, uint8 train ids (H, W), 255 where there are none.
    :param weight: weight of the existing labels, 0 to 1. Each counts as a probability of 1 for its
        class, and the weighted mean with the network's probabilities decides; 1 keeps them all.
    :param least_confidence: the smallest probability, 0 to 1, for which a pixel gets a label.
    :returns: uint8 train ids, (H, W).
    :raises ValueError: an existing label is not a class, or the sizes differ.
    """
    classes, *size = probabilities.shape
    if given is not None:
        known = given != IGNORE
        if given.shape != tuple(size) or (known & (given >= classes)).any():
            raise ValueError(
                f'expected labels of {tuple(size)} with ids below {classes} or {IGNORE}; found '
                f'{given.shape} with ids up to {given[known].max(initial=0)}'
            )
        probabilities = probabilities * np.where(known, 1 - weight, 1).astype(np.float32)
        rows, columns = np.nonzero(known)
        probabilities[given[known], rows, columns] += weight
    labels = probabilities.argmax(0).astype(np.uint8)
    labels[probabilities.max(0) < least_confidence] = IGNORE
    return labels


class LabelledFolder:
    """
    A data set of the ``folder`` layout that is written image by image.

    :param root: the data set's folder.
    :param split: the split that images are added to.
    :param classes: the classes, which are written to ``classes.csv``.
    :raises DatasetError: the folder holds a data set of other classes already.
    """

    def __init__(self, root: str | Path, split: str, classes: LabelSet) -> None:
        self._images, self._labels = (Path(root, kind, split) for kind in ('images', 'labels'))
        table = io.StringIO()
        writer = csv.writer(table, lineterminator='\n')
        writer.writerow(('id', 'name', 'red', 'green', 'blue'))
        writer.writerows(
            (i, n, *c) for i, (n, c) in enumerate(zip(classes.names, classes.palette))
        )
        path = Path(root, 'classes.csv')
        if path.exists() and path.read_text() != table.getvalue():
            raise DatasetError(
                f'{path}: expected the classes of the labelling network; found others. Choose '
                'another folder, or a network of these classes'
            )
        write_atomically(path, table.getvalue().encode())

    def __contains__(self, name: str) -> bool:
        """Return whether an image of this name has been labelled."""
        return self._label_file(name).is_file()

    def labels(self, name: str) -> Image:
        """Return the labels of an image that has been added, uint8 train ids (H, W)."""
        return read_labels(self._label_file(name))

    def add(self, frame: SourceFrame, labels: Image) -> None:
        """Write an image, and then its labels, so that every labelled image is complete."""
        suffix = frame.file.suffix if frame.file else '.jpg'
        content = frame.file.read_bytes() if frame.file else encode_image(frame.image, suffix, 95)
        write_atomically(self._images / f'{frame.name}{suffix}', content)
        write_image(self._label_file(frame.name), labels)

    def _label_file(self, name: str) -> Path:
        return self._labels / f'{name}.png'
