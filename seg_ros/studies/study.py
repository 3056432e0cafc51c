# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Running a study: each row is trained, scored and timed, and its multiply-adds are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from ..benchmark.cases import Case, checkpoint_of, Loaded
from ..benchmark.engine_benchmark import measure
from ..benchmark.rows import machine
from ..images.labels import CITYSCAPES
from ..models import build_model
from ..models.cost import cost_by_branch, total
from .study_rows import Study, StudyRow
from .trained import FINE_TUNING, folder_of, SCALES, Schedule, score, shared

TRIAL = (65, 97)
"""The (height, width) of the image with which an engine is tried before the trainings."""


@dataclass(frozen=True)
class Timing:
    """
    How the rows of a study are timed.

    :param size: (height, width) of the image in pixels; None for that of the study's paper.
    :param device: see :class:`seg_ros.inference.segmenter.Segmenter`.
    :param backend: see there.
    :param precision: see there.
    :param rounds: number of turns of each network.
    """

    size: tuple[int, int] | None = None
    device: str = 'auto'
    backend: str = 'auto'
    precision: str = 'auto'
    rounds: int = 5


def run_study(
    name: str,
    study: Study,
    schedule: Schedule,
    seeds: int,
    timing: Timing | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """
    Train, score and time the networks of a study; trainings that are done are not repeated.

    :param name: the study's name.
    :param study: the study.
    :param schedule: how to train.
    :param seeds: number of trainings of each row.
    :param timing: how to time the networks; None to measure neither time nor memory.
    :param say: called with a line of text about the next step.
    :returns: the result: ``rows``, and the properties that all of them share.
    :raises ValueError: a row's training was interrupted and is not to be resumed, or an earlier
        training was on other data.
    """
    size = timing.size if timing and timing.size else study.size
    if timing:  # Try the engine now, so that an error comes before the trainings.
        network = spec(study.rows[-1].network)
        case = Case(network, TRIAL, TRIAL, timing.device, timing.backend, timing.precision)
        Loaded(case, checkpoint_of(case))
    rows = []
    for i, row in enumerate(study.rows):
        scores = []
        for seed in range(seeds):
            say(f'{name}, row {i + 1} of {len(study.rows)}: {row.label}, seed {seed}')
            scores.append(score(schedule, row, seed))
        rows.append({
            'label': row.label,
            'network': spec(row.network),
            'recipe': dict(row.recipe),
            'pruned_from': spec(row.pruned_from) if row.pruned_from else '',
            'trainings': [folder_of(schedule, row, seed).name for seed in range(seeds)],
            'miou': sum(scores) / seeds,
            'miou_by_seed': scores,
            **_counted(row, size),
            'paper': dict(row.paper),
        })  # fmt: skip
    found: dict[str, Any] = {
        'study': name,
        'title': study.title,
        'paper': study.paper,
        'dataset': schedule.dataset,
        'scales': list(SCALES),
        'fine_tuning': FINE_TUNING,
        'schedule': shared(schedule.recipe(StudyRow('', study.rows[-1].network), 0)),
        'seeds': seeds,
        'size': list(size),
        'timing': {},
        'left_out': {},
        'machine': machine(),
        'rows': rows,
    }
    if timing:
        say(f'{name}: timing')
        found['left_out'] = _time(rows, size, timing)
        # Rows that could not be measured have no `backend`.
        found['timing'] = next(
            {key: row[key] for key in ('backend', 'device', 'precision')}
            for row in rows
            if 'backend' in row
        )
    return found


def spec(network: Mapping[str, Any]) -> str:
    """Return a network's name as for ``benchmark --networks``: ``icnet:width=0.5,exit=sub4``."""
    arguments = [f'{key}={value}' for key, value in network.items() if key != 'name']
    return ':'.join(filter(None, (network['name'], ','.join(arguments))))


def _counted(row: StudyRow, size: tuple[int, int]) -> dict[str, float]:
    """Return a network's multiply-adds and parameters, without heads that only training uses."""
    network = build_model({'num_classes': len(CITYSCAPES), **row.network})
    unused = tuple(f'{name}.' for name in network.training_only)
    return {
        'gmac': total(cost_by_branch(network, size)).macs / 1e9,
        'parameters': sum(
            p.numel() for key, p in network.named_parameters() if not key.startswith(unused)
        ),
    }


def _time(rows: Sequence[dict[str, Any]], size: tuple[int, int], timing: Timing) -> dict[str, str]:
    """
    Add time and memory to the rows. Each network is measured once, untrained.

    :returns: the networks that could not be measured here, and the reason for each.
    """
    cases = {
        row['network']: Case(
            row['network'], size, size, timing.device, timing.backend, timing.precision
        )
        for row in rows
    }
    with tqdm(total=len(cases) * (1 + timing.rounds), unit='turn', disable=None) as bar:

        def advance(what: str) -> None:
            bar.set_description(what)
            bar.update()

        measured, left_out, _ = measure(
            list(cases.values()), rounds=timing.rounds, throughput=False, advance=advance
        )
    times = {found.network: found for found in measured if found.benchmark == 'engine'}
    for row in rows:
        if found := times.get(row['network']):
            row |= {
                'ms': found.p50,
                'memory_mb': found.memory_mb,
                'backend': found.backend,
                'device': found.device,
                'precision': found.precision,
            }
    return left_out
