# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring a running node by what a subscriber gets from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Plot
import numpy as np

from ..inference.image_file import Image
from ..inference.labels import LabelSet
from ..inference.overlay import colorize
from .confusion_matrix import ConfusionMatrix
from .latency import percentiles
from .report import legend, picture, plot, Section, write_report

SHOWN = 6
"""Frames that the report shows."""


class LiveEvaluation:
    """
    Collects the masks and overlays of a drive as they arrive.

    :param stamps: of the drive's images, in nanoseconds, in their order.
    :param truth: (stamp, train ids) of labelled images, in their order; empty where there are
        none.
    """

    def __init__(
        self, labels: LabelSet, stamps: Sequence[int], truth: Iterable[tuple[int, Image]] = ()
    ) -> None:
        self._labels = labels
        self._stamps = list(stamps)
        self._truth = iter(truth)
        self._next_truth: tuple[int, Image] | None = next(self._truth, None)
        self._has_truth = self._next_truth is not None
        self._matrix = ConfusionMatrix(len(labels))
        self._arrivals: dict[int, int] = {}
        chosen = np.linspace(0, len(self._stamps) - 1, SHOWN + 2).round().astype(int)[1:-1]
        self._shown: dict[int, dict[str, Image]] = {self._stamps[i]: {} for i in chosen}

    def add_mask(self, stamp: int, received: int, mask: Image) -> None:
        """
        Take a mask.

        :param stamp: of its header, in nanoseconds.
        :param received: when it arrived, in nanoseconds of the system clock.
        """
        self._arrivals[stamp] = received
        truth = self._find_truth(stamp)
        if truth is not None:
            self._matrix.update(mask, truth)
        if stamp in self._shown:
            self._shown[stamp]['what the network sees'] = colorize(mask, self._labels.palette)
            if truth is not None:
                self._shown[stamp]['ground truth'] = colorize(truth, self._labels.palette)

    def add_overlay(self, stamp: int, image: Image) -> None:
        """Take an overlay, uint8 RGB (H, W, 3)."""
        if stamp in self._shown:
            self._shown[stamp] = {'overlay': image, **self._shown[stamp]}

    def _find_truth(self, stamp: int) -> Image | None:
        while self._next_truth is not None and self._next_truth[0] < stamp:
            self._next_truth = next(self._truth, None)
        if self._next_truth is None or self._next_truth[0] != stamp:
            return None
        return self._next_truth[1]

    def latencies(self, published: Sequence[int]) -> list[float | None]:
        """
        Return each frame's milliseconds from publishing to its mask; None of those unanswered.

        :param published: when each image was published, as ``received`` is.
        """
        return [
            (self._arrivals[stamp] - sent) / 1e6 if stamp in self._arrivals else None
            for stamp, sent in zip(self._stamps, published)
        ]

    def result(self, published: Sequence[int]) -> dict[str, Any]:
        """Return ``frames_in``, ``frames_out``, ``latency_ms``, ``miou`` and ``iou`` by class."""
        answered = [ms for ms in self.latencies(published) if ms is not None]
        iou = dict(zip(self._labels.names, self._matrix.iou().tolist()))
        return {
            'frames_in': len(published),
            'frames_out': len(answered),
            'latency_ms': percentiles(answered),
            'miou': self._matrix.miou() if self._has_truth else None,
            'iou': iou if self._has_truth else None,
        }

    def report(self, path: Path, title: str, subtitle: str, published: Sequence[int]) -> None:
        """Write the figures, a latency plot and some frames as an HTML page."""
        result = self.result(published)
        latency = result['latency_ms']
        share = result['frames_out'] / max(1, result['frames_in'])
        facts = [
            ('frames published', result['frames_in']),
            ('masks received', f'{result["frames_out"]} ({share:.1%})'),
            ('median latency', _milliseconds(latency['p50'])),
            ('95th percentile', _milliseconds(latency['p95'])),
        ]
        sections = [
            Section(
                'What came back',
                'Overlays and masks as a subscriber in another process received them.',
                [
                    picture(image, f'{name}, {(stamp - self._stamps[0]) / 1e9:.1f} s')
                    for stamp, images in self._shown.items()
                    for name, image in images.items()
                ],
                legend(self._labels),
            ),
            Section(
                'How long did a frame take?',
                'From publishing the image to receiving its mask, transport both ways included.',
                [plot(_latency_plot(self._stamps, self.latencies(published)))],
            ),
        ]
        if result['miou'] is not None:
            facts.append(('mean IoU', f'{result["miou"]:.3f}'))
            sections.append(
                Section(
                    'Which classes are seen well?',
                    "Intersection over union with the drive's exact labels, 1 is perfect.",
                    [plot(_iou_plot(result['iou'], self._labels))],
                )
            )
        write_report(path, title, subtitle, facts, sections)


def _milliseconds(value: float | None) -> str:
    return 'none' if value is None else f'{value:.0f} ms'


def _latency_plot(stamps: Sequence[int], latencies: Sequence[float | None]) -> Plot:
    drawing = Plot(figsize=(9, 2.8))
    axes = drawing.subplots()
    seconds = [(stamp - stamps[0]) / 1e9 for stamp in stamps[: len(latencies)]]
    axes.plot(seconds, [np.nan if ms is None else ms for ms in latencies], '.-', lw=0.7, ms=3)
    missed = [second for second, ms in zip(seconds, latencies) if ms is None]
    axes.plot(missed, [0] * len(missed), 'rx', ms=5, label=f'{len(missed)} unanswered')
    axes.set(xlabel='time in the drive, s', ylabel='latency, ms', ylim=(0, None))
    if missed:
        axes.legend()
    axes.grid(alpha=0.3)
    return drawing


def _iou_plot(iou: dict[str, float], labels: LabelSet) -> Plot:
    drawing = Plot(figsize=(9, 0.32 * len(iou) + 0.6))
    axes = drawing.subplots()
    values = [0.0 if np.isnan(value) else value for value in iou.values()]
    colors = [tuple(c / 255 for c in color) for color in labels.palette]
    bars = axes.barh(list(iou), values, color=colors, edgecolor='#0004')
    axes.bar_label(
        bars, ['absent' if np.isnan(v) else f'{v:.2f}' for v in iou.values()], padding=3
    )
    axes.set(xlim=(0, 1), xlabel='IoU')
    axes.invert_yaxis()
    return drawing
