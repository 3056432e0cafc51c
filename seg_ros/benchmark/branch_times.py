# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Timing each branch of a network, and comparing it with the time at the machine's peak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
import copy
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import nn

from ..inference.backends.torch_engine import TYPES
from ..models import SegmentationNetwork
from ..models.cost import branches, BYTES, cost_by_branch, REST, total


class BranchTimes:
    """
    Times the branches of a network that runs eagerly.

    At the start and end of each branch it waits for a GPU, which slows the network down.

    :param size: (height, width) of the image.
    :param precision: fp32, bf16 or fp16.
    """

    def __init__(
        self, network: SegmentationNetwork, size: tuple[int, int], device: str, precision: str
    ) -> None:
        self.device, self.precision = device, precision
        dtype = TYPES[precision]
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.network.to(device=device, dtype=dtype)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.rand(1, 3, *size, device=device).to(dtype)
        self._images = images.contiguous(memory_format=torch.channels_last)
        self._times: list[dict[str, float]] = []
        self.run()  # the first run is slower, as it sets things up
        self._times.clear()

    def medians(self) -> dict[str, float]:
        """Return each branch's median milliseconds over all runs, and last those of the rest."""
        return {name: median(run[name] for run in self._times) for name in self._times[0]}

    def run(self) -> None:
        """Run the network once."""
        times: dict[str, float] = dict.fromkeys(branches(self.network), 0.0)
        with torch.inference_mode(), self._timed(times):
            start = self._now()
            self.network.coarse_logits(self._images)
            whole = self._now() - start
        times[REST] = whole - sum(times.values())
        self._times.append({name: 1e3 * seconds for name, seconds in times.items()})

    def _now(self) -> float:
        if self.device.startswith('cuda'):
            torch.cuda.synchronize(self.device)
        return perf_counter()

    @contextmanager
    def _timed(self, times: dict[str, float]) -> Iterator[None]:
        """Add the seconds that each branch's modules take to ``times``, while the block runs."""
        handles = []
        for branch, names in branches(self.network).items():
            for module in _called(self.network, names):
                started: list[float] = []

                def begin(*_: Any, started: list[float] = started) -> None:
                    started.append(self._now())

                def end(*_: Any, branch: str = branch, started: list[float] = started) -> None:
                    times[branch] += self._now() - started.pop()

                handles += [
                    module.register_forward_pre_hook(begin),
                    module.register_forward_hook(end),
                ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _called(network: nn.Module, names: Sequence[str]) -> Iterator[nn.Module]:
    """Yield the modules of these names; for a list, which is never called itself, its items."""
    for name in names:
        module = network.get_submodule(name)
        yield from module if isinstance(module, nn.ModuleList) else (module,)


def branch_rows(
    times: BranchTimes, network: str, size: tuple[int, int], peak: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """
    Return a row with the cost and time of each branch, and one for the whole network.

    :param network: the network's name in the rows.
    :param size: (height, width) of the image.
    :param peak: the machine's peak, as :func:`seg_ros.benchmark.peak.measure` returns it.
    """
    costs = cost_by_branch(times.network, size)
    took = times.medians()
    whole = {'whole': total(costs)}
    rows = []
    for name in dict.fromkeys((*costs, REST, *whole)):
        cost = {**costs, **whole}.get(name)
        rows.append({
            'network': network,
            'branch': name,
            'device': times.device,
            'precision': times.precision,
            'input_size': list(size),
            'ms': sum(took.values()) if name in whole else took.get(name),
            'gmac': cost.macs / 1e9 if cost else None,
            'megabytes': cost.bytes(BYTES[times.precision]) / 1e6 if cost else None,
            'roofline_ms': cost.at_peak(peak, times.precision) if cost else None,
        })  # fmt: skip
    return rows
