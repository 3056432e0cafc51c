# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From one class list to another, by name, where one of them tells fewer classes apart.

A mapping says of each class of a source what it may be among the classes of a target: one, one
of several, or none of them (ignored).
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
"""What a source's class may be; nothing where it is ignored."""

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
"""From CamVid's 11 classes, which the 32 were grouped into (:data:`.camvid.GROUPS`)."""

MAPPINGS: dict[str, ClassMapping] = {'camvid_to_cityscapes': CAMVID_TO_CITYSCAPES}
"""The mappings that a recipe may name. One that fits is found without its name."""


def load_mapping(given: str) -> ClassMapping:
    """
    Return a mapping.

    :param given: a key of :data:`MAPPINGS`, or a YAML file with a line ``source: target``,
        ``source: [target, target]`` or ``source: ignored`` for each class of the source.
    :raises DatasetError: it is neither.
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
    Return what each class of the source may be, bool (source classes, target classes).

    :param where: what to call the mapping in an error.
    :raises DatasetError: a class of the source is not mentioned, or a name is none of a class.
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
    Return what each class of the source may be, as :func:`allowed_classes` does.

    :param given: as :func:`load_mapping` takes it. If it is empty, two lists of the same names
        have the same classes, and else the mapping of :data:`MAPPINGS` is taken that fits.
    :returns: None if it is empty and nothing fits.
    :raises DatasetError: the mapping is missing, or does not fit.
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
    The ids of label images of one class list, where some pixels may be one of several classes.

    An id below the number of classes is a class. The ids from there on are groups, each of which
    allows several classes.

    :ivar groups: the classes, as their ids, that each group allows.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.groups: list[tuple[int, ...]] = []

    def ids(self, allowed: NDArray[np.bool_]) -> Image:
        """
        Return the id of each train id of a source, uint8 (256,); new groups are added.

        :param allowed: what each of its classes may be, (source classes, classes).
        :raises DatasetError: there are more groups than ids for them.
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
    Labelled images with the ids of another class list.

    :param labels: that class list.
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
    What a network and a data set of other classes are both scored in: the coarser class list.

    The finer of the two has its ids replaced by those of the coarser one, each by the class that
    may be it. A data set's pixel that is ignored in the coarser list counts nowhere, a network's
    is a miss.

    :param labels: the coarser class list.
    :param predicted: its id, or 255, of each id that the network predicts, uint8 (256,).
    :param truth: likewise of each train id of the data set.
    """

    labels: LabelSet
    predicted: Image
    truth: Image

    def drawn(self, labels: LabelSet) -> LabelSet:
        """Return the common classes, in the colours of ``labels`` if these are the same."""
        return labels if labels.names == self.labels.names else self.labels

    def as_predicted(self) -> Image:
        """
        Return the network's id that stands for each train id of the data set, uint8 (256,).

        It is the first that the same common class is made of, and 255 where there is none. So
        ground truth can be drawn in the network's colours.
        """
        table = np.full(256, IGNORE, np.uint8)
        for i, common in enumerate(self.truth):
            if common != IGNORE:
                table[i] = np.flatnonzero(self.predicted == common)[0]
        return table


def same_classes(labels: LabelSet) -> CommonClasses:
    """Return what scores a network in its own classes."""
    unchanged = np.arange(256, dtype=np.uint8)
    return CommonClasses(labels, unchanged, unchanged)


def common_classes(
    network: LabelSet, data: LabelSet, mapping: str, model: str, dataset: str
) -> CommonClasses:
    """
    Return what to score a network's predictions on a data set in.

    :param mapping: as :func:`find_allowed` takes it, from the data set's classes to the
        network's, or the other way round if its names are rather those of the network's.
    :param model: what to call the network in an error.
    :param dataset: what to call the data set.
    :raises DatasetError: there is none, it does not fit, or it lets a finer class be two.
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
