# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the Cityscapes benchmark scores beside the classes, and the files it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..datasets.cityscapes import CATEGORIES, INSTANCE_CLASSES, instance_file, LABEL_IDS
from ..datasets.dataset import Dataset, DatasetError
from ..images.image_file import Image, ImageFileError, read_labels, write_image
from ..images.labels import CITYSCAPES, IGNORE
from .confusion_matrix import ConfusionMatrix

AREAS = {
    'person': 3462.4756337644,
    'rider': 3930.4788056518,
    'car': 12794.0202738185,
    'truck': 27855.1264367816,
    'bus': 35732.1511111111,
    'train': 67583.7075812274,
    'motorcycle': 6298.7200839748,
    'bicycle': 4672.3249222261,
}
"""Mean size in pixels of a class's objects in the training images, as cityscapesScripts has it."""

INSTANCE_CATEGORIES = tuple(
    name for name, classes in CATEGORIES.items() if set(classes) <= set(INSTANCE_CLASSES)
)
"""Categories that are made of objects alone."""

_CATEGORY_CLASSES = [[CITYSCAPES.names.index(c) for c in group] for group in CATEGORIES.values()]
_CLASSES = [CITYSCAPES.names.index(name) for name in INSTANCE_CLASSES]
_LABELS = [LABEL_IDS[c] for c in _CLASSES]
_AREAS = np.array([AREAS[name] for name in INSTANCE_CLASSES])
_UNLABELED = 0
_NO_OBJECT = 254


def _tables() -> tuple[Image, Image, Image]:
    class_of = np.full(2**16, _NO_OBJECT, np.uint8)
    for label, c in zip(_LABELS, _CLASSES):
        class_of[1000 * label : 1000 * (label + 1)] = c
    category_of = np.full(256, IGNORE, np.uint8)
    for category, classes in enumerate(_CATEGORY_CLASSES):
        category_of[classes] = category
    category_of[_NO_OBJECT] = _NO_OBJECT
    label_of = np.full(256, _UNLABELED, np.uint8)
    label_of[: len(LABEL_IDS)] = LABEL_IDS
    return class_of, category_of, label_of


# Train id of the object that an instance id stands for; category of a train id; label id of one.
_CLASS_OF, _CATEGORY_OF, _LABEL_OF = _tables()


def category_matrix(matrix: ConfusionMatrix) -> ConfusionMatrix:
    """Return the matrix of the 7 categories, in the order of :data:`CATEGORIES`."""
    return matrix.grouped(_CATEGORY_CLASSES)


class InstanceScores:
    """
    How much of each object was found, so that a near truck counts no more than a far one.

    The sums are by class of object, in the order of :data:`INSTANCE_CLASSES`.

    :ivar objects: int64 (8,): how many there were.
    :ivar found: float64 (8,): the shares of their pixels that were predicted as their class.
    :ivar found_category: likewise, as any class of their category.
    """

    def __init__(self) -> None:
        self.objects: NDArray[np.int64] = np.zeros(len(INSTANCE_CLASSES), np.int64)
        self.found: NDArray[np.float64] = np.zeros(len(INSTANCE_CLASSES))
        self.found_category: NDArray[np.float64] = np.zeros(len(INSTANCE_CLASSES))

    def update(self, predicted: Image, instances: NDArray[np.uint16]) -> None:
        """
        Count one image's objects.

        :param predicted: train ids, (H, W).
        :param instances: 1000 times the label id plus the object's number; smaller ids, as of
            groups that nobody told apart, are no objects, (H, W).
        """
        objects = _CLASS_OF[instances]
        sizes = _by_object(instances)
        right = _by_object(instances[objects == predicted])
        alike = _by_object(instances[_CATEGORY_OF[objects] == _CATEGORY_OF[predicted]])
        self.objects += np.count_nonzero(sizes, 1)
        self.found += (right / np.maximum(sizes, 1)).sum(1)
        self.found_category += (alike / np.maximum(sizes, 1)).sum(1)

    def iiou(self, matrix: ConfusionMatrix) -> dict[str, float]:
        """Return iIoU by class; nan for one that never occurred and was never predicted."""
        hits, pixels = _AREAS * self.found, _AREAS * self.objects
        scores = [_iiou(matrix, c, hits[i], pixels[i]) for i, c in enumerate(_CLASSES)]
        return dict(zip(INSTANCE_CLASSES, scores))

    def category_iiou(self, matrix: ConfusionMatrix) -> dict[str, float]:
        """Return iIoU of the categories that are made of objects, ``human`` and ``vehicle``."""
        categories = category_matrix(matrix)
        scores = {}
        for category, name in enumerate(CATEGORIES):
            if name in INSTANCE_CATEGORIES:
                areas = _AREAS * np.isin(INSTANCE_CLASSES, CATEGORIES[name])
                hits = (areas * self.found_category).sum()
                scores[name] = _iiou(categories, category, hits, (areas * self.objects).sum())
        return scores


def _by_object(instances: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return how many pixels each object has: (8, 1000), by class and number."""
    counts = np.bincount(instances.ravel(), minlength=2**16)[:65000]
    return counts.reshape(65, 1000)[_LABELS]


def _iiou(matrix: ConfusionMatrix, c: int, hits: np.float64, pixels: np.float64) -> float:
    """Return iIoU of the weighted pixels that were found and that there were; nan of none."""
    false_alarms = matrix.counts[:, c].sum() - matrix.counts[c, c]
    union = pixels + false_alarms
    return float(hits / union) if union else float('nan')


def instance_files(dataset: Dataset) -> list[Path] | None:
    """
    Return the files of instance ids, one an image; None of a set that has not a single one.

    :raises DatasetError: only some are missing.
    """
    files = [instance_file(labels) for _, labels in dataset.pairs]
    missing = [file for file in files if not file.is_file()]
    if len(missing) == len(files):
        return None
    if missing:
        raise DatasetError(
            f'{missing[0]}: expected instance ids beside every label file; {len(missing)} of '
            f'{len(files)} are missing. Copy gtFine again'
        )
    return files


def read_instances(path: Path, size: tuple[int, ...]) -> NDArray[np.uint16]:
    """
    Read instance ids, uint16 (H, W).

    :param size: (height, width) that they must have.
    :raises DatasetError: it is not such an image.
    """
    try:
        instances = read_labels(path, bits=16)
    except ImageFileError as error:
        raise DatasetError(str(error)) from error
    if instances.shape != size:
        raise DatasetError(
            f'{path}: expected instance ids of the shape {size}; found {instances.shape}'
        )
    return instances


def write_submission(folder: str | Path, image: str | Path, predicted: Image) -> None:
    """
    Write what the benchmark's server takes: label ids in a PNG named as the image is.

    :param image: the image's file, ``CITY_SEQUENCE_FRAME_leftImg8bit.png``.
    :param predicted: train ids at the image's size, (H, W).
    :raises OSError: it cannot be written.
    """
    write_image(Path(folder) / f'{Path(image).stem}.png', _LABEL_OF[predicted])
