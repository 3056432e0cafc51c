# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Replaying a recording: every frame goes through a network in order, without DDS, reproducibly.

One thread reads and decodes frames ahead of the network. If the network runs on a GPU, another
thread scores, draws and writes the frames behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import cast, NamedTuple, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from ..bags.bag import Bag, BagError, Message
from ..images.image_file import Image
from ..images.labels import LabelSet
from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter
from ..metrics.flicker import Flicker
from ..metrics.latency import Reference
from .drive_outputs import DriveOutputs, OutputChoice, RecordedFrame
from .drive_scores import CameraScores, DriveScores, FrameScores
from .ground_truth import LabelFolder, LabelTopic, Truth, truth_ids, TruthError

AHEAD = 4
"""The number of frames that wait before the network, and on a GPU as many behind it."""

REFERENCE_EVERY, REFERENCE_FIRST = 25, 3
"""Frames between two runs of the reference computation: later, and within the first 30 frames."""

NAMED = 5
"""The most unreadable images whose errors the result lists."""

COPIES = 16
"""The most messages that are copied in one step if no image comes between them."""

T = TypeVar('T')


class _Step(NamedTuple):
    """The messages to copy up to and including a frame's, and the frame, if there is one."""

    copies: list[Message]
    frame: RecordedFrame | None


class _Answer(NamedTuple):
    """A step and its segmentation; ``ms`` is the network's time in milliseconds."""

    copies: list[Message]
    frame: RecordedFrame | None = None
    segmentation: Segmentation | None = None
    ms: float = 0.0


@dataclass(frozen=True)
class ReplaySettings:
    """
    Which topics of a recording to replay, and which outputs to write.

    :param topics: the image topics; empty if the recording has only one.
    :param labels: the topic or folder of each image topic's ground truth; empty for none.
    :param ids: the name of that ground truth's ids, see :func:`.ground_truth.truth_ids`.
    :param outputs: the outputs to write.
    :param confidence_threshold: pixels whose winning class is less probable become 255.
    :param pictures: whether to keep the worst frames.
    :param progress: whether to show a progress bar.
    """

    topics: Sequence[str]
    labels: Sequence[str]
    ids: str
    outputs: OutputChoice
    confidence_threshold: float = 0.0
    pictures: bool = False
    progress: bool = True


def replay(segmenter: Segmenter, path: str | Path, settings: ReplaySettings) -> DriveScores:
    """
    Segment and score every frame of a recording.

    If a recording breaks off or a frame cannot be read, all other frames are still scored and
    written; the result's ``error`` says what was lost.

    :raises ValueError: no frame can be read, a topic or the ground truth does not fit, or an
        output's name is taken.
    :raises OSError: an output cannot be written.
    """
    start, drive = perf_counter(), DriveScores(str(path))
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(path))
        cameras = _cameras(bag, segmenter.labels, settings, stack)
        outputs = stack.enter_context(DriveOutputs(bag, list(cameras), settings.outputs))
        total = sum(bag.counts[topic] for topic in cameras) or None
        bar = tqdm(
            desc=bag.path.name, total=total, unit='frame', disable=not settings.progress or None
        )
        stack.enter_context(bar)

        def finish(answer: _Answer) -> None:
            outputs.copy(answer.copies)
            if answer.frame is not None and answer.segmentation is not None:
                scores = cameras[answer.frame.topic].add(answer, settings.pictures)
                outputs.write(answer.frame, answer.segmentation, scores)
                bar.update()

        # If anything fails, this is closed before the bag, from which its thread still reads.
        steps = stack.enter_context(closing(_ahead(_steps(bag, cameras, settings))))
        answers = _answers(segmenter, steps, settings, drive.reference_ms)
        if segmenter.device == 'cpu':  # the network keeps all cores busy: no thread would help
            for answer in answers:
                finish(answer)
        else:
            _behind(finish, answers)
        drive.cameras = [camera.finished() for camera in cameras.values()]
        drive.error = _troubles(bag, drive.cameras)
        if not any(camera.stamps for camera in drive.cameras):
            raise BagError(drive.error)
        drive.left_out = outputs.left_out
    drive.seconds = perf_counter() - start
    return drive


def _answers(
    segmenter: Segmenter,
    steps: Iterable[_Step],
    settings: ReplaySettings,
    reference_ms: list[float],
) -> Iterator[_Answer]:
    """Run the network on each frame, and the reference computation now and then."""
    reference, sizes, frames = Reference(segmenter.device), set(), 0
    for copies, frame in steps:
        if frame is None:
            yield _Answer(copies)
            continue
        size = frame.image.shape[:2]
        if size not in sizes:
            segmenter.warm_up([size])
            sizes.add(size)
        if frames % (REFERENCE_FIRST if frames < 30 else REFERENCE_EVERY) == 0:
            reference_ms.append(reference.run())
        frames += 1
        start = perf_counter()
        segmentation = segmenter.predict(
            frame.image,
            confidence=settings.outputs.out is not None,
            confidence_threshold=settings.confidence_threshold,
        )
        yield _Answer(copies, frame, segmentation, 1e3 * (perf_counter() - start))


def _ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """Yield items that a thread makes ahead of time."""
    end = object()
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, items, end) for _ in range(AHEAD))
        while (item := coming.popleft().result()) is not end:
            coming.append(thread.submit(next, items, end))
            yield cast(T, item)


