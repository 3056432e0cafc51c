# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The cost of a network, branch by branch: multiply-adds and memory traffic.

Only convolutions and linear layers are counted, since other layers can be fused into them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn, Tensor

from . import SegmentationNetwork

CASCADE: Mapping[str, tuple[str, ...]] = {
    'trunk': ('trunk',),
    'sub4': ('deep', 'squeeze', 'fusion24.guide'),
    # A fusion's parts are listed one by one, as not all of them need run in its forward().
    'sub24 fusion': ('fusion24.refine', 'fusion24.project', 'fusion12.guide'),
    'sub1': ('shallow',),
    'sub124 head': ('fusion12.refine', 'fusion12.project', 'head'),
}
"""The branches of all networks built on :mod:`seg_ros.models.cascade`."""

BRANCHES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    'BiSeNetV2': {
        'detail': ('detail',),
        'semantic': ('semantic', 'context'),
        'aggregation': ('aggregation',),
        'head': ('head',),
    },
    'ICNet': CASCADE,
    'ICNetLiminn': CASCADE,
    'ICNetMMSegmentation': {**CASCADE, 'sub4': ('pools', *CASCADE['sub4'])},
    'PSPNet50': {
        'stage 1': ('body.0', 'body.1', 'body.2', 'body.3'),
        'stage 2': ('body.4',),
        'stage 3': ('body.5',),
        'stage 4': ('body.6',),
        'stage 5': ('last_stage',),
        'pyramid': ('pyramid',),
        'head': ('head',),
    },
    'TwoBackbones': {
        'backbone, twice': ('first', 'last'),
        'sub24 fusion': ('fusion24',),
        'sub1': ('shallow',),
        'sub124 head': ('fusion12', 'head'),
    },
}
"""The branches of each network, named as in its paper, and the modules of each branch."""

BYTES = {'fp32': 4, 'bf16': 2, 'fp16': 2, 'int8': 1}
"""The bytes of a number in each precision."""

REST = 'rest'
"""The name for the cost of layers that belong to no branch."""


@dataclass(frozen=True)
class Cost:
    """
    The cost of one image.

    :param macs: the number of multiply-adds.
    :param weights: the number of weights read, once for all images of a batch.
    :param activations: the number of values read and written: each layer's input and output, once.
    """

    macs: int = 0
    weights: int = 0
    activations: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.macs + other.macs,
            self.weights + other.weights,
            self.activations + other.activations,
        )

    def bytes(self, element: int, batch: int = 1) -> int:
        """Return the bytes moved for a batch of images, with ``element`` bytes for each number."""
        return element * (self.weights + batch * self.activations)

    def at_peak(self, peak: Mapping[str, Any], precision: str, batch: int = 1) -> float | None:
        """
        Return the roofline: the milliseconds at the machine's peak of arithmetic or of bandwidth.

        :param peak: the result of :func:`seg_ros.benchmark.peak.measure`.
        :returns: the larger of the two times; None if the peak of that precision is unknown.
        """
        flops = peak['tflops'].get(precision)
        if not flops:
            return None
        computing = 2 * batch * self.macs / (1e12 * flops)
        moving = self.bytes(BYTES[precision], batch) / (1e9 * peak['copy_gb_s'])
        return 1e3 * max(computing, moving)


def branches(network: nn.Module) -> Mapping[str, tuple[str, ...]]:
    """Return the modules of each of a network's branches; none for an unknown network."""
    return BRANCHES.get(type(network).__name__, {})


def _branch_of(name: str, parts: Mapping[str, tuple[str, ...]]) -> str:
    """Return a module's branch: that of the innermost module in ``parts`` that contains it."""
    holding = [
        (len(part), branch)
        for branch, modules in parts.items()
        for part in modules
        if f'{name}.'.startswith(f'{part}.')
    ]
    return max(holding)[1] if holding else REST


def cost_by_branch(network: SegmentationNetwork, size: tuple[int, int]) -> dict[str, Cost]:
    """
    Count the cost of a network's coarse logits, without computing them.

    :param size: (height, width) of the image.
    :returns: the cost of each branch that runs, in the order of :data:`BRANCHES`.
    """
    shapes = copy.deepcopy(network).eval().to('meta', torch.float32)
    parts = branches(network)
    found: dict[str, Cost] = {}

    def count(name: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], None]:
        def hook(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            weight = layer.weight
            # Each output is a sum over one filter, or over one row of a linear layer. In a
            # transposed convolution each input is multiplied by one filter instead.
            ends = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
            macs = ends.numel() * weight[0].numel()
            moved = inputs[0].numel() + output.numel()
            branch = _branch_of(name, parts)
            found[branch] = found.get(branch, Cost()) + Cost(macs, weight.numel(), moved)

        return hook

    for name, layer in shapes.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            layer.register_forward_hook(count(name))
    with torch.inference_mode():
        shapes.coarse_logits(torch.empty(1, 3, *size, device='meta'))
    return {name: found[name] for name in (*parts, REST) if name in found}


def total(costs: Mapping[str, Cost]) -> Cost:
    """Return the sum of the branches' costs."""
    return sum(costs.values(), Cost())
