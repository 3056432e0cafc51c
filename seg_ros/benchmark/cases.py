# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cases of a benchmark: which network to measure, and how to run it."""

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
    A case of a benchmark: which network to measure, and how to run it.

    :param network: a name for :func:`seg_ros.benchmark.networks.find_network`.
    :param input_size: (height, width) of the network's input.
    :param image_size: (height, width) of the image.
    :param batch: the number of images in a call.
    :param eager: whether to run the network as other projects do, see
        :class:`seg_ros.benchmark.baselines.Eager`.
    :param graphs: whether to use CUDA graphs.
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
    A case that is loaded, and was run once.

    :param checkpoint: the network, as :func:`checkpoint_of` returns it.
    :ivar cost: the network's cost for one image.
    :ivar baseline: the name of the network that the case is compared with.
    :ivar images: the images of one call.
    :raises ValueError: this machine cannot run the case.
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
        """Run the case once and return the images' labels, uint8, (H, W)."""
        if self._segmenter is None:
            return self._eager.predict(self.images)
        return [found.labels for found in self._segmenter.predict(self.images)]

    def draw(self) -> None:
        """Run the case once and also draw overlay and colour; do nothing if it is eager."""
        if self._segmenter is not None:
            self._segmenter.predict(self.images, paint=self._paint)


def checkpoint_of(case: Case) -> Checkpoint:
    """
    Return a case's network.

    :raises ValueError: there is no network of that name.
    """
    return baseline_network(case.network, case.input_size)


def images(size: tuple[int, int], count: int) -> list[Image]:
    """Return ``count`` frames of the sample drive, RGB (H, W, 3), of ``size`` (height, width)."""
    drive = SampleDrive(frames=count)
    height, width = size
    return [cv2.resize(drive[i][0], (width, height)) for i in range(count)]


def with_baselines(cases: Iterable[Case]) -> list[Case]:
    """Return the cases, and before them the baselines of each of their sizes."""
    cases = list(cases)
    others: dict[Case, None] = {}
    for case in cases:
        network = find_network(case.network, case.input_size).network
        for name in baselines_of(case.network, network):
            others[
                Case(name, case.input_size, case.image_size, case.device, 'torch', 'fp32', 1, True)
            ] = None
    return [*others, *cases]
