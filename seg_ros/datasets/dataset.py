# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a labelled data set is to the rest: classes, images, and the train id of each pixel."""

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
AHEAD = 8


class DatasetError(ValueError):
    """A data set that is not laid out as it should be; the message names the file."""


class LabelledImages(Protocol):
    """
    Images and their labels, on disk or drawn.

    :param name: of the data set.
    :param labels: the classes.
    :param terms: under what terms the data may be used.
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
        """Return where an image comes from, to name it by."""
        ...


@dataclass(frozen=True)
class Dataset:
    """
    Pairs of image and label files.

    :param labels: the classes.
    :param pairs: (image, label) files.
    :param decode: reads a label file as train ids, uint8 (H, W).
    :param terms: under what terms the data may be used.
    :param camera_of: says which camera an image file is of, where there are several.
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
        """Return the name of the camera that an image is of; empty where nothing says it."""
        return self.camera_of(self.pairs[index][0]) if self.camera_of else ''


class IdTable:
    """
    Turns the ids of labels into train ids, and reads files of them.

    :param name: of the data set, or of the ids.
    :param known: train id, or 255, of each id that may occur; 255 stays 255.
    :param remedy: what to do about an id that may not.
    """

    def __init__(self, name: str, known: Mapping[int, int], remedy: str) -> None:
        self.name, self.remedy = name, remedy
        self.known = {IGNORE: IGNORE, **known}
        self.table = np.array([self.known.get(i, IGNORE) for i in range(256)], np.uint8)

    def __call__(self, path: Path) -> Image:
        """Return a file's train ids. Errors as :func:`read_labels`'s, and DatasetError."""
        return self.convert(read_labels(path), path)

    def convert(self, ids: Image, source: str | Path) -> Image:
        """
        Return train ids.

        :param ids: uint8 (H, W).
        :param source: where they are from, for an error.
        :raises DatasetError: as :meth:`check`.
        """
        present = np.flatnonzero(cv2.calcHist([ids], [0], None, [256], [0, 256]))
        self.check(source, set(present.tolist()))
        return cv2.LUT(ids, self.table)

    def check(self, source: str | Path, present: set[int]) -> None:
        """
        Refuse ids that may not occur.

        :param present: the ids that there are.
        :raises DatasetError: there are others than the known ones.
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

    :param split: several may be joined by ``+``.
    :param pairs: gives those of one split; whether there are label files need not be known.
    :param layout: where the files should be, for an error.
    :raises DatasetError: a split has no images, or an image no labels.
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
    Count the pixels of each train id in each image, (N, 256).

    Every image is decoded, too: whatever is wrong with a file is found here, not hours later.

    :param progress: whether to show a bar.
    :raises DatasetError: as ``images[i]`` does for the first file that is wrong; or no pixel has
        a class.
    """

    def count(index: int) -> NDArray[np.int32]:
        return np.bincount(images[index][1].ravel(), minlength=256).astype(np.int32)

    with ThreadPoolExecutor() as pool:
        counts = pool.map(count, range(len(images)))
        options = {'total': len(images), 'unit': 'image', 'leave': False}
        bar = tqdm(counts, 'checking labels', disable=not progress, **options)
        by_image = np.stack([*bar])
    if not by_image[:, : len(images.labels)].any():
        raise DatasetError(
            f'{images.name}: expected labelled pixels; found none but ignored ones in '
            f'{len(images)} images, {images.source(0)} the first. The labels of a test split may '
            'not be public: train and score on another'
        )
    return by_image


def read_ahead(images: LabelledImages, indices: Iterable[int]) -> Iterator[tuple[Image, Image]]:
    """Yield images and their train ids; threads read the next ones while these are in use."""
    with ThreadPoolExecutor() as pool:
        coming: deque[Future[tuple[Image, Image]]] = deque()
        for index in indices:
            coming.append(pool.submit(images.__getitem__, index))
            if len(coming) > AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
