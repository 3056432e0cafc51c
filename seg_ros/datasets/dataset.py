# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of a labelled data set, and what reading one from image files needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..images.image_file import Image, ImageFileError, read_image, read_labels
from ..images.labels import IGNORE, LabelSet

Pair = tuple[Path, Path]
"""The files of an image and of its labels."""

AHEAD = 8
"""Number of images that :func:`read_ahead` reads before they are needed."""


class DatasetError(ValueError):
    """A data set is not laid out as expected; the message names the file."""


class LabelledImages(Protocol):
    """
    Images and their labels, read from disk or drawn.

    :param name: the data set's name.
    :param labels: the classes.
    :param terms: the terms under which the data may be used.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def labels(self) -> LabelSet: ...  # noqa: D102

    @property
    def terms(self) -> str: ...  # noqa: D102

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Image, Image]:
        """Return an RGB image, uint8 (H, W, 3), and its train ids, uint8 (H, W), 255 ignored."""
        ...

    def source(self, index: int) -> str:
        """Return the origin of an image, by which messages name it."""
        ...


@dataclass(frozen=True)
class Dataset:
    """
    A data set that consists of pairs of image and label files.

    :param labels: the classes.
    :param pairs: the (image, label) files.
    :param decode: reads a label file as train ids, uint8 (H, W).
    :param terms: the terms under which the data may be used.
    :param camera_of: returns the name of the camera that took an image file; None if there is
        only one camera.
    """

    name: str
    labels: LabelSet
    pairs: list[Pair]
    decode: Callable[[Path], Image]
    terms: str
    camera_of: Callable[[Path], str] | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Image, Image]:
        """
        Return an RGB image, uint8 (H, W, 3), and its train ids, uint8 (H, W), 255 ignored.

        :raises DatasetError: a file cannot be read, the two differ in size, or the labels hold
            an unknown id or colour.
        """
        image_path, label_path = self.pairs[index]
        try:
            image, train_ids = read_image(image_path), self.decode(label_path)
        except (OSError, ImageFileError) as error:
            raise DatasetError(f'{self.name}: {error}') from error
        if image.shape[:2] != train_ids.shape:
            raise DatasetError(
                f'{label_path}: expected labels of the size of {image_path.name}, '
                f'{image.shape[:2]}; found {train_ids.shape}'
            )
        return image, train_ids

    def source(self, index: int) -> str:
        """Return the image file's path."""
        return str(self.pairs[index][0])

    def camera(self, index: int) -> str:
        """Return the name of the camera that took an image; empty if it is not known."""
        return self.camera_of(self.pairs[index][0]) if self.camera_of else ''


class IdTable:
    """
    Turns the ids in label files into train ids.

    :param name: name of the data set, or of the ids, for error messages.
    :param known: the train id, or 255, of each id that may occur; 255 stays 255.
    :param remedy: what the user can do about an unknown id, for error messages.
    """

    def __init__(self, name: str, known: Mapping[int, int], remedy: str) -> None:
        self.name, self.remedy = name, remedy
        self.known = {IGNORE: IGNORE, **known}
        self.table = np.array([self.known.get(i, IGNORE) for i in range(256)], np.uint8)

    def __call__(self, path: Path) -> Image:
        """
        Return the train ids of a label file, uint8 (H, W).

        :raises OSError: the file cannot be read.
        :raises ImageFileError: it is not an image of one channel.
        :raises DatasetError: it holds an unknown id.
        """
        return self.convert(read_labels(path), path)

    def convert(self, ids: Image, source: str | Path) -> Image:
        """
        Return the train ids that stand for ``ids``, uint8 (H, W).

        :param ids: uint8 (H, W).
        :param source: the origin of the ids, for error messages.
        :raises DatasetError: there is an unknown id.
        """
        present = np.flatnonzero(cv2.calcHist([ids], [0], None, [256], [0, 256]))
        self.check(source, set(present.tolist()))
        return cv2.LUT(ids, self.table)

    def check(self, source: str | Path, present: set[int]) -> None:
        """
        Raise an error if there are unknown ids.

        :param source: the origin of the ids, for error messages.
        :param present: the ids that occur.
        :raises DatasetError: one of them is unknown.
        """
        unknown = sorted(present - self.known.keys())
        if unknown:
            raise DatasetError(
                f'{source}: expected the ids of {self.name}; found {unknown}. {self.remedy}'
            )


def pairs_of(
    root: Path, split: str, pairs: Callable[[str], Iterable[Pair]], layout: str
) -> list[Pair]:
    """
    Return the (image, label) files of a split.

    :param root: the data set's folder, for error messages.
    :param split: a split, or several joined by ``+``.
    :param pairs: returns the files of one split; it need not check that label files exist.
    :param layout: where the files should be, for error messages.
    :raises DatasetError: a split has no images, or an image has no labels.
    """
    together = []
    for name in split.split('+'):
        found = list(pairs(name)) if name else []
        if not found:
            raise DatasetError(
                f'{root}: expected images in split {name!r}; found none. Point --root at a '
                f'folder of {layout}'
            )
        for image, label in found:
            if not label.is_file():
                raise DatasetError(
                    f'{label}: expected the labels of {image}; found no such file. '
                    f'Put it there, or take the image away. The layout is {layout}'
                )
        together += found
    return together


def class_counts(images: LabelledImages, progress: bool = True) -> NDArray[np.int32]:
    """
    Return the number of pixels of each train id in each image, (N, 256).

    Every image is decoded as well, so that a damaged file is found before a long training.

    :param progress: whether to show a progress bar.
    :raises DatasetError: an image or its labels cannot be read, or no pixel has a class.
    """

    def count(index: int) -> NDArray[np.int32]:
        return np.bincount(images[index][1].ravel(), minlength=256).astype(np.int32)

    with ThreadPoolExecutor() as pool:
        counts = pool.map(count, range(len(images)))
        options = {'total': len(images), 'unit': 'image', 'leave': False}
        bar = tqdm(counts, 'checking labels', disable=not progress or None, **options)
        by_image = np.stack([*bar])
    if not by_image[:, : len(images.labels)].any():
        raise DatasetError(
            f'{images.name}: expected labelled pixels; found only ignored ones in '
            f'{len(images)} images, the first of which is {images.source(0)}. The labels of a '
            'test split may not be public: train and score on another split'
        )
    return by_image


def read_ahead(images: LabelledImages, indices: Iterable[int]) -> Iterator[tuple[Image, Image]]:
    """Yield images and their train ids, while threads read the next :data:`AHEAD` of them."""
    with ThreadPoolExecutor() as pool:
        coming: deque[Future[tuple[Image, Image]]] = deque()
        for index in indices:
            coming.append(pool.submit(images.__getitem__, index))
            if len(coming) > AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
