# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a labelled data set is to the rest: classes, and pairs of image and label files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..inference.image_file import Image, ImageFileError, read_image, read_labels
from ..inference.labels import IGNORE, LabelSet


class DatasetError(ValueError):
    """A data set that is not laid out as it should be; the message names the file."""


@dataclass(frozen=True)
class Dataset:
    """
    Pairs of image and label files.

    :param labels: the classes.
    :param pairs: (image, label) files.
    :param ids: train id of each of the 256 ids that a label file may hold; an id that the
        layout does not know is :data:`UNKNOWN`.
    :param terms: under what terms the data may be used.
    """

    name: str
    labels: LabelSet
    pairs: list[tuple[Path, Path]]
    ids: tuple[int, ...]
    terms: str

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Image, Image]:
        """
        Return an RGB image, uint8 (H, W, 3), and its train ids, uint8 (H, W), 255 ignored.

        :raises DatasetError: the two differ in size, or the labels hold an unknown id.
        """
        image_path, label_path = self.pairs[index]
        try:
            image, raw = read_image(image_path), read_labels(label_path)
        except (OSError, ImageFileError) as error:
            raise DatasetError(f'{self.name}: {error}') from error
        if image.shape[:2] != raw.shape:
            raise DatasetError(
                f'{label_path}: expected labels of the size of {image_path.name}, '
                f'{image.shape[:2]}; found {raw.shape}'
            )
        train_ids = np.asarray(self.ids)[raw]
        if train_ids.min() < 0:
            raise DatasetError(
                f'{label_path}: expected the ids of {self.name}; found '
                f'{sorted(set(raw[train_ids < 0].tolist()))}'
            )
        return image, train_ids.astype(np.uint8)


UNKNOWN = -1


def id_table(known: dict[int, int]) -> tuple[int, ...]:
    """Return the 256 entries of ``Dataset.ids``; 255 is always ignored."""
    return tuple({IGNORE: IGNORE, **known}.get(i, UNKNOWN) for i in range(256))
