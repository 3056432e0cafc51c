# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The trade-off of several networks in one table: size, multiply-adds, latency and mIoU."""

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
"""The number of turns in which networks are timed, and of calls in each turn."""


class TradeOff:
    """
    The scores and costs of several networks of the same classes.

    :param scored: the labelled images of each split.
    :param device: the device that runs the networks.
    :param backend: the engine; ``auto`` stands for the one that is chosen for the first network.
    :param precision: the precision; ``auto`` stands for the first network's.
    :ivar rows: the results of each network.
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
        Score a network, and print its mIoU on each split.

        :param name: the network's name in the table.
        :param file: the checkpoint's file, for the table.
        :raises EngineError: the device, engine or precision is not available.
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
        bar = tqdm(
            samples, f'scoring on {split}', len(images), unit='image', leave=False, disable=None
        )
        return evaluate(segmenter, bar).miou()

    def time(self) -> None:
        """
        Add the latency of each network, from an image of the data to labels of its size.

        The networks take turns, so that other work of the machine disturbs all of them equally.
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
        """Return the table, below a line with engine, precision and device."""
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
    """Return the number of a network's parameters, without heads that only training uses."""
    unused = tuple(f'{module}.' for module in checkpoint.network.training_only)
    named = checkpoint.network.named_parameters()
    return sum(tensor.numel() for name, tensor in named if not name.startswith(unused))
