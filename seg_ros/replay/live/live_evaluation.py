# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring a running node by what a subscriber gets from it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...datasets.mappings import CommonClasses, same_classes
from ...images.image_file import Image
from ...images.labels import LabelSet
from ...images.overlay import colorize, thumbnail
from ...metrics.confusion_matrix import ConfusionMatrix
from ...metrics.latency import percentiles

SHOWN = 6
"""Frames that the report shows."""

EARLY_NS = 20_000_000
"""A mask may seem to come this long before its image, as moments are estimates."""

Times = NDArray[np.int64]


class Answers(NamedTuple):
    """
    What became of the images that were played, in their order.

    :param stamps: of their headers; all three are nanoseconds, int64 (N).
    :param played: when each was.
    :param received: when its mask arrived; 0 where none did.
    """

    stamps: Times
    played: Times
    received: Times

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Return which images got a mask."""
        return self.received > 0

    @property
    def age_ms(self) -> NDArray[np.float64]:
        """Return how old each mask was when it came; nan of none."""
        return np.where(self.answered, (self.received - self.played) / 1e6, np.nan)

    def only(self, chosen: NDArray[np.bool_]) -> Answers:
        """Return some of them."""
        return Answers(*(column[chosen] for column in self))

    def gaps(self) -> tuple[Times, Times]:
        """
        Return begin and end of the times without masks, the first image and the last included.

        So a node that ends before the drive does leaves a gap, as one that starts too late does.
        """
        if not len(self.played):
            return self.played, self.played
        arrivals = np.sort(self.received[self.answered])
        moments = np.concatenate([self.played[:1], arrivals])
        ends = np.concatenate([arrivals, np.maximum(self.played[-1:], moments[-1])])
        return moments, ends

    def timing(self) -> dict[str, Any]:
        """
        Return the figures of what a subscriber saw.

        :returns: ``frames_in``, ``frames_out``, ``dropped``, ``age_ms``, ``rate_hz`` of masks
            while the drive was played, ``played_hz`` of images, ``longest_gap_ms`` between masks.
        """
        frames, masks = len(self.played), int(self.answered.sum())
        seconds = (self.played[-1] - self.played[0]) / 1e9 if frames else 0.0
        played_hz = (frames - 1) / seconds if seconds > 0 else None
        begin, end = self.gaps()
        return {
            'frames_in': frames,
            'frames_out': masks,
            'dropped': frames - masks,
            'age_ms': percentiles(self.age_ms[self.answered].tolist()),
            'rate_hz': played_hz and played_hz * masks / frames,
            'played_hz': played_hz,
            'longest_gap_ms': (end - begin).max() / 1e6 if frames else None,
        }


class LiveEvaluation:
    """
    Collects the masks and overlays of a drive as they arrive.

    :param stamps: of the drive's images, in nanoseconds, in their order.
    :param truth: (stamp, train ids) of labelled images, in their order; empty where there are
        none. Each is compared with the first mask of its stamp, however often the drive is played.
    :param common: the classes that a mask and its ground truth are compared in; the network's, if
        left out.
    """

    def __init__(
        self,
        labels: LabelSet,
        stamps: Sequence[int],
        truth: Iterable[tuple[int, Image]] = (),
        common: CommonClasses | None = None,
    ) -> None:
        self.labels = labels
        self.common = common or same_classes(labels)
        self.stamps = list(stamps)
        ids = self.common.as_predicted()
        self._truth = ((stamp, cv2.LUT(image, ids)) for stamp, image in truth)
        self._next_truth: tuple[int, Image] | None = next(self._truth, None)
        self._has_truth = self._next_truth is not None
        self._matrix = ConfusionMatrix(len(self.common.labels))
        self._heard = array('q')
        self._received = array('q')
        chosen = np.linspace(0, len(self.stamps) - 1, SHOWN + 2).round().astype(int)[1:-1]
        self.shown: dict[int, dict[str, Image]] = {self.stamps[i]: {} for i in chosen}

    def add_mask(self, stamp: int, received: int, mask: Image) -> None:
        """
        Take a mask.

        :param stamp: of its header, in nanoseconds.
        :param received: when it arrived, in nanoseconds of the system clock.
        :raises ValueError: it and its ground truth differ in size, or either has unknown ids.
        """
        self._heard.append(stamp)
        self._received.append(received)
        truth = self._find_truth(stamp)
        if truth is not None:
            if mask.shape != truth.shape:
                wanted, found = (f'{shape[1]}x{shape[0]}' for shape in (truth.shape, mask.shape))
                raise ValueError(
                    f"expected masks of the labels' size, {wanted}; found {found}. Set the node's "
                    'parameter output_size to camera'
                )
            fold = self.common.predicted
            self._matrix.update(cv2.LUT(mask, fold), cv2.LUT(truth, fold))
        if stamp in self.shown:
            shown = self.shown[stamp]
            shown['what the network sees'] = colorize(thumbnail(mask), self.labels.palette)
            if truth is not None:
                shown['ground truth'] = colorize(thumbnail(truth), self.labels.palette)

    def add_overlay(self, stamp: int, image: Image) -> None:
        """Take an overlay, uint8 RGB (H, W, 3)."""
        if stamp in self.shown:
            small = thumbnail(image, cv2.INTER_AREA)
            self.shown[stamp] = {'overlay': small, **self.shown[stamp]}

    def _find_truth(self, stamp: int) -> Image | None:
        while self._next_truth is not None and self._next_truth[0] < stamp:
            self._next_truth = next(self._truth, None)
        if self._next_truth is None or self._next_truth[0] != stamp:
            return None
        _, truth = self._next_truth
        self._next_truth = next(self._truth, None)
        return truth

    def answers(self, stamps: Sequence[int], played: Sequence[int]) -> Answers:
        """
        Match the masks with the images they answer.

        :param stamps: of the images that were played, in their order; again in each round.
        :param played: when each was, as ``received`` is.
        """
        moments: dict[int, list[int]] = {}
        places: dict[int, list[int]] = {}
        for i, (stamp, moment) in enumerate(zip(stamps, played)):
            moments.setdefault(stamp, []).append(moment)
            places.setdefault(stamp, []).append(i)
        received = np.zeros(len(played), np.int64)
        for stamp, arrival in zip(self._heard, self._received):
            latest = bisect_right(moments.get(stamp, []), arrival + EARLY_NS) - 1
            if latest >= 0 and not received[places[stamp][latest]]:
                received[places[stamp][latest]] = arrival
        return Answers(
            np.array(stamps[: len(played)], np.int64), np.array(played, np.int64), received
        )

    def scores(self) -> dict[str, Any]:
        """Return ``miou`` and ``iou`` by class; None without ground truth."""
        iou = dict(zip(self.common.labels.names, self._matrix.iou().tolist()))
        return {
            'miou': self._matrix.miou() if self._has_truth else None,
            'iou': iou if self._has_truth else None,
        }

    def result(self, published: Sequence[int]) -> dict[str, Any]:
        """
        Return ``frames_in``, ``frames_out``, ``latency_ms``, ``miou`` and ``iou`` by class.

        :param published: when each of the drive's images was, as ``received`` is.
        """
        timing = self.answers(self.stamps, published).timing()
        return {
            'frames_in': timing['frames_in'],
            'frames_out': timing['frames_out'],
            'latency_ms': timing['age_ms'],
            **self.scores(),
        }