def _behind(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Call ``work`` with each item in a thread, while the next items are made."""
    with ThreadPoolExecutor(1) as thread:
        pending: deque[Future[None]] = deque()
        for item in items:
            pending.append(thread.submit(work, item))
            if len(pending) > AHEAD:
                pending.popleft().result()
        while pending:
            pending.popleft().result()


def _troubles(bag: Bag, cameras: Sequence[CameraScores]) -> str:
    """Return a description of what was lost, empty if nothing was."""
    troubles = [bag.damage] if bag.damage else []
    for camera in cameras:
        if camera.failed:
            troubles.append(
                f'{camera.frames_in - len(camera.stamps)} of {camera.frames_in} images of '
                f'{camera.topic} could not be read, the first: {camera.failed[0]}'
            )
        elif not camera.stamps:
            troubles.append(f'{bag.path}: expected images on {camera.topic}; found none')
    return '. '.join(troubles)


class _Camera:
    """
    A camera of a replay: its ground truth and its scores.

    :param scores: the scores, to which each frame is added.
    :param truth: the ground truth, None if there is none.
    :param ids: the network's id for each id of the ground truth, uint8 (256,).
    """

    def __init__(self, scores: CameraScores, truth: Truth | None, ids: Image) -> None:
        self.scores, self.truth, self._ids = scores, truth, ids
        self._flicker = Flicker()

    def read(self, bag: Bag, message: Message) -> RecordedFrame | None:
        """Decode an image and its ground truth; if the image is unreadable, count it: None."""
        index = self.scores.frames_in
        self.scores.frames_in += 1
        try:
            stamp, frame_id, image = bag.to_rgb(message)
        except BagError as error:
            if len(self.scores.failed) < NAMED:
                self.scores.failed.append(str(error))
            return None
        truth = self.truth.labels(index, stamp) if self.truth else None
        if self.truth and truth is not None and truth.shape != image.shape[:2]:
            (height, width), (rows, columns) = image.shape[:2], truth.shape
            raise TruthError(
                f'{self.truth.name}: expected labels of the size of the images of '
                f'{message.topic}, {width}x{height}; found {columns}x{rows} for the image of '
                f'{stamp} ns. Resize them to the nearest label'
            )
        if truth is not None:
            truth = cv2.LUT(truth, self._ids)
        return RecordedFrame(message.topic, stamp, frame_id, message.time, image, truth)

    def add(self, answer: _Answer, pictures: bool) -> FrameScores:
        """Score a frame and return its scores; ``pictures`` as in :class:`ReplaySettings`."""
        frame, segmentation = answer.frame, answer.segmentation
        assert frame is not None and segmentation is not None
        labels = segmentation.labels
        changed, compared = self._flicker.update(frame.image, labels)
        counts = np.bincount(labels.ravel(), minlength=256)
        mean = segmentation.mean_confidence
        scores = FrameScores(frame.stamp, answer.ms, mean, changed, compared, counts)
        self.scores.add(scores, frame.image if pictures else None, labels, frame.truth)
        return scores

    def finished(self) -> CameraScores:
        """
        Return the camera's scores after its last frame.

        :raises TruthError: there is ground truth, but no image has its stamps.
        """
        scores, truth = self.scores, self.truth
        if truth is not None:
            scores.unmatched = truth.unmatched
            if scores.stamps and not scores.labelled:
                raise TruthError(
                    f'{truth.name}: expected labels with the stamps of images of {scores.topic}, '
                    f'{scores.stamps[0]} ns the first; found {truth.unmatched} with others. Give '
                    "each its image's stamp"
                )
        return scores


def _cameras(
    bag: Bag, labels: LabelSet, settings: ReplaySettings, stack: ExitStack
) -> dict[str, _Camera]:
    """
    Return the cameras by topic; errors as for :func:`replay`.

    :param stack: closes the bags that are opened here.
    """
    topics = bag.image_topics(settings.topics)
    sources = settings.labels or [''] * len(topics)
    if len(sources) != len(topics):
        raise TruthError(
            f'expected one topic or folder of labels for each of the {len(topics)} image topics '
            f'({", ".join(topics)}); found {len(sources)}'
        )
    cameras = {}
    ids, common = truth_ids(bag, settings.ids, labels)
    for topic, source in zip(topics, sources):
        truth: Truth | None = None
        if source in bag.topics:
            truth = LabelTopic(stack.enter_context(Bag(bag.path)), source, ids)
        elif source and Path(source).is_dir():
            images, damaged = bag.counts[topic], bool(bag.damage)
            truth = LabelFolder(Path(source), topic, images, ids, damaged)
        elif source:
            raise TruthError(
                f'{bag.path}: expected labels in a folder or on a topic {source}; found neither. '
                f'Its topics are {", ".join(sorted(bag.topics))}'
            )
        cameras[topic] = _Camera(CameraScores(topic, labels, common), truth, common.as_predicted())
    return cameras


def _steps(bag: Bag, cameras: dict[str, _Camera], settings: ReplaySettings) -> Iterator[_Step]:
    """Yield the decoded frames in order, with the messages to copy if a bag is written."""
    everything = settings.outputs.out is not None
    copies: list[Message] = []
    for message in bag.messages(None if everything else list(cameras)):
        if everything:
            copies.append(message)
        camera = cameras.get(message.topic)
        frame = camera.read(bag, message) if camera else None
        if frame is not None or len(copies) >= COPIES:
            yield _Step(copies, frame)
            copies = []
    yield _Step(copies, None)
