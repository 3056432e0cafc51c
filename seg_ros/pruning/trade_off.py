# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What networks cost, and how well they do: size, multiply-adds, latency and mIoU in one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from tqdm import tqdm

from ..datasets.dataset import LabelledImages, read_ahead
from ..inference.checkpoint import Checkpoint
from ..inference.segmenter import Segmenter
from ..metrics.evaluate import evaluate
from ..metrics.latency import percentiles
from ..models.cost import cost_by_branch, total
from ..reports.text_table import as_text

TURNS, CALLS = 5, 10
"""Networks are timed in so many turns, of so many calls each."""


class TradeOff:
    """
    Networks of the same classes, each scored when it comes.

    :param scored: images of each split.
    :param device: that runs them, as are the following.
    :param backend: where it is ``auto``, the first network chooses for all.
    :param precision: likewise.
    :ivar rows: what was found of each.
    """

    def __init__(
        self,
        scored: Mapping[str, LabelledImages],
        device: str = 'auto',
        backend: str = 'auto',
        precision: str = 'auto',
    ) -> None:
        self.device, self.backend, self.precision = device, backend, precision
        self.rows: list[dict[str, Any]] = []
        self._scored = scored
        self._segmenters: list[Segmenter] = []

    def add(self, name: str, checkpoint: Checkpoint, file: Path) -> None:
        """
        Score a network, and print how well it does.

        :raises EngineError: device, backend or precision are not to be had.
        """
        segmenter = Segmenter(
            checkpoint, device=self.device, backend=self.backend, precision=self.precision
        )
        self.device, self.backend = segmenter.device, segmenter.backend
        self.precision = segmenter.precision
        miou = {split: self._score(segmenter, split) for split in self._scored}
        print(f'{name}: ' + ', '.join(f'{split} {value:.4f}' for split, value in miou.items()))
        self._segmenters.append(segmenter)
        self.rows.append(
            {
                'network': name,
                'checkpoint': file,
                'architecture': checkpoint.architecture,
                'input_size': segmenter.input_size,
                'parameters': parameters(checkpoint),
                'multiply_adds': total(
                    cost_by_branch(checkpoint.network, segmenter.input_size)
                ).macs,
                'miou': miou,
            }
        )

    def _score(self, segmenter: Segmenter, split: str) -> float:
        images = self._scored[split]
        samples = read_ahead(images, range(len(images)))
        bar = tqdm(samples, f'scoring on {split}', len(images), unit='image', leave=False)
        return evaluate(segmenter, bar).miou()

    def time(self) -> None:
        """
        Add the latency of each, from an image of the data to labels of its size.

        They take turns, so that whatever else the machine does disturbs all alike.
        """
        image, _ = next(iter(self._scored.values()))[0]
        for segmenter in self._segmenters:
            segmenter.warm_up([image.shape[:2]])
        times: list[list[float]] = [[] for _ in self._segmenters]
        for _ in range(TURNS):
            for segmenter, found in zip(self._segmenters, times):
                for _ in range(CALLS):
                    start = perf_counter()
                    segmenter.predict(image)
                    found.append(1e3 * (perf_counter() - start))
        for row, found in zip(self.rows, times):
            row['latency_ms'] = percentiles(found)

    def text(self) -> str:
        """Return the table, and above it what ran the networks."""
        splits = (f'mIoU {split}' for split in self._scored)
        lines = [('network', 'input size', 'parameters', 'multiply-adds', 'p50 ms', *splits)]
        for row in self.rows:
            height, width = row['input_size']
            lines.append(
                (
                    row['network'],
                    f'{width}x{height}',
                    f'{row["parameters"] / 1e6:.3f} M',
                    f'{row["multiply_adds"] / 1e9:.3f} G',
                    f'{row["latency_ms"]["p50"]:.1f}',
                    *(f'{miou:.4f}' for miou in row['miou'].values()),
                )
            )
        return f'{self.backend}, {self.precision}, {self.device}\n{as_text(lines)}'


def parameters(checkpoint: Checkpoint) -> int:
    """Return how many numbers a network is made of, heads that only training uses left out."""
    unused = tuple(f'{module}.' for module in checkpoint.network.training_only)
    named = checkpoint.network.named_parameters()
    return sum(tensor.numel() for name, tensor in named if not name.startswith(unused))
