# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Mappings from one class list to another, by name.

A mapping says which classes of a target each class of a source may be: exactly one, one of
several, or none (ignored). So data sets of different classes can be trained and scored together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
import yaml

from ..images.image_file import Image
from ..images.labels import IGNORE, LabelSet
from .dataset import DatasetError, LabelledImages
from .folder import IGNORED

ClassMapping = Mapping[str, tuple[str, ...]]
"""The target classes that each source class may be; an empty tuple if it is ignored."""

CAMVID_TO_CITYSCAPES: ClassMapping = {
    'sky': ('sky',),
    'building': ('building', 'wall'),
    'pole': ('pole',),
    'road': ('road',),
    'pavement': ('sidewalk',),
    'tree': ('vegetation', 'terrain'),
    'sign': ('traffic sign', 'traffic light'),
    'fence': ('fence',),
    'car': ('car', 'truck', 'bus', 'train'),
    'pedestrian': ('person',),
    'bicyclist': ('rider', 'bicycle', 'motorcycle'),
}
"""The mapping from CamVid's 11 classes (see :data:`.camvid.GROUPS`) to those of Cityscapes."""

MAPPINGS: dict[str, ClassMapping] = {'camvid_to_cityscapes': CAMVID_TO_CITYSCAPES}
"""The mappings that a recipe may name. A recipe that names none gets the one that fits."""


def load_mapping(given: str) -> ClassMapping:
    """
    Return a mapping, given by its name or its file.

    :param given: a key of :data:`MAPPINGS`, or a YAML file with a line ``source: target``,
        ``source: [target, target]`` or ``source: ignored`` for each class of the source.
    :raises DatasetError: ``given`` is neither, or the file does not hold a mapping.
    """
    return MAPPINGS[given] if given in MAPPINGS else _read_mapping(given)


def _read_mapping(path: str) -> ClassMapping:
    try:
        content = yaml.safe_load(Path(path).read_text('utf-8'))
    except FileNotFoundError as error:
        raise DatasetError(
            f'mapping: expected one of {", ".join(MAPPINGS)}, or a YAML file; found {path!r}, '
            'which is neither'
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f'{path}: expected YAML in UTF-8: {error}') from error
    if not isinstance(content, dict) or not content:
        raise DatasetError(
            f'{path}: expected lines such as "car: [car, truck]"; found {content!r:.100}'
        )
    mapping: dict[str, tuple[str, ...]] = {}
    for source, value in content.items():
        targets = value if isinstance(value, list) else [value]
        if not targets or not all(isinstance(name, str) for name in (source, *targets)):
            raise DatasetError(
                f'{path}: expected a class name, and what it may be: a name, a list of names or '
                f'{IGNORED}; found {source!r}: {value!r}. YAML reads yes, no and on as truth '
                'values: write such names in quotes'
            )
        mapping[source] = () if targets == [IGNORED] else tuple(targets)
    return mapping


def allowed_classes(
    mapping: ClassMapping, source: LabelSet, target: LabelSet, where: str
) -> NDArray[np.bool_]:
    """
    Return which target classes each source class may be, bool (source classes, target classes).

    :param where: name of the mapping in error messages.
    :raises DatasetError: the mapping misses a source class, or holds a name that is no class.
    """
    holes = [name for name in source.names if name not in mapping]
    if holes:
        raise DatasetError(
            f'{where}: expected every class that it maps from; found nothing about '
            f'{", ".join(holes)}. Say what it may be, or {IGNORED}'
        )
    unknown = [name for name in mapping if name not in source.names]
    if unknown:
        raise DatasetError(
            f'{where}: expected to map from {", ".join(source.names)}; found '
            f'{", ".join(unknown)}, too'
        )
    allowed = np.zeros((len(source), len(target)), np.bool_)
    for i, name in enumerate(source.names):
        unknown = [other for other in mapping[name] if other not in target.names]
        if unknown:
            raise DatasetError(
                f'{where}: expected to map {name} to any of {", ".join(target.names)}, or to '
                f'{IGNORED}; found {", ".join(unknown)}'
            )
        allowed[i, [target.names.index(other) for other in mapping[name]]] = True
    return allowed


def find_allowed(given: str, source: LabelSet, target: LabelSet) -> NDArray[np.bool_] | None:
    """
    Return which target classes each source class may be, bool (source classes, target classes).

    :param given: a mapping as for :func:`load_mapping`. If it is empty, lists of the same names
        are matched by name, and for others the mapping of :data:`MAPPINGS` that fits is used.
    :returns: None if ``given`` is empty and no mapping fits.
    :raises DatasetError: the given mapping does not exist or does not fit.
    """
    if given:
        return allowed_classes(load_mapping(given), source, target, given)
    if set(source.names) == set(target.names):
        return np.array(source.names)[:, None] == np.array(target.names)
    for name, mapping in MAPPINGS.items():
        targets = {other for names in mapping.values() for other in names}
        if set(mapping) == set(source.names) and targets <= set(target.names):
            return allowed_classes(mapping, source, target, name)
    return None


