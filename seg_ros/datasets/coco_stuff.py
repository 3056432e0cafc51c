# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""COCO-Stuff, 164,000 images in 171 classes, in its official layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..images.labels import COCO_STUFF
from .dataset import Dataset, DatasetError, IdTable, Pair, pairs_of

TERMS = (
    'COCO-Stuff (Caesar, Uijlings, Ferrari: COCO-Stuff: thing and stuff classes in context, '
    "2018): labels under CC BY 4.0, images under Flickr's terms of use"
)
# COCO-Stuff numbers its labels from 1 to 182; these eleven were planned, but never annotated.
_NEVER_DRAWN = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
CLASS_IDS = tuple(label - 1 for label in range(1, 183) if label not in _NEVER_DRAWN)
"""The id of each train id in the label files, whose ids start at 0."""

DECODE = IdTable(
    'COCO-Stuff',
    {id_: i for i, id_ in enumerate(CLASS_IDS)},
    'Put the PNGs of stuffthingmaps_trainval2017.zip there, whose ids are 0 to 181 and 255',
)


def coco_stuff(root: str | Path, split: str) -> Dataset:
    """
    Open a split of COCO-Stuff.

    :param root: the folder that holds ``images`` and ``annotations`` (or ``stuffthingmaps``).
    :param split: ``train`` or ``val``, which are train2017 and val2017, or both joined by ``+``.
    :raises DatasetError: there is no such split, it is empty, or an image has no labels.
    """
    root = Path(root)

    def pairs(name: str) -> Iterator[Pair]:
        if name not in ('train', 'val'):
            raise DatasetError(f'split: expected train, val or train+val; found {name!r}')
        # `annotations` may hold COCO's own JSON files instead of the label images.
        folders = [root / top / f'{name}2017' for top in ('annotations', 'stuffthingmaps')]
        labels = next((folder for folder in folders if folder.is_dir()), folders[0])
        for image in sorted((root / 'images' / f'{name}2017').glob('*.jpg')):
            yield image, labels / f'{image.stem}.png'

    layout = (
        'images/{train2017,val2017}/*.jpg and annotations/{train2017,val2017}/*.png (or '
        'stuffthingmaps instead of annotations)'
    )
    return Dataset('COCO-Stuff', COCO_STUFF, pairs_of(root, split, pairs, layout), DECODE, TERMS)
