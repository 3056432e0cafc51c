# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a data set to batches of augmented images, the same ones whoever makes them."""

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


class Held:
    """Labelled images in memory."""

    def __init__(self, images: LabelledImages) -> None:
        self.name, self.labels, self.terms = images.name, images.labels, images.terms
        self.source = images.source
        bar = {
            'desc': 'reading',
            'total': len(images),
            'unit': 'image',
            'leave': False,
            'disable': rank() > 0,
        }
        with ThreadPoolExecutor() as pool:
            self._samples = [*tqdm(pool.map(images.__getitem__, range(len(images))), **bar)]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Image, Image]:
        """Return an image and its labels, as the images themselves do."""
        return self._samples[index]


def held(images: LabelledImages) -> LabelledImages:
    """
    Return the images in memory, or as they are where they would take more than half of it.

    Of joined sets each is looked at by itself.

    :raises DatasetError: a file is not what it should be.
    """
    if isinstance(images, Joined):
        return Joined(*map(held, images.parts))
    height, width = images[0][1].shape
    needed = len(images) * height * width * 4 * local_world_size()
    # One process decides, since memory is less for whoever looks later.
    fits = gathered(needed <= MEMORY_SHARE * _available_memory())[0]
    return Held(images) if fits else images


def _available_memory() -> int:
    """Return the bytes that this machine, or this container, has left."""
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
    Sets of labelled images, one after the other.

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
        """Return an image and its labels."""
        part, place = self._place(index)
        return part[place]

    def source(self, index: int) -> str:
        """Return where an image comes from."""
        part, place = self._place(index)
        return part.source(place)

    def _place(self, index: int) -> tuple[LabelledImages, int]:
        part = int(np.searchsorted(self._starts, index, 'right')) - 1
        return self.parts[part], index - int(self._starts[part])


def union(*terms: str) -> str:
    """Return the terms of data that comes under all of these, each once."""
    return '; '.join(dict.fromkeys(part for each in terms for part in each.split('; ') if part))


class TrainingImages(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """
    Augmented images.

    An item is asked for by (epoch, index). Its random numbers depend on these and the seed
    alone, so a resumed training, and one with other workers, sees the same images. An index
    beyond the last image counts on from the first one: the same image, changed another way.

    :param paste: probability that an image gets a rare class from another one.
    :param donors: for each rare class, the images that have it.
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
        """Return uint8 (3, H, W) and uint8 (H, W)."""
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

    Every index comes as often as its set weighs, in an order that depends on the seed and the
    epoch alone; what does not fill a batch is left out. Of a set that weighs 2.5 each epoch draws
    every image twice, and half of them, other ones each time, once more.

    :param length: how many images there are.
    :param batch: images a step, over all processes.
    :param sets: (number of images, weight) of each set; one of weight 1 by default.
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
        """Return the epoch's indices, set by set; those of a second time are ``length`` more."""
        parts, first = [], 0
        for images, weight in self.sets:
            times, rest = divmod(round(images * weight), images)
            parts += [np.arange(images) + first + t * self.length for t in range(times)]
            if rest:
                chosen = rng.permutation(images)[:rest]
                parts.append(chosen + first + times * self.length)
            first += images
        return np.concatenate(parts)
