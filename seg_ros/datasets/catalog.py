# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All data sets, by the names that commands and recipes use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..images.image_file import Image
from ..images.labels import CAMVID, CITYSCAPES, COCO_STUFF, IGNORE, LabelSet
from .camvid import camvid, camvid32
from .camvid import DECODE as CAMVID_IDS
from .cityscapes import cityscapes
from .cityscapes import DECODE as CITYSCAPES_IDS
from .coco_stuff import coco_stuff
from .coco_stuff import DECODE as COCO_STUFF_IDS
from .dataset import DatasetError, IdTable, LabelledImages
from .folder import folder
from .synthetic.sample_drive import SampleDrive

DRIVES = {'train': (1, 2, 3, 4), 'val': (5, 6), 'test': (7, 8)}
"""Seeds of the sample drives in each split; the demo's drive is in none of them."""


class SampleDrives:
    """
    The frames of several sample drives, one drive after the other.

    :param seeds: the seed of each drive.
    :param frames: number of frames in each drive.
    :param size: width and height of a frame in pixels.
    """

    name = 'sample drive'
    labels = CAMVID
    terms = "drawn by this package, under the package's own licence"

    def __init__(
        self, seeds: tuple[int, ...], frames: int = 100, size: tuple[int, int] = (480, 360)
    ) -> None:
        self.frames = frames
        self.drives = [SampleDrive(seed, frames, size) for seed in seeds]

    def __len__(self) -> int:
        return len(self.drives) * self.frames

    def __getitem__(self, index: int) -> tuple[Image, Image]:
        """Draw an image, uint8 RGB (H, W, 3), and its train ids, uint8 (H, W)."""
        drive, frame = self._place(index)
        return drive[frame]

    def source(self, index: int) -> str:
        """Return the drive's seed and the frame's number, in words."""
        drive, frame = self._place(index)
        return f'seed {drive.seed}, frame {frame}'

    def _place(self, index: int) -> tuple[SampleDrive, int]:
        drive, frame = divmod(index, self.frames)
        return self.drives[drive], frame


def sample_drive(_root: str | Path, split: str) -> SampleDrives:
    """
    Open sample drives, of 100 frames each.

    :param _root: not used, since the frames are drawn.
    :param split: ``train``, ``val``, ``test`` (:data:`DRIVES`), a seed, or several of these
        joined by ``+``, such as ``train+9+10``.
    :raises DatasetError: the split is none of these.
    """
    seeds: list[int] = []
    for name in split.split('+'):
        if name not in DRIVES and not name.isdecimal():
            raise DatasetError(
                f'split: expected {", ".join(DRIVES)} or seeds, joined by +; found {split!r}'
            )
        seeds += DRIVES[name] if name in DRIVES else [int(name)]
    return SampleDrives(tuple(seeds))


DATASETS: dict[str, Callable[[str | Path, str], LabelledImages]] = {
    'camvid': camvid,
    'camvid32': camvid32,
    'cityscapes': cityscapes,
    'coco_stuff': coco_stuff,
    'folder': folder,
    'sample_drive': sample_drive,
}
"""The function that opens each data set, given its folder and a split."""


def open_dataset(name: str, root: str | Path, split: str) -> LabelledImages:
    """
    Open a split of a data set.

    :param name: a key of :data:`DATASETS`.
    :param root: the data set's folder.
    :param split: one of its splits, or several joined by ``+``.
    :raises DatasetError: there is no such data set, the split is empty, or files are missing.
    """
    if name not in DATASETS:
        raise DatasetError(f'dataset: expected one of {", ".join(DATASETS)}; found {name!r}')
    return DATASETS[name](root, split)


LABEL_IDS: dict[str, tuple[IdTable, LabelSet]] = {
    'camvid': (CAMVID_IDS, CAMVID),
    'cityscapes': (CITYSCAPES_IDS, CITYSCAPES),
    'coco_stuff': (COCO_STUFF_IDS, COCO_STUFF),
}
"""The ids and classes of each data set whose label files hold ids other than train ids."""


def label_ids(name: str, labels: LabelSet) -> tuple[IdTable, LabelSet]:
    """
    Return a table that turns the ids of a user's own labels into train ids, and their classes.

    :param name: a key of :data:`LABEL_IDS`, or ``train`` if the ids are train ids already.
    :param labels: the classes of these train ids.
    """
    if name != 'train':
        return LABEL_IDS[name]
    train_ids = {i: i for i in range(len(labels))}
    remedy = f'If they are those of a data set, name it: {", ".join(LABEL_IDS)}'
    return IdTable(f'{len(labels)} classes and {IGNORE}', train_ids, remedy), labels
