# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Put results of `replay` and `evaluate` side by side: which network, at which size and cost."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from ..reports.comparison_table import ComparisonRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        'results', nargs='+', metavar='JSON', help='written by `replay` or `evaluate` with --json'
    )
    parser.add_argument('--report', metavar='PATH', help='write an HTML report to this file')


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Print and return the results as rows of a table."""
    from ..reports.comparison import read_result
    from ..reports.comparison_table import row, unique_names, warnings

    if args.report and Path(args.report).is_dir():
        raise ValueError(f'--report: expected a file to write; found the folder {args.report}')
    rows = [
        row(read_result(path), name, path)
        for path, name in zip(args.results, unique_names(args.results))
    ]
    cautions = warnings(rows)
    _show(rows)
    for text in cautions:
        print(f'Warning: {text}', file=sys.stderr)
    if args.report:
        from ..reports.comparison_report import write_comparison_report

        write_comparison_report(args.report, 'Results side by side', rows, cautions)
    return {'results': [r._asdict() for r in rows], 'warnings': cautions}


def _show(rows: Sequence[ComparisonRow]) -> None:
    """Print a table, a line for each result."""
    from ..reports.comparison_table import figures_table

    lines = figures_table(rows)
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print('  '.join(f'{cell:<{width}}' for cell, width in zip(line, widths)).rstrip())
    if any(cell.endswith('*') for line in lines[1:] for cell in line):
        print('* the best of its column')
