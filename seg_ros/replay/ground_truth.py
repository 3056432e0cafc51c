# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ground truth of a recording's images: from a folder, or from a topic."""

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
"""Of labels that were recorded before their images, or have none."""


class TruthError(ValueError):
    """Ground truth that does not fit the images; the message names topic or file."""


def truth_ids(bag: Bag, name: str, labels: LabelSet) -> tuple[IdTable, CommonClasses]:
    """
    Return the ids of a recording's ground truth, and the classes that a network is scored in.

    :param name: of the ids, a key of :data:`..datasets.catalog.LABEL_IDS` or ``train``; or
        ``auto``, which is what the recording notes, else CamVid's for a network of CamVid's
        classes, and the network's own for any other.
    :param labels: the network's classes.
    :raises DatasetError: nothing is known of how the two class lists belong together.
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
    Return stamp in ns and train ids of each label image, and the classes to score a network in.

    :param labels: the network's classes.
    :raises ValueError: as :func:`truth_ids`; or, while they are read, an id is unknown.
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
    The labels of one camera's images.

    :param name: of the folder or topic.
    :param unmatched: labels that no image has asked for so far.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def unmatched(self) -> int: ...  # noqa: D102

    def labels(self, index: int, stamp: int) -> Image | None:
        """
        Return the labels of an image.

        :param index: of the image, counted from the camera's first.
        :param stamp: of its header, in nanoseconds.
        :returns: train ids, 255 ignored, (H, W); None if it has none.
        :raises ValueError: they are no labels, or hold an unknown id.
        """
        ...


class LabelFolder:
    """
    Label files for the images of one topic.

    Files whose names are stamps in nanoseconds belong to the images of these stamps; others, in
    the order of their names or numbers, to the images in theirs.

    :param images: how many there are; at least so many if the recording is damaged.
    :param ids: of the files.
    :raises TruthError: there are no PNGs, or their names are no stamps and they are not as many
        as the images.
    """

    def __init__(
        self, folder: Path, topic: str, images: int, ids: IdTable, damaged: bool = False
    ) -> None:
        self.name, self._ids = str(folder), ids
        files = [path for path in images_in(folder) if path.suffix.lower() == '.png']
        numbered = all(path.stem.isdecimal() for path in files)
        if numbered:
            files.sort(key=lambda path: int(path.stem))
        # The tenth digit of a stamp is its whole seconds.
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
        """Return how many files no image has asked for so far."""
        return len(self._files)

    def labels(self, index: int, stamp: int) -> Image | None:
        """Return an image's train ids; see :class:`Truth`."""
        path = self._files.pop(stamp if self._by_stamp else index, None)
        return None if path is None else self._ids(path)


class LabelTopic:
    """
    Labels on a topic of the recording, for the images of the same stamps, whenever recorded.

    They are read beside the images, and kept from where they come to where they are asked for.

    :param bag: open for this alone.
    :param ids: of the labels.
    """

    def __init__(self, bag: Bag, topic: str, ids: IdTable) -> None:
        self.name, self._bag, self._ids = topic, bag, ids
        self._coming = {bag.stamp(message) for message in bag.messages([topic])}
        self._messages = bag.messages([topic])
        self._kept: dict[int, Image] = {}
        self._given_up = 0

    @property
    def unmatched(self) -> int:
        """Return how many labels no image has asked for so far."""
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
