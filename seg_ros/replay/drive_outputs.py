# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A replay's outputs beside its scores: a bag with the node's image topics, and a video."""

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
"""The longest time in seconds that a video shows one frame, even if the camera paused longer."""


class RecordedFrame(NamedTuple):
    """
    One image of a recording.

    :param topic: the image's topic.
    :param stamp: the header stamp in nanoseconds.
    :param time: the recording time in nanoseconds.
    :param image: uint8 RGB, (H, W, 3).
    :param truth: the ground truth as train ids, 255 ignored, (H, W); None if there is none.
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
    Which outputs to write.

    :param out: the folder of the bag to write, with masks, confidence and overlays beside all
        that the recording holds; None for no bag.
    :param video: the file of the overlay's video, None for no video; if there are several
        cameras, the camera's name is appended to each one's file name.
    :param drawn: the classes in the colours of overlays and panels.
    :param opacity: the opacity of the overlay's colours.
    :param overwrite: whether to replace a bag at ``out``.
    """

    out: Path | None
    video: Path | None
    drawn: LabelSet
    opacity: float = 0.5
    overwrite: bool = False


class DriveOutputs:
    """
    Writes a replay's outputs frame by frame.

    A context manager that leaves no files if its block raises.

    :param topics: the cameras' image topics.
    :ivar left_out: topics that could not be copied, as the definitions of their types are unknown.
    :raises ValueError: an output would overwrite the recording or another output.
    """

    def __init__(self, bag: Bag, topics: Sequence[str], outputs: OutputChoice) -> None:
        path = bag.path.resolve()
        if outputs.out and outputs.out.resolve() in (path, *path.parents):
            raise BagError(f'{outputs.out}: expected another place to write to than the bag has')
        self._bag, self._outputs = bag, outputs
        self._bases = _bases(topics)
        # Results of an earlier run on these topics are not copied, or they would mix with ours.
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
        """Copy the recording's messages unchanged to the bag, except the node's own topics."""
        for message in messages:
            if self._writer is None or message.topic in self._ours:
                continue
            if not self._writer.copy(self._bag, message) and message.topic not in self.left_out:
                self.left_out.append(message.topic)

    def write(self, frame: RecordedFrame, segmentation: Segmentation, scores: FrameScores) -> None:
        """Write a frame's mask, confidence and overlay to the bag, its overlay to the video."""
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
    """A video of a camera's overlays at their recorded times, each with a panel beside it."""

    def __init__(self, path: Path, labels: LabelSet) -> None:
        super().__init__(path)
        self._labels = labels
        self._panel: Panel | None = None
        self._seconds = 0.0

    def add(self, painted: Image, scores: FrameScores) -> None:
        """Add an overlay, RGB (H, W, 3), resized to the first one's size if that differs."""
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
    """Return each camera's video file; several cameras have their names appended."""
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
    """Return each camera's prefix: the shortest start of its topic that no other camera shares."""
    raw = {topic: topic.removesuffix('/compressed') for topic in topics}
    short = {topic: name.rpartition('/')[0] for topic, name in raw.items()}
    forms = (short, raw, {topic: topic for topic in topics})
    return next(form for form in forms if len(set(form.values())) == len(form))
