# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A network's scores on recorded drives: of each frame, camera and drive, and of all drives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..datasets.mappings import CommonClasses, same_classes
from ..images.image_file import Image
from ..images.labels import IGNORE, LabelSet
from ..images.overlay import thumbnail
from ..metrics.confusion_matrix import ConfusionMatrix, mean
from ..metrics.latency import percentiles

LOW_CONFIDENCE = 0.75
"""A frame counts as unsure if the mean probability of its winning classes is below this."""

SHORTEST_STRETCH = 3
"""The fewest successive unsure frames that make a stretch of low confidence."""

SHOWN = 4
"""The number of worst frames that are kept for each measure."""

APART_NS = 2 * 10**9
"""The least time in ns between two of the worst frames, as a bad frame's neighbours are bad."""


class WorstFrame(NamedTuple):
    """
    One of a camera's worst frames, at the size of the report's thumbnails.

    :param measure: the measure in which it is bad: ``miou``, ``confidence`` or ``flicker``.
    :param value: its value of that measure.
    :param place: its index, counted from the camera's first frame.
    :param stamp: the header stamp in nanoseconds.
    :param image: uint8 RGB, (H, W, 3).
    :param predicted: the prediction as train ids, (H, W).
    :param truth: the ground truth as ids of the network's classes; None if there is none.
    :param common: the classes in which prediction and ground truth are compared.
    """

    measure: str
    value: float
    place: int
    stamp: int
    image: Image
    predicted: Image
    truth: Image | None
    common: CommonClasses


class Stretch(NamedTuple):
    """A stretch of low confidence: frames ``first`` to ``last`` (included), mean confidence."""

    first: int
    last: int
    confidence: float


@dataclass
class FrameScores:
    """
    The measures of one frame.

    :param stamp: the header stamp in nanoseconds.
    :param latency_ms: the network's time in milliseconds.
    :param confidence: the mean probability of the winning classes, 0 to 1.
    :param changed: how many pixels have a label other than in the previous frame, whose labels
        are first moved along with the image's motion.
    :param compared: how many pixels could be compared with the previous frame, 0 for the first.
    :param counts: the number of pixels of each id, int64 (256,).
    """

    stamp: int
    latency_ms: float
    confidence: float
    changed: int
    compared: int
    counts: NDArray[np.int64]

    @property
    def flicker(self) -> float:
        """Return the share of the compared pixels that changed; nan if none were compared."""
        return self.changed / self.compared if self.compared else float('nan')


class CameraScores:
    """
    The scores of one camera's frames, in order; only a few numbers are kept of each frame.

    :param topic: the topic of the camera's images.
    :param labels: the network's classes.
    :param common: the classes in which it is scored; the network's own, if left out.
    :ivar frames_in: the number of images in the recording.
    :ivar failed: the errors of the first images that could not be read.
    :ivar labelled: the number of frames with ground truth.
    :ivar unmatched: the number of label images without an image of the same stamp.
    :ivar miou: each frame's mean IoU, nan without ground truth.
    :ivar shares: the share of each class, and of unlabeled pixels, in each frame;
        float32 (C + 1,).
    """

    def __init__(self, topic: str, labels: LabelSet, common: CommonClasses | None = None) -> None:
        self.topic = topic
        self.labels = labels
        self.common = common or same_classes(labels)
        self.frames_in = 0
        self.failed: list[str] = []
        self.labelled = 0
        self.unmatched = 0
        self.matrix = ConfusionMatrix(len(self.common.labels))
        self.stamps: list[int] = []
        self.latency_ms: list[float] = []
        self.confidence: list[float] = []
        self.flicker: list[float] = []
        self.miou: list[float] = []
        self.shares: list[NDArray[np.float32]] = []
        self.changed = self.compared = 0
        self._worst: dict[str, list[WorstFrame]] = {'miou': [], 'confidence': [], 'flicker': []}

    def add(
        self, frame: FrameScores, image: Image | None, predicted: Image, truth: Image | None
    ) -> None:
        """
        Add the next frame.

        :param frame: the frame's measures.
        :param image: uint8 RGB (H, W, 3); None if the worst frames need not be kept.
        :param predicted: the prediction as train ids, (H, W).
        :param truth: the ground truth as ids of the network's classes, 255 ignored, (H, W); None
            if the frame has none.
        :raises ValueError: as :meth:`ConfusionMatrix.update`.
        """
        own = ConfusionMatrix(len(self.common.labels))
        if truth is not None:
            fold = self.common.predicted
            own.update(cv2.LUT(predicted, fold), cv2.LUT(truth, fold))
            self.matrix.counts += own.counts
            self.labelled += 1
        self.stamps.append(frame.stamp)
        self.latency_ms.append(frame.latency_ms)
        self.confidence.append(frame.confidence)
        self.flicker.append(frame.flicker)
        self.miou.append(own.miou())
        known = np.append(frame.counts[: len(self.labels)], frame.counts[IGNORE])
        self.shares.append((known / predicted.size).astype(np.float32))
        self.changed += frame.changed
        self.compared += frame.compared
        if image is not None:
            for measure, badness in (
                ('miou', -self.miou[-1]),
                ('confidence', -frame.confidence),
                ('flicker', frame.flicker),
            ):
                self._keep(measure, badness, image, predicted, truth)

    def _keep(
        self, measure: str, badness: float, image: Image, predicted: Image, truth: Image | None
    ) -> None:
        """Keep the newest frame if it is one of the worst and not close to a worse one."""
        kept, stamp = self._worst[measure], self.stamps[-1]
        if isnan(badness):
            return
        near = [frame for frame in kept if abs(frame.stamp - stamp) < APART_NS]
        rivals = near or (kept[-1:] if len(kept) == SHOWN else [])
        if any(badness <= _badness(frame) for frame in rivals):
            return
        frame = WorstFrame(
            measure,
            abs(badness),
            len(self.stamps) - 1,
            stamp,
            thumbnail(image, cv2.INTER_AREA),
            thumbnail(predicted),
            None if truth is None else thumbnail(truth),
            self.common,
        )
        others = [other for other in kept if not any(other is rival for rival in rivals)]
        kept[:] = sorted([*others, frame], key=lambda f: -_badness(f))

    def worst(self, measure: str) -> list[WorstFrame]:
        """Return the frames with the worst ``miou``, ``confidence`` or ``flicker``."""
        return self._worst[measure]

    def seconds(self) -> NDArray[np.float64]:
        """Return the time of each frame in seconds since the first frame."""
        return (np.array(self.stamps, np.int64) - self.stamps[0]) / 1e9

    def low_confidence(self) -> list[Stretch]:
        """Return the stretches of at least ``SHORTEST_STRETCH`` successive unsure frames."""
        unsure = np.array([0, *(c < LOW_CONFIDENCE for c in self.confidence), 0], np.int8)
        edges = np.flatnonzero(np.diff(unsure))
        return [
            Stretch(first, end - 1, float(np.mean(self.confidence[first:end])))
            for first, end in edges.reshape(-1, 2).tolist()
            if end - first >= SHORTEST_STRETCH
        ]

    def result(self) -> dict[str, Any]:
        """Return the camera's scores by name, with each frame's scores in ``timeline``."""
        return {
            **_result([self]),
            'labelled': self.labelled,
            'labels_unmatched': self.unmatched,
            'failed': self.failed,
            'low_confidence': [
                {
                    'from_ns': self.stamps[first],
                    'to_ns': self.stamps[last],
                    'frames': last - first + 1,
                    'confidence': confidence,
                }
                for first, last, confidence in self.low_confidence()
            ],
            'timeline': {
                'stamp_ns': self.stamps,
                'miou': self.miou if self.labelled else None,
                'flicker': self.flicker,
                'confidence': self.confidence,
            },
        }


