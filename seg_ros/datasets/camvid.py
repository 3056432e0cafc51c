# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""CamVid, 480x360 in 11 classes, as the SegNet tutorial lays it out."""

from __future__ import annotations

from pathlib import Path

from ..inference.labels import CAMVID, IGNORE
from .dataset import Dataset, DatasetError, id_table

VOID = 11
TERMS = (
    'CamVid (Brostow, Fauqueur, Cipolla: Semantic object classes in video, 2008): for research use'
)


def camvid(root: str | Path, split: str) -> Dataset:
    """
    Open a split of CamVid.

    :param root: the folder of ``train.txt``, each line of which names an image and its labels.
    :param split: ``train``, ``val``, ``test``, or several joined by ``+``.
    :raises DatasetError: a list or a file that it names is missing.
    """
    root = Path(root)
    pairs = []
    for name in split.split('+'):
        listing = root / f'{name}.txt'
        if not listing.is_file():
            raise DatasetError(
                f'{listing}: expected a list of image and label files; found no such file. '
                'Point --root at the folder that holds train.txt, val.txt and test.txt'
            )
        for number, line in enumerate(listing.read_text().splitlines(), 1):
            if not line.strip():
                continue
            # The tutorial's own lists hold absolute paths from its author's machine.
            files = [_resolve(root, field) for field in line.split()]
            if len(files) != 2:
                raise DatasetError(
                    f'{listing}:{number}: expected an image and a label file; found {line!r}'
                )
            for file in files:
                if not file.is_file():
                    raise DatasetError(f'{listing}:{number}: {file} does not exist')
            pairs.append((files[0], files[1]))
    if not pairs:
        raise DatasetError(f'{root}: expected images in split {split!r}; found none')
    ids = id_table({**{i: i for i in range(len(CAMVID))}, VOID: IGNORE})
    return Dataset('CamVid', CAMVID, pairs, ids, TERMS)


def _resolve(root: Path, field: str) -> Path:
    path = root / field.lstrip('/')
    return path if path.exists() else root.joinpath(*Path(field).parts[-2:])
