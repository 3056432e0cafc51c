# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a data set to batches of augmented images, the same ones whoever makes them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler
from tqdm import tqdm

from ..datasets.augmentation import Augmentation
from ..datasets.dataset import LabelledImages
from ..evaluation.processes import rank, world_size
from ..inference.image_file import Image

MEMORY_SHARE = 0.5

Sample = tuple[Image, Image]
Samples = LabelledImages | list[Sample]
"""Images with their labels, still on disk or in memory."""


class TrainingImages(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """
    Augmented images.

    An item is asked for by (epoch, index). Its random numbers depend on these and the seed
    alone, so a resumed training, and one with other workers, sees the same images.

    :param paste: probability that an image gets a rare class from another one.
    :param donors: for each rare class, the images that have it.
    """

    def __init__(
        self,
        samples: Samples,
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
        image, labels = self.augmentation(*self.samples[index], rng)
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

    Every index comes once, in an order that depends on the seed and the epoch alone; what does
    not fill a batch is left out.

    :param length: how many images there are.
    :param batch: images a step, over all processes.
    """

    def __init__(self, length: int, batch: int, seed: int) -> None:
        if batch > length:
            raise ValueError(
                f'batch: expected at most the {length} training images; found {batch}'
            )
        if batch % world_size():
            raise ValueError(
                f'batch: expected a multiple of the {world_size()} processes; found {batch}'
            )
        self.length, self.batch, self.seed, self.epoch = length, batch, seed, 0

    def __len__(self) -> int:
        return self.length // self.batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        for start in range(0, len(self) * self.batch, self.batch):
            batch = order[start : start + self.batch]
            yield [(self.epoch, int(i)) for i in batch[rank() :: world_size()]]


def held(images: LabelledImages) -> Samples:
    """
    Return the images in memory, or as they are where they would take more than half of it.

    :raises DatasetError: a file is not what it should be.
    """
    first, _ = images[0]
    needed = len(images) * first.shape[0] * first.shape[1] * 4 * world_size()
    if needed > MEMORY_SHARE * _available_memory():
        return images
    with ThreadPoolExecutor() as pool:
        read = pool.map(images.__getitem__, range(len(images)))
        bar = tqdm(read, 'reading', len(images), unit='image', leave=False, disable=rank() > 0)
        return list(bar)


def _available_memory() -> int:
    for line in Path('/proc/meminfo').read_text().splitlines():
        name, value, *_ = line.split()
        if name == 'MemAvailable:':
            return int(value) * 1024
    return 0
