# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Latency percentiles as all commands report them, and a reference for the machine's speed."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import torch

from ..models import build_model

REFERENCE_SIZE = (128, 256)
"""The height and width, in pixels, of the reference network's input."""


def percentiles(milliseconds: Sequence[float]) -> dict[str, float | None]:
    """Return p50, p95 and p99 of latencies in milliseconds; each is None without latencies."""
    if not len(milliseconds):
        return {'p50': None, 'p95': None, 'p99': None}
    return {f'p{q}': float(np.percentile(milliseconds, q)) for q in (50, 95, 99)}


class Reference:
    """
    A fixed piece of work, whose time tells how fast and how busy this machine is.

    It is BiSeNetV2 (paper's head, 19 classes, float32) on 128x256 pixels, whatever network is
    measured. Ratios of a latency to the reference's time, measured at the same time, can be
    compared between machines and between days.

    :param device: the device of the network that is measured.
    """

    def __init__(self, device: str) -> None:
        with torch.random.fork_rng(devices=[]):
            network = build_model({'name': 'bisenetv2', 'num_classes': 19})
        self._network = network.eval().requires_grad_(False).to(device)
        self._input = torch.zeros(1, 3, *REFERENCE_SIZE, device=device)
        self.run()  # The first run is slower, since it sets up the network.

    def run(self) -> float:
        """Do the work once, and return its time in milliseconds."""
        start = perf_counter()
        with torch.inference_mode():
            float(self._network.coarse_logits(self._input).sum())  # waits for the device
        return 1e3 * (perf_counter() - start)
