# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ground truth of a recording's images, read from a folder or from a topic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..bags.bag import Bag, read_labels
from ..datasets.catalog import LABEL_IDS, label_ids
from ..datasets.dataset import IdTable
from ..datasets.mappings import common_classes, CommonClasses
from ..images.image_file import Image, images_in
from ..images.labels import CAMVID, LabelSet

KEPT_BYTES = 2**28
"""The most bytes of label images to keep that were recorded before their images, or have none."""


class TruthError(ValueError):
    """The ground truth does not fit the images; the message names the topic or file."""


def truth_ids(bag: Bag, name: str, labels: LabelSet) -> tuple[IdTable, CommonClasses]:
    """
    Return the ids of a recording's ground truth, and the classes in which a network is scored.

    :param name: the name of the ids, a key of :data:`..datasets.catalog.LABEL_IDS` or ``train``;
        or ``auto``, which means those that the recording notes, else CamVid's for a network with
        CamVid's classes, and the network's own for any other.
    :param labels: the network's classes.
    :raises DatasetError: no mapping between the two class lists is known.
    """
    if name == 'auto':
        usual = 'camvid' if labels.names == CAMVID.names else 'train'
        name = bag.label_ids if bag.label_ids in (*LABEL_IDS, 'train') else usual
    table, classes = label_ids(name, labels)
    return table, common_classes(labels, classes, '', 'the network', f'the labels of {bag.path}')


def read_truth(
    path: str | Path, topic: str, labels: LabelSet
) -> tuple[Iterator[tuple[int, Image]], CommonClasses]:
    """
    Return a topic's label images, and the classes in which a network is scored.

    :param labels: the network's classes.
    :returns: (stamp in ns, train ids) of each label image as an iterator, and the classes.
    :raises ValueError: as :func:`truth_ids`; or, while the images are read, an id is unknown.
    """
    with Bag(path) as bag:
        table, common = truth_ids(bag, 'auto', labels)
    images = (
        (stamp, table.convert(ids, f'{topic}, {stamp} ns'))
        for stamp, ids in read_labels(path, topic)
    )
    return images, common


class Truth(Protocol):
    """
    The ground truth of one camera's images.

    :param name: the name of the folder or topic.
    :param unmatched: the number of label images that no image has asked for so far.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def unmatched(self) -> int: ...  # noqa: D102

    def labels(self, index: int, stamp: int) -> Image | None:
        """
        Return the labels of an image.

        :param index: the image's index, counted from the camera's first image.
        :param stamp: the image's header stamp in nanoseconds.
        :returns: train ids, 255 ignored, (H, W); None if the image has no labels.
        :raises ValueError: the file or message does not hold labels, or an id is unknown.
        """
        ...


class LabelFolder:
    """
    A folder of label files (PNG) for the images of one topic.

    Files whose names are stamps in nanoseconds belong to the images with these stamps. Other
    files are sorted by number or name, and belong to the images in recorded order.

    :param images: the number of images; at least that many if the recording is damaged.
    :param ids: the conversion of the files' ids to train ids.
    :param damaged: whether the recording is damaged.
    :raises TruthError: there are no PNGs; or their names are not stamps, and there are not as
        many files as images.
    """

    def __init__(
        self, folder: Path, topic: str, images: int, ids: IdTable, damaged: bool = False
    ) -> None:
        self.name, self._ids = str(folder), ids
        files = [path for path in images_in(folder) if path.suffix.lower() == '.png']
        numbered = all(path.stem.isdecimal() for path in files)
        if numbered:
            files.sort(key=lambda path: int(path.stem))
        # A stamp in nanoseconds has more than nine digits; shorter numbers count the images.
        by_stamp = numbered and any(len(path.stem) > 9 for path in files)
        if not files or (not by_stamp and (len(files) != images and not damaged)):
            raise TruthError(
                f'{folder}: expected one PNG for each of the {images} images of {topic}, or files '
                f'named by the stamps in nanoseconds of those that are labelled; found '
                f'{len(files)}{", " + files[0].name + " the first" if files else ""}'
            )
        keys = [int(path.stem) for path in files] if by_stamp else range(len(files))
        self._files, self._by_stamp = dict(zip(keys, files)), by_stamp

    @property
    def unmatched(self) -> int:
        """Return the number of files that no image has asked for so far."""
        return len(self._files)

    def labels(self, index: int, stamp: int) -> Image | None:
        """Return an image's train ids; see :class:`Truth`."""
        path = self._files.pop(stamp if self._by_stamp else index, None)
        return None if path is None else self._ids(path)


class LabelTopic:
    """
    A recorded topic of label images, which belong to the images with the same stamps.

    Label images may be recorded before or after their images: they are read from a bag of their
    own while the images are read, and kept until their images ask for them.

    :param bag: a bag that is open for this topic alone.
    :param ids: the conversion of the recorded ids to train ids.
    """

    def __init__(self, bag: Bag, topic: str, ids: IdTable) -> None:
        self.name, self._bag, self._ids = topic, bag, ids
        self._coming = {bag.stamp(message) for message in bag.messages([topic])}
        self._messages = bag.messages([topic])
        self._kept: dict[int, Image] = {}
        self._given_up = 0

    @property
    def unmatched(self) -> int:
        """Return the number of label images that no image has asked for so far."""
        return len(self._coming) + len(self._kept) + self._given_up

    def labels(self, index: int, stamp: int) -> Image | None:
        """Return an image's train ids; see :class:`Truth`."""
        while stamp in self._coming:
            own, ids = self._bag.to_labels(next(self._messages))
            if own in self._coming:
                self._coming.remove(own)
                self._kept[own] = self._ids.convert(ids, f'{self.name}, {own} ns')
        found = self._kept.pop(stamp, None)
        while sum(ids.nbytes for ids in self._kept.values()) > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
            self._given_up += 1
        return found
