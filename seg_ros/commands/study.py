# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Repeat a study of the papers': train what it compares alike, and show it beside their figures.

branches: ICNet's sub4, sub24 and sub124 beside half of PSPNet50. fusion: cascade feature fusion
against deconvolution. guidance: cascade label guidance on and off. label_size: labels at the
outputs' size against outputs at the labels'. aggregation: BiSeNetV2's branches alone and
together, boosters, OHEM. semantic_width: of its semantic branch. kernels: ICNet pruned to parts of
its kernels. time_budget: what PSPNet50 costs by stage, width, resolution and stride; no training.

Leaves OUT/STUDY.json, .md and .svg, and a folder of each training. Rows that studies share are
trained once, and trained rows are taken as they are, so that a study can be timed later.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..studies.study_rows import ICNET_SIZE, STUDIES, Study, TIME_BUDGET
from .benchmark import _positive, _size
from .evaluate import DATASETS

NAMES = (*STUDIES, TIME_BUDGET)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('study', choices=NAMES, metavar='STUDY', help=', '.join(NAMES))
    parser.add_argument(
        '--dataset', choices=DATASETS, default='sample_drive', metavar='NAME',
        help=f'{", ".join(DATASETS)}; by default the one that is drawn',
    )  # fmt: skip
    parser.add_argument('--root', help="the data set's folder; a sample drive needs none")
    parser.add_argument('--epochs', type=_positive, default=10, metavar='N', help='a row; 10')
    parser.add_argument(
        '--crop', type=_size, default=(257, 193), metavar='WxH',
        help='what the network sees, about the whole of an image made smaller; 257x193',
    )  # fmt: skip
    parser.add_argument(
        '--rows', nargs='+', metavar='ROW', help='only these, by their names in the table'
    )
    parser.add_argument(
        '--seeds', type=_positive, default=1, metavar='N', help='trainings of each row; 1'
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='where all of it goes')
    parser.add_argument('--resume', action='store_true', help='go on with what was interrupted')
    parser.add_argument(
        '--no-timing', action='store_true', help='neither time nor memory, as on a busy machine'
    )
    parser.add_argument(
        '--size', type=_size, metavar='WxH', help="of the image that is timed; the paper's"
    )
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    for name, choices in (
        ('backend', 'auto, torch, openvino or onnxruntime'),
        ('precision', 'auto, fp32, bf16, fp16'),
    ):
        parser.add_argument(f'--{name}', default='auto', help=f'of what is timed: {choices}')
    parser.add_argument(
        '--rounds', type=_positive, default=5, metavar='N', help='turns of what is timed; 5'
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Make the study; write, print and return what it found."""
    from ..images.files import write_atomically
    from ..inference.segmenter import choose_device
    from ..reports.text_table import as_text
    from ..studies.budget import time_budget
    from ..studies.study import run_study, Timing
    from ..studies.study_plots import write_plot
    from ..studies.study_report import as_page, explained, table
    from ..studies.trained import Schedule
    from ._result import plain

    if args.study != TIME_BUDGET and not args.root and args.dataset != 'sample_drive':
        raise ValueError(f'--root: expected the folder of {args.dataset}; found nothing')
    study, out = _chosen(args), Path(args.out)
    if study is not None:
        _check_replaces(out / f'{args.study}.json', args.dataset, study)
    out.mkdir(parents=True, exist_ok=True)
    size = args.size and args.size[::-1]
    timing = Timing(size, args.device, args.backend, args.precision, args.rounds)
    used = None if args.no_timing else timing
    if study is None:
        found = time_budget(size or ICNET_SIZE, used)
    else:
        schedule = Schedule(
            args.dataset, args.root or '', args.epochs, args.crop[::-1], out,
            choose_device(args.device), args.resume,
        )  # fmt: skip
        found = run_study(args.study, study, schedule, args.seeds, used, print)
    found = plain(found)
    write_atomically(out / f'{args.study}.json', f'{json.dumps(found, indent=2)}\n'.encode())
    write_atomically(out / f'{args.study}.md', as_page(found).encode())
    write_plot(out / f'{args.study}.svg', found)
    print(f'\n{found["title"]}\n\n{as_text(table(found))}\n\n' + '\n'.join(explained(found)))
    return found


def _chosen(args: argparse.Namespace) -> Study | None:
    """Return the study with the rows that were asked for; of a time budget there is none."""
    study = STUDIES.get(args.study)
    if args.rows is None:
        return study
    known = [row.label for row in study.rows] if study else []
    unknown = [label for label in args.rows if label not in known]
    if study is None or unknown:
        raise ValueError(
            f'--rows: expected any of {", ".join(map(repr, known)) or "none"}, as '
            f'{args.study} has them; found {", ".join(map(repr, unknown or args.rows))}'
        )
    return study._replace(rows=tuple(row for row in study.rows if row.label in args.rows))


def _check_replaces(file: Path, dataset: str, study: Study) -> None:
    """Raise where the study would take the place of one that says more, or of other data."""
    if not file.exists():
        return
    there = json.loads(file.read_text(encoding='utf-8'))
    labels = [row['label'] for row in there['rows']]
    if there['dataset'] != dataset or not {row.label for row in study.rows} >= set(labels):
        raise ValueError(
            f'{file}: expected no result there, or one of {dataset} and no other rows than these; '
            f'found one of {there["dataset"]}, {", ".join(labels)}. Choose another folder (--out)'
        )
