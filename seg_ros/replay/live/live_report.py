# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a running node: the age and number of its masks, their scores and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...reports.page import (
    Figure,
    legend,
    number,
    picture,
    plot,
    quantity,
    Section,
    table_section,
    write_report,
)
from ...reports.plots import latency_plot
from ...reports.sections import classes_section
from .live_evaluation import Answers, LiveEvaluation
from .live_plots import age_plot, longest_gaps, rate_plot

GAPS = 5
"""The number of longest gaps that the report lists."""


def write_live_report(
    path: str | Path, title: str, subtitle: str, evaluation: LiveEvaluation, answers: Answers
) -> None:
    """
    Write figures, plots and some frames as an HTML page.

    :raises OSError: the page cannot be written.
    """
    timing, scores = answers.timing(), evaluation.scores()
    age = timing['age_ms']
    share = timing['frames_out'] / max(1, timing['frames_in'])
    cards = [
        ('images played', timing['frames_in']),
        ('masks received', f'{timing["frames_out"]} ({share:.1%})'),
        ('median age of a mask', quantity(age['p50'], '.0f', 'ms')),
        ('95th percentile', quantity(age['p95'], '.0f', 'ms')),
        ('masks a second', number(timing['rate_hz'], '.1f')),
        ('longest gap', quantity(timing['longest_gap_ms'], '.0f', 'ms')),
    ]
    sections = [_pictures(evaluation), *_timing_sections(answers)]
    if scores['miou'] is not None:
        cards.append(('mean IoU', f'{scores["miou"]:.3f}'))
        text = "Intersection over union with the drive's labels; 1 is perfect."
        drawn = evaluation.common.drawn(evaluation.labels)
        sections.append(classes_section(text, scores['iou'], drawn))
    write_report(path, title, subtitle, cards, sections)


def _pictures(evaluation: LiveEvaluation) -> Section:
    """Return the section that shows some frames, one in each row."""
    kinds = list(dict.fromkeys(kind for images in evaluation.shown.values() for kind in images))
    figures = [
        picture(images[kind], f'{kind}, {(stamp - evaluation.stamps[0]) / 1e9:.1f} s')
        if kind in images
        else Figure()
        for stamp, images in evaluation.shown.items()
        if images
        for kind in kinds
    ]
    return Section(
        'What came back',
        'As a subscriber in another process received it.',
        figures,
        legend(evaluation.labels),
        columns=max(2, len(kinds)),
    )


def _timing_sections(answers: Answers) -> list[Section]:
    """Return the sections on masks' age, rate and gaps; none if no mask came."""
    if not answers.answered.any():
        return []
    ages = answers.age_ms[answers.answered]
    marks = {'median': np.median(ages), '95 %': np.percentile(ages, 95)}
    rows = longest_gaps(answers.played, answers.received, *answers.gaps(), GAPS)
    return [
        Section(
            'How old was a mask when it came?',
            'From the moment its image was played to the arrival of the mask, transport both ways '
            'included.',
            [
                plot(age_plot(answers.played, answers.age_ms), 'age of each mask over time'),
                plot(latency_plot(ages.tolist(), marks), 'how many masks had which age'),
            ],
            columns=1,
        ),
        Section(
            'How many masks a second?',
            'The space below the line of the images is what was dropped.',
            [
                plot(
                    rate_plot(answers.played, answers.received),
                    'images and masks a second over time',
                )
            ],
        ),
        table_section(
            'Where were the longest gaps?',
            [('after', 'without a mask', 'images dropped'), *rows],
            'A planner has to get by that long without a new mask.',
        ),
    ]
