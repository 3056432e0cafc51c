# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training images of a recipe: of one data set, or of several with one class list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..datasets.catalog import open_dataset, SampleDrives
from ..datasets.dataset import DatasetError, LabelledImages
from ..datasets.mappings import find_allowed, Mapped, MAPPINGS, MergedLabels
from .config import Recipe
from .images import in_memory, Joined


@dataclass(frozen=True)
class Mixture:
    """
    The images to train on.

    :param images: the images of all sets, one set after the other. In their labels, ids from the
        number of classes on are groups of classes.
    :param sets: (number of images, weight) of each set.
    :param groups: which classes each group allows, bool (G, C); None without groups.
    """

    images: LabelledImages
    sets: list[tuple[int, float]]
    groups: NDArray[np.bool_] | None

    def pixels(self, by_image: NDArray[np.int32]) -> NDArray[np.float64]:
        """
        Return the number of pixels of each id in an epoch, (256,).

        :param by_image: pixels of each id in each image, (N, 256).
        """
        parts = np.split(by_image, np.cumsum([images for images, _ in self.sets])[:-1])
        shown = [w * part.sum(0, dtype=np.int64) for part, (_, w) in zip(parts, self.sets)]
        return np.sum(shown, axis=0, dtype=np.float64)


def open_mixture(recipe: Recipe) -> Mixture:
    """
    Open the images that a recipe trains on.

    :raises DatasetError: a data set cannot be opened, or its classes are not the recipe's and no
        mapping fits.
    :raises ValueError: the sample drives' classes are not the recipe's.
    """
    opened = [open_dataset(each.dataset, each.root, each.split) for each in recipe.sources]
    labels = opened[0].labels
    if recipe.datasets:
        labels = open_dataset(recipe.dataset, recipe.root, recipe.splits[1]).labels
    merged = MergedLabels(labels)
    sets: list[LabelledImages] = []
    for source, images in zip(recipe.sources, opened):
        if images.labels.names != labels.names or source.mapping:
            allowed = find_allowed(source.mapping, images.labels, labels)
            if allowed is None:
                other = [name for name in images.labels.names if name not in labels.names]
                raise DatasetError(
                    f'{images.name}: expected the classes of {recipe.dataset} '
                    f'({", ".join(labels.names)}), or a mapping to them; found '
                    f'{", ".join(other)}. Set its mapping to one of {", ".join(MAPPINGS)}, or to '
                    'a YAML file'
                )
            images = Mapped(images, labels, merged.ids(allowed))
        sets.append(images)
    weights = [source.weight for source in recipe.sources]
    if recipe.drives:
        height, width = sets[0][0][1].shape
        drives = SampleDrives(recipe.drives, recipe.drive_frames, (width, height))
        sets.append(drives)
        weights.append(1.0)
    together = Joined(*sets) if len(sets) > 1 else sets[0]
    groups = merged.allowed() if merged.groups else None
    return Mixture(in_memory(together), [(len(s), w) for s, w in zip(sets, weights)], groups)
