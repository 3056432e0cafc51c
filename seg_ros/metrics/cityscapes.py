# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The Cityscapes benchmark's scores of categories and objects, and its submission files."""

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
"""The mean size in pixels of each class's objects in the training images (cityscapesScripts)."""

INSTANCE_CATEGORIES = tuple(
    name for name, classes in CATEGORIES.items() if set(classes) <= set(INSTANCE_CLASSES)
)
"""The categories that consist of classes with instance ids only."""

_CATEGORY_CLASSES = [[CITYSCAPES.names.index(c) for c in group] for group in CATEGORIES.values()]
_CLASSES = [CITYSCAPES.names.index(name) for name in INSTANCE_CLASSES]
_LABELS = [LABEL_IDS[c] for c in _CLASSES]
_AREAS = np.array([AREAS[name] for name in INSTANCE_CLASSES])
_UNLABELED = 0
_NO_OBJECT = 254


def _tables() -> tuple[Image, Image, Image]:
    """Return the train id of each instance id, the category and the label id of each train id."""
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


_CLASS_OF, _CATEGORY_OF, _LABEL_OF = _tables()


def category_matrix(matrix: ConfusionMatrix) -> ConfusionMatrix:
    """Return the confusion matrix of the 7 categories, in the order of :data:`CATEGORIES`."""
    return matrix.grouped(_CATEGORY_CLASSES)


class InstanceScores:
    """
    The share of each object that was found, for iIoU: a near truck counts no more than a far one.

    The sums are by class, in the order of :data:`INSTANCE_CLASSES`.

    :ivar objects: int64 (8,): number of objects.
    :ivar found: float64 (8,): sum over objects of the share of their pixels that were predicted
        as their class.
    :ivar found_category: float64 (8,): sum over objects of the share of their pixels that were
        predicted as any class of their category.
    """

    def __init__(self) -> None:
        self.objects: NDArray[np.int64] = np.zeros(len(INSTANCE_CLASSES), np.int64)
        self.found: NDArray[np.float64] = np.zeros(len(INSTANCE_CLASSES))
        self.found_category: NDArray[np.float64] = np.zeros(len(INSTANCE_CLASSES))

    def update(self, predicted: Image, instances: NDArray[np.uint16]) -> None:
        """
        Add the objects of one image.

        :param predicted: train ids, (H, W).
        :param instances: instance ids, (H, W): 1000 times the label id plus the object's number.
            Smaller ids, such as those of groups of objects, are no objects.
        """
        objects = _CLASS_OF[instances]
        sizes = _by_object(instances)
        right = _by_object(instances[objects == predicted])
        alike = _by_object(instances[_CATEGORY_OF[objects] == _CATEGORY_OF[predicted]])
        self.objects += np.count_nonzero(sizes, 1)
        self.found += (right / np.maximum(sizes, 1)).sum(1)
        self.found_category += (alike / np.maximum(sizes, 1)).sum(1)

    def iiou(self, matrix: ConfusionMatrix) -> dict[str, float]:
        """Return the iIoU of each class; nan if it never occurred and was never predicted."""
        hits, pixels = _AREAS * self.found, _AREAS * self.objects
        scores = [_iiou(matrix, c, hits[i], pixels[i]) for i, c in enumerate(_CLASSES)]
        return dict(zip(INSTANCE_CLASSES, scores))

    def category_iiou(self, matrix: ConfusionMatrix) -> dict[str, float]:
        """Return the iIoU of the categories that have instance ids, ``human`` and ``vehicle``."""
        categories = category_matrix(matrix)
        scores = {}
        for category, name in enumerate(CATEGORIES):
            if name in INSTANCE_CATEGORIES:
                areas = _AREAS * np.isin(INSTANCE_CLASSES, CATEGORIES[name])
                hits = (areas * self.found_category).sum()
                scores[name] = _iiou(categories, category, hits, (areas * self.objects).sum())
        return scores


def _by_object(instances: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return the number of pixels of each object, (8, 1000), by class and object number."""
    counts = np.bincount(instances.ravel(), minlength=2**16)[:65000]
    return counts.reshape(65, 1000)[_LABELS]


def _iiou(matrix: ConfusionMatrix, c: int, hits: np.float64, pixels: np.float64) -> float:
    """
    Return the iIoU of a class or category; nan if there are no pixels.

    :param c: its index in the matrix.
    :param hits: weighted number of its objects' pixels that were found.
    :param pixels: weighted number of its objects' pixels.
    """
    false_alarms = matrix.counts[:, c].sum() - matrix.counts[c, c]
    union = pixels + false_alarms
    return float(hits / union) if union else float('nan')


def instance_files(dataset: Dataset) -> list[Path] | None:
    """
    Return the file of instance ids of each image; None if no image has one.

    :raises DatasetError: only some images have one.
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

    :param size: (height, width) that the image must have.
    :raises DatasetError: the file is not such an image.
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
    Write a prediction in the form of the benchmark's server: label ids in a PNG of the same name.

    :param folder: the folder to write to.
    :param image: the image's file, ``CITY_SEQUENCE_FRAME_leftImg8bit.png``.
    :param predicted: train ids at the image's size, (H, W).
    :raises OSError: the file cannot be written.
    """
    write_image(Path(folder) / f'{Path(image).stem}.png', _LABEL_OF[predicted])
