# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labels that a network makes of images that have none, written as a data set of its own."""

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
"""Width and height at which two frames of a video are compared."""


class SourceFrame(NamedTuple):
    """
    An image to label.

    :param name: path below ``images/SPLIT`` and ``labels/SPLIT``, without a suffix.
    :param image: uint8 RGB, (H, W, 3).
    :param file: the image file that it is, if it is one; else it becomes a JPEG.
    """

    name: str
    image: Image
    file: Path | None


def frames_of(path: Path, every: int = 1, least_change: float = 0.0) -> Iterator[SourceFrame]:
    """
    Yield the images of a file or of a folder and all below it, or the frames of a video.

    :param every: of a video one frame in so many.
    :param least_change: of a video only frames that differ from the one before by at least this
        much, the mean difference of small grey pictures in steps of 8-bit brightness.
    :raises ValueError: it is none of these.
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
    Yield one in so many frames of a drive, and only those that show something new.

    :param name: of the drive: what its frames are numbered in.
    :param every: as :func:`frames_of`'s, and ``least_change`` likewise.
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
    Return the likeliest class of each pixel, or 255 where it is not likely enough.

    :param probabilities: of the classes, (C, H, W), summing to 1.
    :param given: labels that are there already, uint8 train ids (H, W), 255 where there are none.
    :param weight: of the given labels, 0 to 1: 1 keeps them, less takes the weighted mean of the
        network's probabilities and of theirs, which is all on their own class.
    :param least_confidence: smallest probability, 0 to 1, that makes a label.
    :returns: uint8 train ids, (H, W).
    :raises ValueError: a given label is no class, or the sizes differ.
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
    A data set of the ``folder`` layout that grows image by image.

    :param root: its folder.
    :param split: the split that images are added to.
    :raises DatasetError: it is there already, with other classes.
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
                f'{path}: expected the classes of the network that labels; found others. Choose '
                'another folder, or that network'
            )
        write_atomically(path, table.getvalue().encode())

    def __contains__(self, name: str) -> bool:
        """Return whether an image of this name has its labels."""
        return self._label_file(name).is_file()

    def labels(self, name: str) -> Image:
        """Return the labels of an image that is in it, uint8 train ids (H, W)."""
        return read_labels(self._label_file(name))

    def add(self, frame: SourceFrame, labels: Image) -> None:
        """Write an image and its labels, these last, so that what has labels is whole."""
        suffix = frame.file.suffix if frame.file else '.jpg'
        content = frame.file.read_bytes() if frame.file else encode_image(frame.image, suffix, 95)
        write_atomically(self._images / f'{frame.name}{suffix}', content)
        write_image(self._label_file(frame.name), labels)

    def _label_file(self, name: str) -> Path:
        return self._labels / f'{name}.png'
