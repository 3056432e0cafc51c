# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Classes: their names, their colours, and the id of a pixel that has none."""

from __future__ import annotations

from dataclasses import dataclass

IGNORE = 255
"""Id of an unlabeled pixel, in label images, masks and losses alike."""

Palette = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class LabelSet:
    """
    The classes of a network or a data set, in the order of their ids.

    :param names: one unique name a class.
    :param palette: one (red, green, blue) a class, 0 to 255.
    :raises ValueError: names and colours do not pair up, or a name comes twice.
    """

    names: tuple[str, ...]
    palette: Palette

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise ValueError(
                f'expected one colour a class; found {len(self.names)} classes and '
                f'{len(self.palette)} colours'
            )
        if not 0 < len(self.names) <= IGNORE or len(set(self.names)) != len(self.names):
            raise ValueError(
                f'expected 1 to {IGNORE} classes with different names; found {self.names}'
            )

    def __len__(self) -> int:
        return len(self.names)


CAMVID = LabelSet(
    # The order of the SegNet tutorial, and the colours of the original 32-class set.
    ('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car', 'pedestrian',
     'bicyclist'),
    ((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192), (128, 128, 0),
     (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)  # fmt: skip

CITYSCAPES = LabelSet(
    # The 19 train ids of cityscapesScripts (cityscapesscripts/helpers/labels.py).
    ('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
     'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train',
     'motorcycle', 'bicycle'),
    ((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
     (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
     (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100),
     (0, 80, 100), (0, 0, 230), (119, 11, 32)),
)  # fmt: skip
