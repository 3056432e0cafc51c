# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Classes: their names, their colours, and the id of unlabeled pixels."""

from __future__ import annotations

from dataclasses import dataclass

IGNORE = 255
"""The id of an unlabeled pixel in label images, masks and losses."""

MAX_NAME = 100
"""The most characters of a class's name."""

Palette = tuple[tuple[int, int, int], ...]


def distinct_palette(count: int) -> Palette:
    """
    Return distinct colours for classes that have none of their own.

    Colours are numbered from 1. The three lowest bits of the number become the highest bits of
    red, green and blue, the next three bits the second highest, and so on. So all colours differ,
    and none is black.

    :param count: how many colours, 255 at most.
    """
    return tuple(
        (_every_third_bit(n), _every_third_bit(n >> 1), _every_third_bit(n >> 2))
        for n in range(1, count + 1)
    )


def _every_third_bit(number: int) -> int:
    return sum((number >> 3 * i & 1) << 7 - i for i in range(3))


@dataclass(frozen=True)
class LabelSet:
    """
    The classes of a network or a data set, in the order of their ids.

    :param names: one unique name for each class, of 1 to :data:`MAX_NAME` printable characters.
    :param palette: one (red, green, blue) for each class, 0 to 255.
    :raises ValueError: there are not as many names as colours, a name occurs twice or is not
        printable, or a colour is not made of values of 0 to 255.
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

        # Names appear in logs, messages and reports, where control characters can do harm.
        for name in self.names:
            if (
                not isinstance(name, str)
                or not name.isprintable()
                or not 0 < len(name) <= MAX_NAME
            ):
                raise ValueError(
                    f'expected class names of 1 to {MAX_NAME} printable characters; found '
                    f'{name!r:.200}'
                )
        for color in self.palette:
            if not all(isinstance(value, int) and 0 <= value <= 255 for value in color):
                raise ValueError(f'expected colours of 0 to 255; found {color!r:.200}')

    def __len__(self) -> int:
        return len(self.names)


CAMVID = LabelSet(
    # The order of the SegNet tutorial, and the colours of the original 32-class set.
    ('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car', 'pedestrian',
     'bicyclist'),
    ((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192), (128, 128, 0),
     (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)  # fmt: skip

CAMVID32 = LabelSet(
    # The original set's 32 classes without Void, in the order of its colour table.
    ('Animal', 'Archway', 'Bicyclist', 'Bridge', 'Building', 'Car', 'CartLuggagePram', 'Child',
     'Column_Pole', 'Fence', 'LaneMkgsDriv', 'LaneMkgsNonDriv', 'Misc_Text', 'MotorcycleScooter',
     'OtherMoving', 'ParkingBlock', 'Pedestrian', 'Road', 'RoadShoulder', 'Sidewalk',
     'SignSymbol', 'Sky', 'SUVPickupTruck', 'TrafficCone', 'TrafficLight', 'Train', 'Tree',
     'Truck_Bus', 'Tunnel', 'VegetationMisc', 'Wall'),
    ((64, 128, 64), (192, 0, 128), (0, 128, 192), (0, 128, 64), (128, 0, 0), (64, 0, 128),
     (64, 0, 192), (192, 128, 64), (192, 192, 128), (64, 64, 128), (128, 0, 192), (192, 0, 64),
     (128, 128, 64), (192, 0, 192), (128, 64, 64), (64, 192, 128), (64, 64, 0), (128, 64, 128),
     (128, 128, 192), (0, 0, 192), (192, 128, 128), (128, 128, 128), (64, 128, 192), (0, 0, 64),
     (0, 64, 64), (192, 64, 128), (128, 128, 0), (192, 128, 192), (64, 0, 64), (192, 192, 0),
     (64, 192, 0)),
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

COCO_STUFF = LabelSet(
    # 80 classes of things and 91 of stuff, in the order of the official labels.txt, which defines
    # no colours.
    ('person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat',
     'traffic light', 'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog',
     'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella',
     'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball', 'kite',
     'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle',
     'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich',
     'orange', 'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch',
     'potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote',
     'keyboard', 'cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book',
     'clock', 'vase', 'scissors', 'teddy bear', 'hair drier', 'toothbrush', 'banner', 'blanket',
     'branch', 'bridge', 'building-other', 'bush', 'cabinet', 'cage', 'cardboard', 'carpet',
     'ceiling-other', 'ceiling-tile', 'cloth', 'clothes', 'clouds', 'counter', 'cupboard',
     'curtain', 'desk-stuff', 'dirt', 'door-stuff', 'fence', 'floor-marble', 'floor-other',
     'floor-stone', 'floor-tile', 'floor-wood', 'flower', 'fog', 'food-other', 'fruit',
     'furniture-other', 'grass', 'gravel', 'ground-other', 'hill', 'house', 'leaves', 'light',
     'mat', 'metal', 'mirror-stuff', 'moss', 'mountain', 'mud', 'napkin', 'net', 'paper',
     'pavement', 'pillow', 'plant-other', 'plastic', 'platform', 'playingfield', 'railing',
     'railroad', 'river', 'road', 'rock', 'roof', 'rug', 'salad', 'sand', 'sea', 'shelf',
     'sky-other', 'skyscraper', 'snow', 'solid-other', 'stairs', 'stone', 'straw',
     'structural-other', 'table', 'tent', 'textile-other', 'towel', 'tree', 'vegetable',
     'wall-brick', 'wall-concrete', 'wall-other', 'wall-panel', 'wall-stone', 'wall-tile',
     'wall-wood', 'water-other', 'waterdrops', 'window-blind', 'window-other', 'wood'),
    distinct_palette(171),
)  # fmt: skip
