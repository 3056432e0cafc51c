# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A study's result as text and as a Markdown table, with the paper's figures beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..reports.page import number, size_text
from ..reports.text_table import as_markdown

Result = Mapping[str, Any]
"""The result of a study, see :func:`seg_ros.studies.study.run_study`."""

Line = tuple[str, ...]
"""The cells of a table's row."""

NONE = number(None)
"""The text of a figure that does not exist."""


def as_page(found: Result) -> str:
    """Return a result as a part of a Markdown page: its explanation and its table."""
    return '\n\n'.join([*explained(found), as_markdown(table(found))]) + '\n'


def explained(found: Result) -> list[str]:
    """Return the explanation of a result's figures as a list of paragraphs."""
    told = [f"The paper's figures: {found['paper']}."]
    told += [_schedule(found)] if 'schedule' in found else []
    told += [_timing(found)] if found['timing'] else []
    if stages_of(found):
        told.append(
            'Of each stage: billions of multiply-adds'
            + (' / milliseconds.' if found['timing'] else '.')
        )
    return [*told, *(f'Left out: {name}: {why}' for name, why in found['left_out'].items())]


def _schedule(found: Result) -> str:
    recipe, seeds = found['schedule'], found['seeds']
    train, val = recipe['splits']
    told = [
        f'Each row is trained alike: {recipe["epochs"]} epochs of {found["dataset"]} {train}, '
        f'{recipe["batch"]} crops of {size_text(recipe["crop"])} a step from images scaled to '
        f'{" to ".join(map(str, found["scales"]))} times that, {recipe["optimizer"]} at '
        f'{recipe["learning_rate"]:g}, {recipe["precision"]}.'
    ]
    if any(row['pruned_from'] for row in found['rows']):
        told.append(
            'What is shown goes on from a network so trained: pruned, or whole in the first row, '
            f'for {found["fine_tuning"]:g} times as many epochs at {found["fine_tuning"]:g} times '
            'the rate.'
        )
    told.append(
        f'mIoU is that on {val}, which the network sees at {size_text(recipe["input_size"])}'
    )
    if seeds > 1:
        told[-1] += (
            f': the mean of {seeds} trainings, and the lowest and the highest. Rows whose ranges '
            'overlap are not told apart.'
        )
    else:
        told[-1] += (
            '. Each was trained once: how far two of the same row lie apart is not known, so a '
            'small difference says nothing.'
        )
    return ' '.join(told)


def _timing(found: Result) -> str:
    timing, machine = found['timing'], found['machine']
    on_gpu = timing['device'].startswith('cuda')
    where = machine['gpu'] if on_gpu else f'{machine["cores"]} cores of {machine["cpu"]}'
    told = (
        'Time is the median of a call, uint8 image to uint8 labels, all networks by turns'
        if 'schedule' in found
        else 'Time is the median of each stage, run eagerly and waited for, the rows by turns'
    )
    told += (
        f': {size_text(found["size"])}, {timing["backend"]}, {timing["precision"]}, {where}. In '
        'brackets: as a part of the slowest row.'
    )
    if any(row.get('memory_mb') for row in found['rows']):
        whose = 'of the GPU' if on_gpu else 'of the process beyond its modules, compiling included'
        told += f' Memory is the most {whose}.'
    return told


def table(found: Result) -> list[Line]:
    """Return a result as the lines of a table, the heading first."""
    rows = found['rows']
    columns = {'': [row['label'] for row in rows]}
    if 'schedule' in found:
        columns['mIoU'] = [_miou(row) for row in rows]
    columns |= {
        'paper: mIoU': [number(row['paper'].get('miou')) for row in rows],
        'ms': parts([row.get('ms') for row in rows], '.1f'),
        'paper: ms': parts([row['paper'].get('ms') for row in rows], '.0f'),
        'MB': [number(row.get('memory_mb'), '.0f') for row in rows],
        'paper: MB': [number(row['paper'].get('memory_mb'), '.0f') for row in rows],
        f'GMAC at {size_text(found["size"])}': [number(row['gmac'], '.1f') for row in rows],
    }
    if 'schedule' in found:
        columns['parameters, M'] = [number(row['parameters'] / 1e6, '.2f') for row in rows]
    for stage in stages_of(found):
        columns[stage] = [_stage(row['stages'].get(stage, {})) for row in rows]
    told = [(head, *cells) for head, cells in columns.items() if set(cells) != {NONE}]
    return list(zip(*told))


def stages_of(found: Result) -> list[str]:
    """Return the names of the stages in the rows of a time budget; empty for other studies."""
    return list(dict.fromkeys(stage for row in found['rows'] for stage in row.get('stages', ())))


def parts(values: Sequence[float | None], form: str) -> list[str]:
    """Return figures as text, each with its share of the largest one in brackets."""
    largest = max((value for value in values if value is not None), default=0)
    return [
        NONE if value is None else f'{number(value, form)} ({value / largest:.2f})'
        for value in values
    ]


def _miou(row: Result) -> str:
    scores = row['miou_by_seed']
    text = number(row['miou'])
    return text if len(scores) == 1 else f'{text} ({min(scores):.3f}–{max(scores):.3f})'


def _stage(cost: Mapping[str, float]) -> str:
    figures = [number(cost[unit], '.1f') if unit in cost else '' for unit in ('gmac', 'ms')]
    return ' / '.join(filter(None, figures)) or NONE
