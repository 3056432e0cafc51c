# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a replay writes beside its scores: a bag with what the node would publish, and a video."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2

from ..inference.image_file import VideoWriter
from ..inference.labels import LabelSet
from ..inference.overlay import overlay, Panel
from ..inference.segmenter import Segmentation
from .bags.bag import Bag, BagError, Message
from .bags.writer import BagWriter
from .drive import FrameScores
from .truth import Frame

RATE = 10.0
"""Frames a second of a video of a camera whose own rate is not known."""


@dataclass(frozen=True)
class Outputs:
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
    """

    def __init__(self, bag: Bag, topics: Sequence[str], outputs: Outputs) -> None:
        if outputs.out and outputs.out.resolve() == bag.path.resolve():
            raise BagError(f'{bag.path}: expected another place for the bag to write')
        self._bag, self._outputs = bag, outputs
        self._bases = _bases(topics)
        # What an earlier run recorded there would mix with what this one writes.
        self._ours = {topic for base in self._bases.values() for topic in _topics(base)}
        self._writer = BagWriter(outputs.out, overwrite=outputs.overwrite) if outputs.out else None
        self._videos: dict[str, VideoWriter] = {}
        self._panels: dict[str, Panel] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._first: dict[str, int] = {}
        self._stack = ExitStack()
        self.left_out: list[str] = []

    def __enter__(self) -> DriveOutputs:
        if self._writer is not None:
            self._stack.enter_context(self._writer)
        if self._outputs.video is not None:
            for topic, base in self._bases.items():
                path = self._outputs.video
                if len(self._bases) > 1:
                    path = path.with_stem(f'{path.stem}_{base.strip("/").replace("/", "_")}')
                video = VideoWriter(path, self._rate(topic))
                self._videos[topic] = self._stack.enter_context(video)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _rate(self, topic: str) -> float:
        intervals = self._bag.counts[topic] - 1
        return intervals / self._bag.duration if min(intervals, self._bag.duration) > 0 else RATE

    def copy(self, messages: Sequence[Message]) -> None:
        """Write messages as they are."""
        for message in messages:
            if self._writer is None or message.topic in self._ours:
                continue
            if not self._writer.copy(self._bag, message) and message.topic not in self.left_out:
                self.left_out.append(message.topic)

    def write(self, frame: Frame, segmentation: Segmentation, scores: FrameScores) -> None:
        """Write what the network made of a frame."""
        if self._writer is None and not self._videos:
            return
        labels, drawn = segmentation.labels, self._outputs.drawn
        painted = overlay(frame.image, labels, drawn.palette, self._outputs.opacity)
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
            first = self._first.setdefault(frame.topic, frame.stamp)
            share = scores.counts[: len(drawn)] / labels.size
            # A video keeps its size, a camera may change it.
            size = self._sizes.setdefault(frame.topic, (labels.shape[1], labels.shape[0]))
            painted = cv2.resize(painted, size) if painted.shape[1::-1] != size else painted
            if frame.topic not in self._panels:
                self._panels[frame.topic] = Panel(drawn, size[1])
            panel = self._panels[frame.topic]
            caption = f'{(frame.stamp - first) / 1e9:.1f} s'
            strip = panel.draw(share.tolist(), 1e3 / scores.latency_ms, caption)
            self._videos[frame.topic].write(cv2.hconcat([painted, strip]))


def _topics(base: str) -> tuple[str, str, str]:
    """Return the topics that the node would publish masks, confidence and overlays on."""
    mask, confidence, picture = (
        f'{base}/segmentation/{name}' for name in ('mask', 'confidence', 'overlay')
    )
    return mask, confidence, picture


def _bases(topics: Sequence[str]) -> dict[str, str]:
    """Return each camera's prefix: its topic but for the last part, if that tells them apart."""
    whole = {topic: topic.removesuffix('/compressed') for topic in topics}
    short = {topic: name.rpartition('/')[0] for topic, name in whole.items()}
    shared = Counter(short.values())
    return {topic: short[topic] if shared[short[topic]] == 1 else whole[topic] for topic in topics}
