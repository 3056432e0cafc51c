# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What to measure: a network, and a way to run it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2

from ..datasets.synthetic.sample_drive import SampleDrive
from ..images.image_file import Image
from ..images.overlay import Paint
from ..inference.checkpoint import Checkpoint
from ..inference.segmenter import choose_device, Segmenter
from ..models.cost import cost_by_branch, total
from .baselines import baseline_network, baselines_of, Eager
from .networks import find_network


@dataclass(frozen=True)
class Case:
    """
    What to measure.

    :param network: as :func:`seg_ros.benchmark.networks.find_network` takes it.
    :param input_size: (height, width) that the network sees.
    :param image_size: (height, width) of the image.
    :param batch: images a call.
    :param eager: whether to run it as others do, see
        :class:`seg_ros.benchmark.baselines.Eager`.
    :param graphs: whether CUDA runs from graphs.
    """

    network: str
    input_size: tuple[int, int]
    image_size: tuple[int, int]
    device: str = 'auto'
    backend: str = 'auto'
    precision: str = 'auto'
    batch: int = 1
    eager: bool = False
    graphs: bool = True

    def __str__(self) -> str:
        height, width = self.input_size
        how = 'as others run it' if self.eager else f'{self.backend}, {self.precision}'
        graphs = '' if self.graphs else ', without graphs'
        return f'{self.network}, {width}x{height}, {how}{graphs}, batch {self.batch}'


class Loaded:
    """
    A case that is ready to run, and was run once.

    :param checkpoint: of :func:`checkpoint_of`.
    :ivar cost: of an image.
    :ivar baseline: what the case is compared with.
    :ivar images: of one call.
    :raises ValueError: the case cannot be had on this machine.
    """

    def __init__(self, case: Case, checkpoint: Checkpoint) -> None:
        self.case = case
        self.cost = total(cost_by_branch(checkpoint.network, case.input_size))
        self.baseline = baselines_of(case.network, checkpoint.network)[0]
        self.device = choose_device(case.device)
        self._segmenter: Segmenter | None = None
        if case.eager:
            self.backend, self.precision = 'eager', 'fp32'
            self._eager = Eager(
                checkpoint.network, checkpoint.preprocessing, case.input_size, self.device
            )
        else:
            height, width = case.input_size
            self._segmenter = Segmenter(
                checkpoint,
                input_height=height,
                input_width=width,
                device=self.device,
                precision=case.precision,
                backend=case.backend,
                graphs=case.graphs,
            )
            self.backend, self.precision = self._segmenter.backend, self._segmenter.precision
        self._paint = Paint(checkpoint.labels.palette, color=True, overlay=True)
        self.images = images(case.image_size, case.batch)
        self.predict()

    def predict(self) -> list[Image]:
        """Return the labels of the images, uint8, (H, W)."""
        if self._segmenter is None:
            return self._eager.predict(self.images)
        return [found.labels for found in self._segmenter.predict(self.images)]

    def draw(self) -> None:
        """Do so and also draw overlay and colour; nothing where others' way is run."""
        if self._segmenter is not None:
            self._segmenter.predict(self.images, paint=self._paint)


def checkpoint_of(case: Case) -> Checkpoint:
    """
    Return a case's network.

    :raises ValueError: there is none of that name.
    """
    return baseline_network(case.network, case.input_size)


def images(size: tuple[int, int], count: int) -> list[Image]:
    """Return frames of the sample drive, (H, W, 3)."""
    drive = SampleDrive(frames=count)
    height, width = size
    return [cv2.resize(drive[i][0], (width, height)) for i in range(count)]


def with_baselines(cases: Iterable[Case]) -> list[Case]:
    """Return the cases, and before them what each size of them is compared with."""
    cases = list(cases)
    others: dict[Case, None] = {}
    for case in cases:
        network = find_network(case.network, case.input_size).network
        for name in baselines_of(case.network, network):
            others[
                Case(name, case.input_size, case.image_size, case.device, 'torch', 'fp32', 1, True)
            ] = None
    return [*others, *cases]
