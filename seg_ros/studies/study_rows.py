# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The studies: their rows, and the papers' figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""An empty mapping that cannot be changed."""


class StudyRow(NamedTuple):
    """
    One row of a study's table.

    :param label: the row's name.
    :param network: the network, as for :func:`seg_ros.models.build_model`, without the number of
        classes. Rows that differ only in ``exit`` share one training.
    :param recipe: keys of the recipe that differ from the schedule of all rows.
    :param paper: the paper's figures: ``miou`` (a fraction), ``ms``, ``memory_mb``.
    :param pruned_from: the larger network that is trained first and pruned, and whose weights
        this one starts from.
    """

    label: str
    network: Mapping[str, Any]
    recipe: Mapping[str, Any] = NOTHING
    paper: Mapping[str, float] = NOTHING
    pruned_from: Mapping[str, Any] = NOTHING


class Study(NamedTuple):
    """
    An ablation study of a paper.

    :param title: what it compares, in words.
    :param paper: the paper, and the images and device of its figures.
    :param size: (height, width), in pixels, of the image with which the paper timed networks.
    :param rows: the rows of its table.
    """

    title: str
    paper: str
    size: tuple[int, int]
    rows: tuple[StudyRow, ...]


ICNET: Mapping[str, Any] = MappingProxyType({'name': 'icnet'})
HALF_PSPNET50: Mapping[str, Any] = MappingProxyType({'name': 'pspnet50', 'width': 0.5})
BISENETV2: Mapping[str, Any] = MappingProxyType(
    {'name': 'bisenetv2', 'head_width': 128, 'booster_width': 64}
)
"""
BiSeNetV2 with the narrow heads of the shipped network.

Wide heads would cost more than everything that the studies change.
"""

UNGUIDED: Mapping[str, Any] = MappingProxyType({'auxiliary': 0.0})
"""Recipe keys without auxiliary losses: no label guidance, no boosters."""

MINED: Mapping[str, Any] = MappingProxyType({'ohem': 0.357})
"""Recipe keys with OHEM; 0.357 is a probability of 0.7, as in public trainings of BiSeNetV2."""

ICNET_PAPER = 'ICNet (arXiv 1704.08545), Cityscapes val, Titan X'
BISENETV2_PAPER = 'BiSeNetV2 (arXiv 2004.02147), Cityscapes val'
ICNET_SIZE, BISENETV2_SIZE = (1024, 2048), (512, 1024)


def _figures(miou: float, ms: float | None = None, gigabytes: float | None = None) -> Any:
    """Return a row's figures from those of the paper, whose mIoU is in percent."""
    told = {
        'miou': miou / 100,
        'ms': ms,
        'memory_mb': None if gigabytes is None else 1000 * gigabytes,
    }
    return {key: value for key, value in told.items() if value is not None}


def _bisenetv2(
    title: str, rows: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any], float]]
) -> Study:
    return Study(
        title,
        BISENETV2_PAPER,
        BISENETV2_SIZE,
        tuple(
            StudyRow(label, {**BISENETV2, **network}, recipe, _figures(miou))
            for label, network, recipe, miou in rows
        ),
    )


def _kept(rate: float, label: str, paper: Mapping[str, float]) -> StudyRow:
    network = ICNET if rate == 1 else {**ICNET, 'width': rate}
    return StudyRow(label, network, paper=paper, pruned_from=ICNET)


TIME_BUDGET = 'time_budget'
"""The name of the study that trains no rows, see :mod:`seg_ros.studies.budget`."""

STUDIES: Mapping[str, Study] = {
    'branches': Study(
        'What each branch of ICNet adds, and what it costs, beside half of PSPNet50',
        ICNET_PAPER,
        ICNET_SIZE,
        (
            StudyRow('half PSPNet50', HALF_PSPNET50, paper=_figures(67.9, 170, 9.2)),
            StudyRow('sub4', {**ICNET, 'exit': 'sub4'}, paper=_figures(59.6, 18, 0.6)),
            StudyRow('sub24', {**ICNET, 'exit': 'sub24'}, paper=_figures(66.5, 25, 1.1)),
            StudyRow('sub124', ICNET, paper=_figures(67.7, 33, 1.6)),
        ),
    ),
    'fusion': Study(
        'Cascade feature fusion against deconvolution',
        ICNET_PAPER,
        ICNET_SIZE,
        (
            *(
                StudyRow(
                    f'deconvolution {kernel}x{kernel}',
                    {**ICNET, 'fusion': f'deconvolution{kernel}'},
                    paper=_figures(miou, ms),
                )
                for kernel, miou, ms in ((3, 66.7, 31), (5, 66.7, 34), (7, 68.0, 38))
            ),
            StudyRow('cascade feature fusion', ICNET, paper=_figures(67.7, 33)),
        ),
    ),
    'guidance': Study(
        'Cascade label guidance on and off',
        ICNET_PAPER,
        ICNET_SIZE,
        (
            StudyRow('without', ICNET, UNGUIDED, _figures(66.8, 33)),
            StudyRow('with label guidance', ICNET, paper=_figures(67.7, 33)),
        ),
    ),
    'label_size': Study(
        "Labels at each output's own size (1/4, 1/8, 1/16) against labels of full size",
        'none, as ICNet (arXiv 1704.08545) has no such table',
        ICNET_SIZE,
        (
            StudyRow('outputs at full size', ICNET, {'full_size_loss': True}),
            StudyRow("labels at the outputs' size", ICNET),
        ),
    ),
    'aggregation': _bisenetv2(
        "How BiSeNetV2's two branches come together, and what training adds",
        (
            ('detail branch alone', {'aggregation': 'detail'}, UNGUIDED, 62.35),
            ('semantic branch alone', {'aggregation': 'semantic'}, UNGUIDED, 64.68),
            ('sum', {'aggregation': 'sum'}, UNGUIDED, 68.60),
            ('concatenation', {'aggregation': 'concatenation'}, UNGUIDED, 68.93),
            ('guided aggregation', {}, UNGUIDED, 69.67),
            ('guided, boosters', {}, {}, 73.19),
            ('guided, boosters, OHEM', {}, MINED, 73.36),
        ),
    ),
    'semantic_width': _bisenetv2(
        "The semantic branch's width, as a part of the detail branch's",
        (
            (f'1/{part}', {} if part == 4 else {'semantic_ratio': 1 / part}, UNGUIDED, miou)
            for part, miou in ((2, 69.66), (4, 69.67), (8, 69.26), (16, 68.27))
        ),
    ),
    'kernels': Study(
        'ICNet with a part of its kernels: pruned, and fine-tuned as long as the whole one',
        'PSPNet50, pruned, in ICNet (arXiv 1704.08545), Cityscapes val, Titan X',
        ICNET_SIZE,
        (
            _kept(1, '1', _figures(71.7, 446)),
            _kept(0.75, '3/4', NOTHING),
            _kept(0.5, '1/2', _figures(67.9, 170)),
            _kept(0.25, '1/4', _figures(59.4, 72)),
        ),
    ),
}
