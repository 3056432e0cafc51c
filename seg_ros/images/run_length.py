# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run-length encoded masks, in the form that Autoware's fusion nodes read.

A run is a uint8 label and an int32 length in native byte order: five bytes without padding. Runs
follow the pixels row by row and may continue from one row to the next. Autoware's
`perception_utils` (run_length_encoder) uses this form, in the `data` of a mono8 image whose height
and width are those of the mask.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .image_file import Image
from .labels import LabelSet

RUN = np.dtype([('label', np.uint8), ('length', np.int32)])
"""One run: a label, and how many pixels have it."""

AUTOWARE = {
    0: 'unknown', 1: 'building', 2: 'wall', 3: 'obstacle', 4: 'traffic light', 5: 'traffic sign',
    6: 'person', 7: 'vehicle', 8: 'bike', 9: 'road', 10: 'sidewalk', 11: 'road paint',
    12: 'curbstone', 13: 'crosswalk', 14: 'vegetation', 15: 'sky',
}  # fmt: skip
"""Autoware's labels by id."""

# Autoware's id for the class names of CamVid (11 and 32 classes), Cityscapes and COCO-Stuff, in
# lower case. Classes that block the way and have no label of their own are obstacles, since
# Autoware can be told to take buildings and walls out of a point cloud. All others are unknown.
_CLASSES = {
    1: 'building, archway, bridge, tunnel, building-other, house, skyscraper',
    2: 'wall, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood',
    3: 'fence, pole, column_pole, animal, cartluggagepram, othermoving, parkingblock, '
    'trafficcone, railing, cage, bench, fire hydrant, parking meter, potted plant, chair, '
    'suitcase, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe',
    4: 'traffic light, trafficlight',
    5: 'traffic sign, sign, signsymbol, stop sign',
    6: 'person, pedestrian, child, rider',
    7: 'car, truck, bus, train, suvpickuptruck, truck_bus, boat',
    8: 'bicycle, bicyclist, motorcycle, motorcyclescooter',
    9: 'road, roadshoulder',
    10: 'sidewalk, pavement',
    11: 'lanemkgsdriv, lanemkgsnondriv',
    14: 'vegetation, tree, terrain, vegetationmisc, bush, grass, leaves, branch, plant-other',
    15: 'sky, sky-other, clouds',
}
AUTOWARE_IDS = {name: i for i, names in _CLASSES.items() for name in names.split(', ')}
"""Autoware's id by class name in lower case."""


class RunLengthError(ValueError):
    """Data is not a run-length encoded mask; the error says what was expected and found."""


def encode(mask: Image) -> Image:
    """
    Encode a mask as runs.

    :param mask: uint8 (H, W) with at least one pixel.
    :returns: uint8 (5 * runs). Neighbouring runs have different labels.
    :raises RunLengthError: the mask has another type or shape, or no pixels.
    """
    if mask.ndim != 2 or mask.dtype != np.uint8 or not mask.size:
        raise RunLengthError(
            f'expected a mask of uint8 (H, W) with pixels; found {mask.dtype} {mask.shape}'
        )
    pixels = np.ravel(mask)
    starts = np.flatnonzero(pixels[1:] != pixels[:-1])
    starts += 1
    runs = np.empty(len(starts) + 1, RUN)
    runs['label'][0] = pixels[0]
    runs['label'][1:] = pixels[starts]
    runs['length'] = np.diff(starts, prepend=0, append=pixels.size)
    return runs.view(np.uint8)


def decode(runs: bytes | memoryview | NDArray[np.uint8], height: int, width: int) -> Image:
    """
    Decode a mask that :func:`encode` or Autoware has encoded.

    :returns: uint8 (height, width).
    :raises RunLengthError: the last run is incomplete, a run has a length below 1, or the runs do
        not add up to height * width pixels.
    """
    data = np.frombuffer(runs, np.uint8)
    if data.size % RUN.itemsize:
        raise RunLengthError(
            f'expected runs of {RUN.itemsize} bytes each; found {data.size} bytes. The message '
            'is cut off, or is not a run-length encoded mask'
        )
    table = data.view(RUN)
    if len(table) and table['length'].min() <= 0:
        wrong = int(np.argmax(table['length'] <= 0))
        raise RunLengthError(
            f'expected runs of 1 pixel or more; found {table["length"][wrong]} in run {wrong}. '
            'The data is damaged, or comes from a computer with another byte order'
        )
    pixels = int(table['length'].sum(dtype=np.int64))
    if pixels != height * width:
        raise RunLengthError(
            f'expected runs of {height * width} pixels, for {width}x{height}; found {pixels}'
        )
    return np.repeat(table['label'], table['length']).reshape(height, width)


def autoware_mask(mask: Image, labels: LabelSet) -> Image:
    """
    Encode a mask as runs of Autoware's ids.

    :param mask: uint8 (H, W), ids of ``labels``; 255 where unlabeled.
    :returns: uint8 (5 * runs); classes without a counterpart in Autoware become 0, unknown.
    """
    return encode(cv2.LUT(mask, _table(labels)))


@cache
def _table(labels: LabelSet) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for i, name in enumerate(labels.names):
        table[i] = AUTOWARE_IDS.get(name.lower(), 0)
    return table
