# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The time budget of PSPNet50, an analysis that motivates ICNet (section 3.1 of arXiv 1704.08545).

It gives the cost of each stage for reduced widths, reduced image resolutions and larger strides.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from ..benchmark.branch_times import BranchTimes
from ..benchmark.networks import settle
from ..benchmark.rows import machine
from ..images.labels import CITYSCAPES
from ..inference.backends.torch_engine import TorchEngine, TYPES
from ..inference.segmenter import choose_device
from ..models.cost import cost_by_branch
from ..models.layers import bottlenecks
from ..models.pspnet import PSPNet50
from .study import Timing
from .study_rows import ICNET_PAPER, TIME_BUDGET

TITLE = 'What PSPNet50 costs by stage, width, resolution and feature stride'


class BudgetVariant(NamedTuple):
    """
    A variant of PSPNet50 and of its input.

    :param width: the share of its kernels, 1, 0.5 or 0.25.
    :param resolution: the share of the image's height and width, 1, 0.5 or 0.25.
    :param stride: the stride of its last features, 8, 16 or 32.
    """

    width: float = 1
    resolution: float = 1
    stride: int = 8

    def __str__(self) -> str:
        stride = f', stride {self.stride}' if self.stride != 8 else ''
        return f'{PARTS[self.width]} kernels, {PARTS[self.resolution]} resolution{stride}'


PARTS = {1: 'all', 0.5: '1/2', 0.25: '1/4'}
"""The shares of kernels and of resolution, and their names in labels."""

VARIANTS: Mapping[BudgetVariant, Mapping[str, float]] = {
    **{BudgetVariant(width, resolution): {} for width in PARTS for resolution in PARTS},
    BudgetVariant(): {'miou': 0.717, 'ms': 446},
    BudgetVariant(0.5): {'miou': 0.679, 'ms': 170},
    BudgetVariant(0.25): {'miou': 0.594, 'ms': 72},
    BudgetVariant(stride=16): {'miou': 0.702, 'ms': 177},
    BudgetVariant(stride=32): {'miou': 0.671, 'ms': 131},
}
"""The variants to measure, and the paper's figures for them."""


@cache
def network(width: float, stride: int) -> PSPNet50:
    """
    Return an untrained PSPNet50.

    :param width: the share of its kernels.
    :param stride: the stride of its last features: 8, 16 or 32. For 16 and 32, convolutions have a
        stride where those of the original network are dilated.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = PSPNet50(len(CITYSCAPES), width)
        w1024, w512, w256, w2048 = (round(width * each) for each in (1024, 512, 256, 2048))
        if stride >= 16:
            found.body[6] = bottlenecks(w512, w256, w1024, 6, stride=2)
            found.last_stage = bottlenecks(w1024, w512, w2048, 3, dilation=2)
        if stride == 32:
            found.last_stage = bottlenecks(w1024, w512, w2048, 3, stride=2)
        settle(found)
    return found


def time_budget(size: tuple[int, int], timing: Timing | None) -> dict[str, Any]:
    """
    Count the multiply-adds of each stage of each variant, and measure its time.

    Stages run one after the other in eager mode, since a compiled engine has no stages.

    :param size: (height, width) of the whole image in pixels.
    :param timing: how to measure the time; None to measure none. Its backend is not used: the
        stages always run in PyTorch.
    :returns: the study's result, see :func:`seg_ros.studies.study.run_study`.
    :raises ValueError: PyTorch does not compute in that precision.
    """
    rows, times = [], []
    device = choose_device(timing.device) if timing else ''
    precision = timing.precision if timing else ''
    if precision == 'auto':
        precision = TorchEngine.precisions(device)[0]
    if timing and precision not in TYPES:
        raise ValueError(
            f'precision: expected auto or one of {", ".join(TYPES)}, since stages run in PyTorch; '
            f'found {precision!r}'
        )
    for variant, paper in tqdm(VARIANTS.items(), 'counting', unit='network', disable=None):
        height, width = (round(variant.resolution * side) for side in size)
        built = network(variant.width, variant.stride)
        costs = cost_by_branch(built, (height, width))
        rows.append({
            'label': str(variant),
            **variant._asdict(),
            'size': [height, width],
            'stages': {name: {'gmac': cost.macs / 1e9} for name, cost in costs.items()},
            'gmac': sum(cost.macs for cost in costs.values()) / 1e9,
            'paper': dict(paper),
        })  # fmt: skip
        if timing:
            times.append(BranchTimes(built, (height, width), device, precision))
    for _ in tqdm(range(timing.rounds if timing else 0), 'timing', unit='turn', disable=None):
        for each in times:
            each.run()
    for row, each in zip(rows, times):
        for stage, milliseconds in each.medians().items():
            row['stages'].setdefault(stage, {})['ms'] = milliseconds
        row['ms'] = sum(each.medians().values())
    return {
        'study': TIME_BUDGET,
        'title': TITLE,
        'paper': ICNET_PAPER,
        'size': list(size),
        'left_out': {},
        'timing': {'backend': 'torch', 'device': device, 'precision': precision} if timing else {},
        'machine': machine(),
        'rows': rows,
    }