class MergedLabels:
    """
    The ids of label images whose pixels are one class, or one of a group of classes.

    An id below the number of classes is a class. Each id from there on is a group, which allows
    several classes.

    :param labels: the classes.
    :ivar groups: the ids of the classes that each group allows.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.groups: list[tuple[int, ...]] = []

    def ids(self, allowed: NDArray[np.bool_]) -> Image:
        """
        Return the id for each train id of a source, uint8 (256,), and add the groups it needs.

        :param allowed: which classes each source class may be, bool (source classes, classes).
        :raises DatasetError: there are not enough ids for all groups.
        """
        table = np.full(256, IGNORE, np.uint8)
        for i, row in enumerate(allowed):
            classes = tuple(np.flatnonzero(row).tolist())
            if len(classes) > 1 and classes not in self.groups:
                self.groups.append(classes)
            if len(self.labels) + len(self.groups) > IGNORE:
                raise DatasetError(
                    f'mapping: expected at most {IGNORE} classes and groups of classes together; '
                    f'found {len(self.labels)} classes and {len(self.groups)} groups'
                )
            if len(classes) > 1:
                table[i] = len(self.labels) + self.groups.index(classes)
            elif classes:
                table[i] = classes[0]
        return table

    def allowed(self) -> NDArray[np.bool_]:
        """Return which classes each group allows, bool (groups, classes)."""
        table = np.zeros((len(self.groups), len(self.labels)), np.bool_)
        for row, classes in zip(table, self.groups):
            row[[*classes]] = True
        return table


class Mapped:
    """
    Labelled images whose train ids are replaced by the ids of another class list.

    :param images: the labelled images.
    :param labels: the other class list.
    :param table: the new id of each train id, uint8 (256,).
    """

    def __init__(self, images: LabelledImages, labels: LabelSet, table: Image) -> None:
        self.name, self.labels, self.terms = images.name, labels, images.terms
        self.source = images.source
        self._images, self._table = images, table

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Image, Image]:
        """Return an image, uint8 RGB (H, W, 3), and its new ids, uint8 (H, W)."""
        image, train_ids = self._images[index]
        return image, cv2.LUT(train_ids, self._table)


@dataclass(frozen=True)
class CommonClasses:
    """
    The classes in which a network and a data set of different classes are compared.

    They are the coarser of the two class lists. Each id of the finer list is replaced by that of
    the coarse class that it belongs to. Ground truth without a coarse class counts nowhere; a
    prediction without one is a miss.

    :param labels: the coarser class list.
    :param predicted: the common id, or 255, of each id that the network predicts, uint8 (256,).
    :param truth: the common id, or 255, of each train id of the data set, uint8 (256,).
    """

    labels: LabelSet
    predicted: Image
    truth: Image

    def drawn(self, labels: LabelSet) -> LabelSet:
        """Return the common classes, in the colours of ``labels`` if its classes are the same."""
        return labels if labels.names == self.labels.names else self.labels

    def as_predicted(self) -> Image:
        """
        Return a network's id for each train id of the data set, uint8 (256,).

        It is the first of the network's ids that has the same common class, and 255 if there is
        no common class. With it, ground truth is drawn in the network's colours.
        """
        table = np.full(256, IGNORE, np.uint8)
        for i, common in enumerate(self.truth):
            if common != IGNORE:
                table[i] = np.flatnonzero(self.predicted == common)[0]
        return table


def same_classes(labels: LabelSet) -> CommonClasses:
    """Return the common classes of a network and a data set that have the same classes."""
    unchanged = np.arange(256, dtype=np.uint8)
    return CommonClasses(labels, unchanged, unchanged)


def common_classes(
    network: LabelSet, data: LabelSet, mapping: str, model: str, dataset: str
) -> CommonClasses:
    """
    Return the classes in which a network's predictions on a data set are scored.

    :param network: the network's classes.
    :param data: the data set's classes.
    :param mapping: a mapping as for :func:`find_allowed`, from the data set's classes to the
        network's or the other way round, whichever fits the names of its sources better.
    :param model: name of the network in error messages.
    :param dataset: name of the data set in error messages.
    :raises DatasetError: there is no mapping, it does not fit, or it allows more than one coarse
        class for a finer one.
    """
    if network.names == data.names and not mapping:
        return same_classes(data)
    backward = False
    if mapping:
        mapped = load_mapping(mapping).keys()
        backward = len(mapped & {*network.names}) > len(mapped & {*data.names})
    coarse, fine = (network, data) if backward else (data, network)
    allowed = find_allowed(mapping, coarse, fine)
    if allowed is None:
        backward, coarse, fine = True, network, data
        allowed = find_allowed(mapping, coarse, fine)
    if allowed is None:
        raise DatasetError(
            f'{dataset}: expected a network of its {len(data)} classes ({", ".join(data.names)}), '
            f'or a mapping between the two class lists; found {len(network)} in {model} '
            f'({", ".join(network.names)})'
        )
    ambiguous = np.flatnonzero(allowed.sum(0) > 1)
    if ambiguous.size:
        several = [coarse.names[i] for i in np.flatnonzero(allowed[:, ambiguous[0]])]
        raise DatasetError(
            f'{mapping}: expected {fine.names[ambiguous[0]]} to belong to one class, so that it '
            f'can be scored as that; found it in {", ".join(several)}'
        )
    kept, folded = np.full((2, 256), IGNORE, np.uint8)
    for i, j in np.argwhere(allowed):
        kept[i], folded[j] = i, i
    return CommonClasses(coarse, *((kept, folded) if backward else (folded, kept)))
