# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small generated data sets, laid out on disk as the official ones are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from seg_ros.inference.files import write_atomically
from seg_ros.inference.image_file import Image, write_image
from seg_ros.inference.labels import CAMVID32


def patches(rng: np.random.Generator, size: tuple[int, int], values: Sequence[int]) -> Image:
    """
    Return labels in rectangles of all places and sizes, uint8 (H, W).

    :param size: width and height.
    :param values: to choose from; the first is the background.
    """
    width, height = size
    labels = np.full((height, width), values[0], np.uint8)
    for _ in range(24):
        y, x = int(rng.integers(height)), int(rng.integers(width))
        h, w = rng.integers(4, max(5, height // 2)), rng.integers(4, max(5, width // 2))
        labels[y : y + h, x : x + w] = rng.choice(values)
    return labels


def photograph(rng: np.random.Generator, labels: Image) -> Image:
    """Return an RGB image whose colours tell the labels, under noise: something to learn."""
    colours = np.random.default_rng(1).integers(20, 236, (256, 3))
    noise = rng.integers(-20, 21, (*labels.shape, 3))
    return (colours[labels] + noise).astype(np.uint8)


def drawn(
    splits: Sequence[str], images: int, size: tuple[int, int], seed: int, values: Sequence[int]
) -> Iterator[tuple[str, int, Image, Image]]:
    """Yield split, number in it, image and labels of each image; they depend on these alone."""
    for number, split in enumerate(splits):
        for i in range(images):
            rng = np.random.default_rng((seed, number, i))
            labels = patches(rng, size, values)
            yield split, i, photograph(rng, labels), labels


# Ids of cityscapesScripts: every void one, and the classes but wall (12) and train (31), which
# are missing. Caravans and trailers (29, 30) are void, and yet have instances.
CITYSCAPES_IDS = (7, *range(7), 8, 9, 10, 11, *range(13, 31), 32, 33)
CITYSCAPES_COUNTABLE = range(24, 34)
CITIES = ('aachen', 'zurich')


def write_cityscapes(
    root: Path,
    splits: Sequence[str] = ('train', 'val'),
    images: int = 4,
    size: tuple[int, int] = (96, 64),
    seed: int = 0,
) -> Path:
    """
    Write images, labelIds and the instanceIds that go with them, in two cities.

    :param splits: of which ``train_extra`` has coarse labels, and ``test`` void ones only.
    :param images: of each split.
    :param size: width and height.
    """
    for number, split in enumerate(splits):
        kind = 'gtCoarse' if split == 'train_extra' else 'gtFine'
        for i in range(images):
            rng = np.random.default_rng((seed, number, i))
            city = CITIES[i % 2]
            stem = f'{split}/{city}/{city}_{i:06}_000019'
            labels = patches(rng, size, CITYSCAPES_IDS)
            write_image(root / f'leftImg8bit/{stem}_leftImg8bit.png', photograph(rng, labels))
            if split == 'test':
                labels = patches(rng, size, range(4))
            write_image(root / f'{kind}/{stem}_{kind}_labelIds.png', labels)
            instances = _instances(labels)
            _, content = cv2.imencode('.png', instances)
            write_atomically(root / f'{kind}/{stem}_{kind}_instanceIds.png', content.tobytes())
    return root


def _instances(labels: Image) -> np.ndarray:
    """Return uint16: label, or 1000 label + number; some objects stay an unnumbered group."""
    instances = labels.astype(np.uint16)
    for label in CITYSCAPES_COUNTABLE:
        count, objects = cv2.connectedComponents((labels == label).astype(np.uint8))
        for number in range(1, count):
            if number % 4:
                instances[objects == number] = 1000 * label + number
    return instances


# All 171 ids that occur; eleven of the 182 never do.
COCO_STUFF_IDS = sorted(
    {*range(182)} - {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90} | {255}, reverse=True
)


def write_coco_stuff(
    root: Path,
    splits: Sequence[str] = ('train', 'val'),
    images: int = 4,
    size: tuple[int, int] = (96, 64),
    seed: int = 0,
) -> Path:
    """
    Write JPEG images, of which the first of a split is grey, and the PNGs of stuffthingmaps.

    :param size: width and height of every other image; the rest stand upright.
    """
    for number, split in enumerate(splits):
        for i in range(images):
            rng = np.random.default_rng((seed, number, i))
            labels = patches(rng, size[:: 1 - 2 * (i % 2)], COCO_STUFF_IDS)
            image = photograph(rng, labels)
            name = f'{split}2017/{1000 * number + i:012}'
            write_image(root / f'images/{name}.jpg', image if i else image[..., 0])
            write_image(root / f'annotations/{name}.png', labels)
    return root


def write_camvid(
    root: Path,
    splits: Sequence[str] = ('train', 'val', 'test'),
    images: int = 4,
    size: tuple[int, int] = (96, 64),
    seed: int = 0,
) -> Path:
    """Write images, ids of 11 classes and void, and lists, as the SegNet tutorial does."""
    lines: dict[str, list[str]] = {split: [] for split in splits}
    for split, i, image, labels in drawn(splits, images, size, seed, range(12)):
        write_image(root / split / f'{i:05}.png', image)
        write_image(root / f'{split}annot' / f'{i:05}.png', labels)
        lines[split].append(
            f'/SegNet/CamVid/{split}/{i:05}.png /SegNet/CamVid/{split}annot/{i:05}.png'
        )
    for split in splits:
        (root / f'{split}.txt').write_text('\n'.join(lines[split]) + '\n\n')
    return root


def write_camvid32(
    root: Path,
    splits: Sequence[str] = ('train', 'val', 'test'),
    images: int = 4,
    size: tuple[int, int] = (96, 64),
    seed: int = 0,
) -> Path:
    """Write images, labels in the colours of the 31 classes and Void, and the table of these."""
    colours = np.array([(0, 0, 0), *CAMVID32.palette], np.uint8)
    for split, i, image, labels in drawn(splits, images, size, seed, range(32)):
        write_image(root / split / f'{i:05}.png', image)
        write_image(root / f'{split}_labels' / f'{i:05}_L.png', colours[labels])
    (root / 'label_colors.txt').write_text(
        ''.join(
            f'{r} {g} {b}\t{name}\r\n'
            for (r, g, b), name in zip(colours.tolist(), ('Void', *CAMVID32.names))
        )
    )
    return root


def write_folder(
    root: Path,
    splits: Sequence[str] = ('train', 'val'),
    images: int = 4,
    size: tuple[int, int] = (96, 64),
    seed: int = 0,
    classes: int = 17,
) -> Path:
    """
    Write PNG and JPEG images in two folders of a split, ids with gaps, and classes.csv.

    :param classes: up to 127. Ids are the odd numbers; 0 is ignored.
    """
    ids = [2 * i + 1 for i in range(classes)]
    for split, i, image, labels in drawn(splits, images, size, seed, (0, *ids, 255)):
        name = f'{split}/drive{i % 2}/{i:04}'
        write_image(root / f'images/{name}.{("png", "jpg")[i % 2]}', image)
        write_image(root / f'labels/{name}.png', labels)
    rows = ['id,name', '0,ignored', *(f'{id_},class {id_}' for id_ in ids)]
    (root / 'classes.csv').write_text('\n'.join(rows) + '\n')
    return root
