# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of augmented training images, the same for any number of workers and processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import re

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
from torch.utils.data import Sampler
from tqdm import tqdm

from ..datasets.augmentation import Augmentation
from ..datasets.dataset import LabelledImages
from ..images.image_file import Image
from ..metrics.process_group import gathered, local_world_size, rank, world_size

MEMORY_SHARE = 0.5
"""The share of the available memory that a data set may take."""


class ImagesInMemory:
    """Labelled images that are all read once and kept in memory."""

    def __init__(self, images: LabelledImages) -> None:
        self.name, self.labels, self.terms = images.name, images.labels, images.terms
        self.source = images.source
        with ThreadPoolExecutor() as pool:
            bar = tqdm(
                pool.map(images.__getitem__, range(len(images))),
                'reading',
                len(images),
                leave=False,
                unit='image',
                disable=rank() > 0 or None,
            )
            self._samples = [*bar]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Image, Image]:
        """Return an image, uint8 RGB (H, W, 3), and its labels, uint8 (H, W)."""
        return self._samples[index]


def in_memory(images: LabelledImages) -> LabelledImages:
    """
    Return the images kept in memory, or unchanged if they would take more than half of it.

    This is decided for each of several joined data sets by itself.

    :raises DatasetError: an image or its labels cannot be read.
    """
    if isinstance(images, Joined):
        return Joined(*map(in_memory, images.parts))
    height, width = images[0][1].shape
    needed = len(images) * height * width * 4 * local_world_size()
    # Process 0 decides for all, since the others may find less memory once it has begun.
    fits = gathered(needed <= MEMORY_SHARE * _available_memory())[0]
    return ImagesInMemory(images) if fits else images


def _available_memory() -> int:
    """Return the bytes of memory that are available on this machine or in this container."""
    files = {
        '/proc/meminfo': r'MemAvailable:\s+(\d+)',
        '/sys/fs/cgroup/memory.max': r'(\d+)',
        '/sys/fs/cgroup/memory.current': r'(\d+)',
    }
    found = {}
    for path, pattern in files.items():
        match = re.search(pattern, Path(path).read_text()) if Path(path).is_file() else None
        found[path] = int(match[1]) if match else None
    kibibytes, limit, used = found.values()
    available = 1024 * (kibibytes or 0)
    return available if limit is None or used is None else min(available, limit - used)


class Joined:
    """
    Several sets of labelled images, one after the other.

    :raises ValueError: their classes differ.
    """

    def __init__(self, first: LabelledImages, *others: LabelledImages) -> None:
        for other in others:
            if first.labels.names != other.labels.names:
                raise ValueError(
                    f'{first.name}: expected the classes of {other.name} to add its images; '
                    f'found {", ".join(first.labels.names)}'
                )
        self.parts = first, *others
        self.labels = first.labels
        self.name = ', '.join(dict.fromkeys(part.name for part in self.parts))
        self.terms = union(*(part.terms for part in self.parts))
        self._starts = np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> tuple[Image, Image]:
        """Return an image, uint8 RGB (H, W, 3), and its labels, uint8 (H, W)."""
        part, place = self._place(index)
        return part[place]

    def source(self, index: int) -> str:
        """Return the origin of an image, by which messages name it."""
        part, place = self._place(index)
        return part.source(place)

    def _place(self, index: int) -> tuple[LabelledImages, int]:
        part = int(np.searchsorted(self._starts, index, 'right')) - 1
        return self.parts[part], index - int(self._starts[part])


def union(*terms: str) -> str:
    """Return the terms of use of several data sets together, without repetitions."""
    return '; '.join(dict.fromkeys(part for each in terms for part in each.split('; ') if part))


class TrainingImages(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """
    Augmented images, whose keys are (epoch, index).

    An item's random numbers depend on its key and the seed alone, so that a resumed training, or
    one with another number of workers, gets the same images. Indices beyond the last image start
    again at the first one, which is then changed in another way.

    :param samples: the labelled images.
    :param augmentation: the random changes.
    :param seed: seed of the random numbers.
    :param paste: probability that pixels of a rare class are pasted in from another image.
    :param donors: for each rare class, the indices of the images that have it.
    """

    def __init__(
        self,
        samples: LabelledImages | Sequence[tuple[Image, Image]],
        augmentation: Augmentation,
        seed: int,
        paste: float = 0.0,
        donors: dict[int, list[int]] | None = None,
    ) -> None:
        self.samples = samples
        self.augmentation = augmentation
        self.seed = seed
        self.paste = paste
        self.donors = donors or {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return a changed image, uint8 (3, H, W), and its labels, uint8 (H, W)."""
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        image, labels = self.augmentation(*self.samples[index % len(self)], rng)
        if self.donors and rng.random() < self.paste:
            rare = list(self.donors)[rng.integers(len(self.donors))]
            donor = self.donors[rare][rng.integers(len(self.donors[rare]))]
            other_image, other_labels = self.augmentation(*self.samples[donor], rng)
            pasted = other_labels == rare
            image[pasted], labels[pasted] = other_image[pasted], rare
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(labels)


class Batches(Sampler[list[tuple[int, int]]]):
    """
    This process's part of each batch of an epoch, as keys of :class:`TrainingImages`.

    Every image occurs as often as its set weighs, in an order that depends on the seed and the
    epoch alone; images that do not fill a batch are left out. For a set of weight 2.5, an epoch
    takes every image twice and a random half of them once more.

    :param length: number of images.
    :param batch: images per step, over all processes.
    :param seed: seed of the random order.
    :param sets: (number of images, weight) of each set; by default one set of weight 1.
    :raises ValueError: a batch is larger than an epoch, or cannot be split among the processes.
    """

    def __init__(
        self, length: int, batch: int, seed: int, sets: Sequence[tuple[int, float]] = ()
    ) -> None:
        self.sets = sets or [(length, 1.0)]
        self.drawn = sum(round(images * weight) for images, weight in self.sets)
        if batch > self.drawn:
            raise ValueError(
                f'batch: expected at most the {self.drawn} training images; found {batch}'
            )
        if batch % world_size():
            raise ValueError(
                f'batch: expected a multiple of the {world_size()} processes; found {batch}'
            )
        self.length, self.batch, self.seed, self.epoch = length, batch, seed, 0

    def __len__(self) -> int:
        return self.drawn // self.batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(self._drawn(rng))
        for start in range(0, len(self) * self.batch, self.batch):
            batch = order[start : start + self.batch]
            yield [(self.epoch, int(i)) for i in batch[rank() :: world_size()]]

    def _drawn(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """
        Return the indices of an epoch's images, set by set.

        Each repetition of an image has an index that is larger by ``length``.
        """
        parts, first = [], 0
        for images, weight in self.sets:
            times, rest = divmod(round(images * weight), images)
            parts += [np.arange(images) + first + t * self.length for t in range(times)]
            if rest:
                chosen = rng.permutation(images)[:rest]
                parts.append(chosen + first + times * self.length)
            first += images
        return np.concatenate(parts)
