# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ground truth of a recording's images: from a topic, from a folder, or none."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..datasets.dataset import IdTable
from ..inference.image_file import Image, images_in

PATIENCE = 10
"""Images of a camera that may come between an image and its labels, either way."""


class TruthError(ValueError):
    """Ground truth that does not fit the images; the message names topic or file."""


class Frame(NamedTuple):
    """
    One image of a recording.

    :param topic: of the image.
    :param stamp: of its header, in nanoseconds.
    :param time: when it was recorded, in nanoseconds.
    :param image: uint8 RGB, (H, W, 3).
    :param truth: train ids, 255 ignored, (H, W); None where there are none.
    """

    topic: str
    stamp: int
    frame_id: str
    time: int
    image: Image
    truth: Image | None


class LabelFolder:
    """
    Label files for the images of one topic.

    Files whose names are stamps in nanoseconds belong to the images of these stamps; others, in
    the order of their names, to the images in theirs.

    :param images: how many there are.
    :param ids: of the files.
    :raises TruthError: names that are no stamps, and not one file an image.
    """

    def __init__(self, folder: Path, topic: str, images: int, ids: IdTable) -> None:
        self.name = str(folder)
        self._ids = ids
        self._files = [path for path in images_in(folder) if path.suffix.lower() == '.png']
        # Stamps have at least ten digits: 1 s after the epoch, say.
        by_stamp = all(path.stem.isdecimal() and len(path.stem) > 9 for path in self._files)
        self._by_stamp = {int(path.stem): path for path in self._files} if by_stamp else None
        if self._by_stamp is None and len(self._files) != images:
            raise TruthError(
                f'{folder}: expected one PNG for each of the {images} images of {topic}, or files '
                f'named by the stamps in nanoseconds of those that are labelled; found '
                f'{len(self._files)}, {self._files[0].name if self._files else "none"} the first'
            )
        self._used = 0

    def labels(self, index: int, stamp: int) -> Image | None:
        """
        Read the labels of an image.

        :param index: of the image, counted from the topic's first.
        :returns: train ids, (H, W), None if it has none.
        :raises ValueError: the file is no label image, or holds an unknown id.
        """
        if self._by_stamp is None:
            path = self._files[index] if index < len(self._files) else None
        else:
            path = self._by_stamp.get(stamp)
        if path is None:
            return None
        self._used += 1
        return self._ids(path)

    @property
    def unmatched(self) -> int:
        """Return how many files no image has asked for."""
        return len(self._files) - self._used


class LabelTopic:
    """
    Brings the images and labels of one camera together by their stamps, whichever comes first.

    :ivar unmatched: labels whose image never came.
    """

    def __init__(self) -> None:
        self._images: deque[Frame] = deque()
        self._labels: dict[int, Image] = {}
        self._last = 0
        self.unmatched = 0

    def add_image(self, frame: Frame) -> Iterator[Frame]:
        """Take an image, and give back those that need not wait any longer, in their order."""
        self._images.append(frame)
        return self._ready(PATIENCE)

    def add_labels(self, stamp: int, labels: Image) -> Iterator[Frame]:
        """Take train ids, (H, W), and give back the same."""
        self._labels[stamp] = labels
        if len(self._labels) > 2 * PATIENCE:
            del self._labels[next(iter(self._labels))]
            self.unmatched += 1
        return self._ready(PATIENCE)

    def rest(self) -> Iterator[Frame]:
        """Give back what still waits, when the recording is over."""
        yield from self._ready(0)
        self.unmatched += len(self._labels)

    def _ready(self, patience: int) -> Iterator[Frame]:
        while self._images and (
            len(self._images) > patience or self._images[0].stamp in self._labels
        ):
            frame = self._images.popleft()
            yield frame._replace(truth=self._labels.pop(frame.stamp, None))
