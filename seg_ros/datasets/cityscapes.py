# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cityscapes, in its official layout: ``leftImg8bit`` and ``gtFine``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..images.labels import CITYSCAPES, IGNORE
from .dataset import Dataset, DatasetError, IdTable, Pair, pairs_of

TERMS = (
    'Cityscapes (Cordts et al.: The Cityscapes dataset for semantic urban scene understanding, '
    '2016): for non-commercial use, after registration'
)
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each train id. Submissions to the Cityscapes server hold label ids."""

CATEGORIES: dict[str, tuple[str, ...]] = {
    'flat': ('road', 'sidewalk'),
    'construction': ('building', 'wall', 'fence'),
    'object': ('pole', 'traffic light', 'traffic sign'),
    'nature': ('vegetation', 'terrain'),
    'sky': ('sky',),
    'human': ('person', 'rider'),
    'vehicle': ('car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle'),
}
"""The classes of each of Cityscapes' 7 categories."""

INSTANCE_CLASSES = CATEGORIES['human'] + CATEGORIES['vehicle']
"""The classes whose single objects are told apart in the instanceIds files."""


def cityscapes(root: str | Path, split: str) -> Dataset:
    """
    Open a split of Cityscapes.

    :param root: the folder that holds ``leftImg8bit`` and ``gtFine``.
    :param split: ``train``, ``val``, ``test`` (whose public labels are void; for submissions),
        ``train_extra`` (whose labels are coarse, in ``gtCoarse``), or several joined by ``+``.
    :raises DatasetError: a split is empty, or an image has no labelIds file.
    """
    root = Path(root)

    def pairs(name: str) -> Iterator[Pair]:
        kind = 'gtCoarse' if name == 'train_extra' else 'gtFine'
        images, ending = root / 'leftImg8bit' / name, '_leftImg8bit.png'
        for image in sorted(images.glob(f'*/*{ending}')):
            stem = image.name.removesuffix(ending)
            yield image, root / kind / name / image.parent.name / f'{stem}_{kind}_labelIds.png'

    layout = (
        'leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtFine/SPLIT/CITY/*_gtFine_labelIds.png '
        '(of train_extra gtCoarse), as the official archives unpack'
    )
    return Dataset('Cityscapes', CITYSCAPES, pairs_of(root, split, pairs, layout), DECODE, TERMS)


def instance_file(label_path: Path) -> Path:
    """Return the path of the instanceIds file beside a labelIds file."""
    return label_path.with_name(label_path.name.removesuffix('labelIds.png') + 'instanceIds.png')


class _LabelIds(IdTable):
    """The table of Cityscapes' label ids, which also refuses files of train ids."""

    def check(self, source: str | Path, present: set[int]) -> None:
        # Each train id is a valid label id, too. But nearly all labelTrainIds files hold 255 and
        # no official labelIds file does, while every street has label ids above 18.
        if IGNORE in present and 0 <= max(present - {IGNORE}, default=-1) < len(CITYSCAPES):
            raise DatasetError(
                f'{source}: expected label ids, 0 to 33; found train ids, 0 to 18 and 255. '
                'Put the official labelIds there, not a copy of labelTrainIds'
            )
        super().check(source, present)


DECODE = _LabelIds(
    'Cityscapes',
    {id_: LABEL_IDS.index(id_) if id_ in LABEL_IDS else IGNORE for id_ in range(34)},
    'Only 0 to 33 are label ids: put the official labelIds there',
)
