# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a network makes of recorded drives: scores of each frame, camera, drive and fleet."""

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
"""Below this mean probability of a frame's winning classes a frame counts as unsure."""

SHORTEST_STRETCH = 3
"""Frames in a row that make a stretch of low confidence."""

SHOWN = 4
"""Worst frames that are kept of each kind."""

APART_NS = 2 * 10**9
"""Between two of them lies at least this, as the neighbours of a bad frame are bad, too."""


class WorstFrame(NamedTuple):
    """
    A frame that stands out, at the report's size.

    :param measure: what it is bad in: ``miou``, ``confidence`` or ``flicker``.
    :param value: of that measure.
    :param place: of the frame, counted from the camera's first.
    :param truth: ids of the network's classes, where the frame has ground truth.
    :param common: folds both into the classes that they are compared in.
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
    """Frames ``first`` to ``last``, both included, and their mean confidence."""

    first: int
    last: int
    confidence: float


@dataclass
class FrameScores:
    """
    The measures of one frame.

    :param stamp: of its header, in nanoseconds.
    :param confidence: mean probability of the winning classes, 0 to 1.
    :param changed: pixels whose label is another than the moved one of the frame before.
    :param compared: pixels that could be compared with the frame before, 0 for the first frame.
    :param counts: pixels of each id, int64 (256,).
    """

    stamp: int
    latency_ms: float
    confidence: float
    changed: int
    compared: int
    counts: NDArray[np.int64]

    @property
    def flicker(self) -> float:
        """Return the share of pixels that changed; nan where none could be compared."""
        return self.changed / self.compared if self.compared else float('nan')


class CameraScores:
    """
    What one camera's frames scored, in their order; a few numbers a frame are kept.

    :param topic: of its images.
    :param labels: the network's classes.
    :param common: those that it is scored in; its own, if left out.
    :ivar frames_in: images that the recording had.
    :ivar failed: what was wrong with the first of those that could not be read.
    :ivar labelled: frames with ground truth.
    :ivar unmatched: labels whose stamp no image had.
    :ivar miou: each frame's own, nan without ground truth.
    :ivar shares: of each class in each frame, and of unlabeled pixels; float32 (C + 1,).
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
        Take the next frame.

        :param image: uint8 RGB (H, W, 3) if the worst frames shall be kept.
        :param predicted: train ids, (H, W).
        :param truth: ids of the network's classes, 255 ignored, (H, W); None of a frame without.
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
        """Keep the newest frame if it is among the worst and no neighbour of a worse one."""
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
        """Return the frames that are worst in ``miou``, ``confidence`` or ``flicker``."""
        return self._worst[measure]

    def seconds(self) -> NDArray[np.float64]:
        """Return each frame's seconds since the first."""
        return (np.array(self.stamps, np.int64) - self.stamps[0]) / 1e9

    def low_confidence(self) -> list[Stretch]:
        """Return where the network is unsure for several frames in a row."""
        unsure = np.array([0, *(c < LOW_CONFIDENCE for c in self.confidence), 0], np.int8)
        edges = np.flatnonzero(np.diff(unsure))
        return [
            Stretch(first, end - 1, float(np.mean(self.confidence[first:end])))
            for first, end in edges.reshape(-1, 2).tolist()
            if end - first >= SHORTEST_STRETCH
        ]

    def result(self) -> dict[str, Any]:
        """Return the scores by name, and each frame's in ``timeline``."""
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
    What came out of one recording.

    :param bag: its path.
    :param error: why not all of it could be scored; empty if it was.
    :param left_out: topics that could not be copied, as their types are not defined anywhere.
    :param seconds: that the whole work took.
    :param reference_ms: times of the reference run meanwhile.
    """

    bag: str
    error: str = ''
    cameras: list[CameraScores] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0
    reference_ms: list[float] = field(default_factory=list)


def result(drives: Sequence[DriveScores]) -> dict[str, Any]:
    """Return the scores of all drives together, and of each in ``drives``."""
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
    """Return the scores of some cameras' frames together; None of what was not measured."""
    latencies = [ms for camera in cameras for ms in camera.latency_ms]
    compared = sum(camera.compared for camera in cameras)
    labels = cameras[0].labels.names if cameras else ()
    seen = [camera for camera in cameras if camera.labelled]
    scored = seen[0].common.labels.names if seen else ()
    # Figures in different classes are no figure together.
    labelled = bool(seen) and all(camera.common.labels.names == scored for camera in seen)
    matrix = ConfusionMatrix(len(scored))
    for camera in seen if labelled else ():
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
