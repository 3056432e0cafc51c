# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a replay writes beside its scores: a bag with what the node would publish, and a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import cv2

from ..bags.bag import Bag, BagError, Message
from ..bags.writer import BagWriter
from ..images.image_file import Image
from ..images.labels import LabelSet
from ..images.overlay import overlay, Panel
from ..images.video_file import VideoWriter
from ..inference.segmentation import Segmentation
from .drive_scores import FrameScores

LONGEST_GAP = 1.0
"""Seconds that a video waits at most for the next frame; a camera that paused is no film."""


class RecordedFrame(NamedTuple):
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


@dataclass(frozen=True)
class OutputChoice:
    """
    What to write.

    :param out: folder of a bag with masks, confidence and overlays beside all that the recording
        holds; none by default.
    :param video: of the overlay; of several cameras each has its name appended.
    :param drawn: the classes in the colours that pictures shall have.
    :param opacity: of the overlay's colours.
    :param overwrite: replace a bag that is there.
    """

    out: Path | None
    video: Path | None
    drawn: LabelSet
    opacity: float = 0.5
    overwrite: bool = False


class DriveOutputs:
    """
    Writes frame by frame; a context manager that leaves nothing if its block raises.

    :param topics: of the cameras.
    :ivar left_out: topics that cannot be copied, as nobody defines their types.
    :raises ValueError: an output would take the place of the recording, or of another one.
    """

    def __init__(self, bag: Bag, topics: Sequence[str], outputs: OutputChoice) -> None:
        path = bag.path.resolve()
        if outputs.out and outputs.out.resolve() in (path, *path.parents):
            raise BagError(f'{outputs.out}: expected another place to write to than the bag has')
        self._bag, self._outputs = bag, outputs
        self._bases = _bases(topics)
        # What an earlier run recorded there would mix with what this one writes.
        self._ours = {topic for base in self._bases.values() for topic in _topics(base)}
        self._writer = BagWriter(outputs.out, overwrite=outputs.overwrite) if outputs.out else None
        self._videos: dict[str, _DriveVideo] = {}
        self._stack = ExitStack()
        self.left_out: list[str] = []

    def __enter__(self) -> DriveOutputs:
        with ExitStack() as stack:
            if self._writer is not None:
                stack.enter_context(self._writer)
                if self._bag.label_ids:
                    self._writer.note_label_ids(self._bag.label_ids)
            for topic, path in _videos(self._outputs.video, self._bases).items():
                self._videos[topic] = _DriveVideo(path, self._outputs.drawn)
                stack.enter_context(self._videos[topic])
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def copy(self, messages: Sequence[Message]) -> None:
        """Write messages as they are."""
        for message in messages:
            if self._writer is None or message.topic in self._ours:
                continue
            if not self._writer.copy(self._bag, message) and message.topic not in self.left_out:
                self.left_out.append(message.topic)

    def write(self, frame: RecordedFrame, segmentation: Segmentation, scores: FrameScores) -> None:
        """Write what the network made of a frame."""
        if self._writer is None and not self._videos:
            return
        labels, palette = segmentation.labels, self._outputs.drawn.palette
        painted = overlay(frame.image, labels, palette, self._outputs.opacity)
        if self._writer is not None:
            mask, confidence, picture = _topics(self._bases[frame.topic])
            bgr = cv2.cvtColor(painted, cv2.COLOR_RGB2BGR)
            for topic, image, encoding in (
                (mask, labels, 'mono8'),
                (confidence, segmentation.confidence, 'mono8'),
                (picture, bgr, 'bgr8'),
            ):
                assert image is not None  # as confidence was asked for
                self._writer.write_image(
                    topic, image, frame.stamp, frame.frame_id, encoding, time_ns=frame.time
                )
        if frame.topic in self._videos:
            self._videos[frame.topic].add(painted, scores)


class _DriveVideo(VideoWriter):
    """A video of a camera's overlays, at their own times, each with the panel beside it."""

    def __init__(self, path: Path, labels: LabelSet) -> None:
        super().__init__(path)
        self._labels = labels
        self._panel: Panel | None = None
        self._seconds = 0.0

    def add(self, painted: Image, scores: FrameScores) -> None:
        """Add an overlay, RGB (H, W, 3). A video keeps its size, a camera may change it."""
        if self._panel is None:
            self._size, self._first = painted.shape[1::-1], scores.stamp
            self._panel, self._before = Panel(self._labels, len(painted)), scores.stamp
        gap = (scores.stamp - self._before) / 1e9
        self._seconds += min(max(gap, 0.0), LONGEST_GAP)
        self._before = scores.stamp
        if painted.shape[1::-1] != self._size:
            painted = cv2.resize(painted, self._size)
        share = scores.counts[: len(self._labels)] / scores.counts.sum()
        caption = f'{(scores.stamp - self._first) / 1e9:.1f} s'
        panel = self._panel.draw(share.tolist(), 1e3 / scores.latency_ms, caption)
        self.write(cv2.hconcat([painted, panel]), self._seconds)


def _videos(video: Path | None, bases: Mapping[str, str]) -> dict[str, Path]:
    """Return each camera's file; of several each has the camera's name appended."""
    if video is None or len(bases) == 1:
        return {topic: video for topic in bases if video is not None}
    names = {topic: base.strip('/').replace('/', '_') for topic, base in bases.items()}
    if len(set(names.values())) < len(names):
        raise BagError(
            f'{video}: expected topics that make different names of videos; found '
            f'{", ".join(bases)}. Replay one after the other'
        )
    return {topic: video.with_stem(f'{video.stem}_{name}') for topic, name in names.items()}


def _topics(base: str) -> tuple[str, str, str]:
    """Return the topics that the node would publish masks, confidence and overlays on."""
    mask, confidence, picture = (
        f'{base}/segmentation/{name}' for name in ('mask', 'confidence', 'overlay')
    )
    return mask, confidence, picture


def _bases(topics: Sequence[str]) -> dict[str, str]:
    """Return each camera's prefix: as much of its topic's front as tells it from the others."""
    raw = {topic: topic.removesuffix('/compressed') for topic in topics}
    short = {topic: name.rpartition('/')[0] for topic, name in raw.items()}
    forms = (short, raw, {topic: topic for topic in topics})
    return next(form for form in forms if len(set(form.values())) == len(form))
