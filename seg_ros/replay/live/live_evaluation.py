# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring a running node by the masks and overlays that a subscriber receives from it."""

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
"""The number of frames that the report shows."""

EARLY_NS = 20_000_000
"""How many ns a mask may seem to come before its image, as the times of playing are estimates."""

Times = NDArray[np.int64]


class Answers(NamedTuple):
    """
    The images that were played, in order, and the arrivals of their masks; each int64 (N).

    :param stamps: the images' header stamps in nanoseconds.
    :param played: when each image was played, in nanoseconds.
    :param received: when each image's mask arrived, in nanoseconds; 0 if none did.
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
        """Return each mask's age at its arrival in milliseconds; nan for images without one."""
        return np.where(self.answered, (self.received - self.played) / 1e6, np.nan)

    def only(self, chosen: NDArray[np.bool_]) -> Answers:
        """Return the images that are true in ``chosen``, (N)."""
        return Answers(*(column[chosen] for column in self))

    def gaps(self) -> tuple[Times, Times]:
        """
        Return the beginnings and ends of the times between masks, in nanoseconds.

        The first image begins the first gap, and the last image ends the last one, so a node
        that starts too late or ends too early leaves a gap, too.
        """
        if not len(self.played):
            return self.played, self.played
        arrivals = np.sort(self.received[self.answered])
        begins = np.concatenate([self.played[:1], arrivals])
        ends = np.concatenate([arrivals, np.maximum(self.played[-1:], begins[-1])])
        return begins, ends

    def timing(self) -> dict[str, Any]:
        """
        Return the timing of images and masks as a subscriber saw it.

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
    Collects and scores the masks and overlays of a drive as they arrive.

    :param labels: the network's classes.
    :param stamps: the header stamps of the drive's images in nanoseconds, in order.
    :param truth: (stamp, train ids) of the labelled images, in order; empty if there are none.
        Each is compared with the first mask of its stamp, however often the drive is played.
    :param common: the classes in which a mask and its ground truth are compared; the network's,
        if left out.
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
        # Evenly in time, so that a part of few images a second is shown, too.
        moments = np.linspace(self.stamps[0], self.stamps[-1], SHOWN + 2)[1:-1]
        chosen = [int(np.abs(np.subtract(self.stamps, moment)).argmin()) for moment in moments]
        self.shown: dict[int, dict[str, Image]] = {self.stamps[i]: {} for i in chosen}

    def add_mask(self, stamp: int, received: int, mask: Image) -> None:
        """
        Add a received mask.

        :param stamp: the mask's header stamp in nanoseconds.
        :param received: when it arrived, in nanoseconds of the system clock.
        :param mask: train ids, (H, W).
        :raises ValueError: the mask and its ground truth differ in size, or an id is unknown.
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
        """Add a received overlay, uint8 RGB (H, W, 3)."""
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
        Match the received masks with the images from which the node made them.

        :param stamps: the stamps of the images that were played, in order; if the drive was
            played several times, each stamp occurs as often.
        :param played: when each image was played, in nanoseconds of the system clock.
        """
        times: dict[int, list[int]] = {}
        places: dict[int, list[int]] = {}
        for i, (stamp, time) in enumerate(zip(stamps, played)):
            times.setdefault(stamp, []).append(time)
            places.setdefault(stamp, []).append(i)
        received = np.zeros(len(played), np.int64)
        for stamp, arrival in zip(self._heard, self._received):
            latest = bisect_right(times.get(stamp, []), arrival + EARLY_NS) - 1
            if latest >= 0 and not received[places[stamp][latest]]:
                received[places[stamp][latest]] = arrival
        return Answers(
            np.array(stamps[: len(played)], np.int64), np.array(played, np.int64), received
        )

    def scores(self) -> dict[str, Any]:
        """Return ``miou`` and each class's ``iou``; None for both without ground truth."""
        iou = dict(zip(self.common.labels.names, self._matrix.iou().tolist()))
        return {
            'miou': self._matrix.miou() if self._has_truth else None,
            'iou': iou if self._has_truth else None,
        }

    def result(self, published: Sequence[int]) -> dict[str, Any]:
        """
        Return ``frames_in``, ``frames_out``, ``latency_ms``, ``miou`` and each class's ``iou``.

        :param published: when each of the drive's images was published, in nanoseconds of the
            system clock.
        """
        timing = self.answers(self.stamps, published).timing()
        return {
            'frames_in': timing['frames_in'],
            'frames_out': timing['frames_out'],
            'latency_ms': timing['age_ms'],
            **self.scores(),
        }