@dataclass
class DriveScores:
    """
    The scores of one recording.

    :param bag: the recording's path.
    :param error: why not all of it could be scored; empty if all of it was.
    :param left_out: topics that could not be copied, as the definitions of their types are
        unknown.
    :param seconds: how long the whole replay took.
    :param reference_ms: the times of a fixed reference computation that ran during the replay,
        which show how fast the machine was.
    """

    bag: str
    error: str = ''
    cameras: list[CameraScores] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0
    reference_ms: list[float] = field(default_factory=list)


def result(drives: Sequence[DriveScores]) -> dict[str, Any]:
    """Return the scores of all drives together, with each drive's own in ``drives``."""
    cameras = [camera for drive in drives for camera in drive.cameras]
    network = sum(sum(camera.latency_ms) for camera in cameras) / 1e3
    times = [ms for drive in drives for ms in drive.reference_ms]
    return {
        **_result(cameras),
        'reference_ms': float(np.median(times)) if times else None,
        'network_seconds': network,
        'seconds': sum(drive.seconds for drive in drives),
        'drives': [
            {
                'bag': drive.bag,
                'error': drive.error or None,
                'cameras': {camera.topic: camera.result() for camera in drive.cameras},
            }
            for drive in drives
        ],
    }


def _result(cameras: Sequence[CameraScores]) -> dict[str, Any]:
    """Return the scores of all frames of these cameras; None for values not measured."""
    latencies = [ms for camera in cameras for ms in camera.latency_ms]
    compared = sum(camera.compared for camera in cameras)
    labels = cameras[0].labels.names if cameras else ()
    with_truth = [camera for camera in cameras if camera.labelled]
    scored = with_truth[0].common.labels.names if with_truth else ()
    # Scores in different class lists cannot be combined.
    labelled = bool(with_truth) and all(c.common.labels.names == scored for c in with_truth)
    matrix = ConfusionMatrix(len(scored))
    for camera in with_truth if labelled else ():
        matrix.counts += camera.matrix.counts
    shares = [share for camera in cameras for share in camera.shares]
    mean_share = np.stack(shares).mean(0, dtype=np.float64) if shares else np.zeros(0)
    return {
        'frames_in': sum(camera.frames_in for camera in cameras),
        'frames_out': len(latencies),
        'latency_ms': percentiles(latencies),
        'fps': 1e3 * len(latencies) / sum(latencies) if latencies else None,
        'miou': matrix.miou() if labelled else None,
        'iou': dict(zip(scored, matrix.iou().tolist())) if labelled else None,
        'pixel_accuracy': matrix.pixel_accuracy() if labelled else None,
        'flicker': sum(camera.changed for camera in cameras) / compared if compared else None,
        'confidence': mean(np.array([c for camera in cameras for c in camera.confidence])),
        'class_share': dict(zip((*labels, 'unlabeled'), mean_share.tolist())),
    }


def _badness(frame: WorstFrame) -> float:
    return frame.value if frame.measure == 'flicker' else -frame.value
