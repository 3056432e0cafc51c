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
    texts = [f"The paper's figures: {found['paper']}."]
    texts += [_schedule(found)] if 'schedule' in found else []
    texts += [_timing(found)] if found['timing'] else []
    if stages_of(found):
        texts.append(
            'For each stage: billions of multiply-adds'
            + (' / milliseconds.' if found['timing'] else '.')
        )
    return [*texts, *(f'Left out: {name}: {why}' for name, why in found['left_out'].items())]


def _schedule(found: Result) -> str:
    recipe, seeds = found['schedule'], found['seeds']
    train, val = recipe['splits']
    texts = [
        f'All rows are trained in the same way: {recipe["epochs"]} epochs of {found["dataset"]} '
        f'{train}, {recipe["batch"]} crops of {size_text(recipe["crop"])} per step from images '
        f'scaled to {" to ".join(map(str, found["scales"]))} times that size, '
        f'{recipe["optimizer"]} with a learning rate of {recipe["learning_rate"]:g}, '
        f'{recipe["precision"]}.'
    ]
    if any(row['pruned_from'] for row in found['rows']):
        texts.append(
            'The network trained in this way is then pruned (except for the first row) and '
            f'trained further, for {found["fine_tuning"]:g} times as many epochs at '
            f'{found["fine_tuning"]:g} times the learning rate.'
        )
    texts.append(
        f'mIoU is measured on {val} at an input size of {size_text(recipe["input_size"])}'
    )
    if seeds > 1:
        texts[-1] += (
            f': the mean of {seeds} trainings, with the lowest and the highest in brackets. Rows '
            'whose ranges overlap cannot be texts apart.'
        )
    else:
        texts[-1] += (
            '. Each row was trained once: how much two trainings of a row differ is not known, '
            'so small differences mean nothing.'
        )
    return ' '.join(texts)


def _timing(found: Result) -> str:
    timing, machine = found['timing'], found['machine']
    on_gpu = timing['device'].startswith('cuda')
    where = machine['gpu'] if on_gpu else f'{machine["cores"]} cores of {machine["cpu"]}'
    texts = (
        'Time is the median of a call, from a uint8 image to uint8 labels, with all networks in '
        'turns'
        if 'schedule' in found
        else 'Time is the median of each stage, run eagerly, with all rows in turns'
    )
    texts += (
        f': {size_text(found["size"])}, {timing["backend"]}, {timing["precision"]}, {where}. In '
        "brackets: as a share of the slowest row's."
    )
    if any(row.get('memory_mb') for row in found['rows']):
        whose = 'the GPU' if on_gpu else 'the process beyond its modules, compilation included'
        texts += f' Memory is the peak of {whose}.'
    return texts


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
    texts = [(head, *cells) for head, cells in columns.items() if set(cells) != {NONE}]
    return list(zip(*texts))


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
