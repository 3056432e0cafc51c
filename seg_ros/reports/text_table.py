# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tables in text and in Markdown."""

from __future__ import annotations

Table = list[tuple[str, ...]]
"""The lines of a table, the headings first, each with its cells."""


def as_text(lines: Table) -> str:
    """Return a table as text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    return '\n'.join(
        '  '.join(f'{cell:<{width}}' for cell, width in zip(line, widths)).rstrip()
        for line in lines
    )


def as_markdown(lines: Table) -> str:
    """Return a table in Markdown."""
    escaped = [[cell.replace('|', r'\|') for cell in line] for line in lines]
    escaped.insert(1, ['---'] * len(lines[0]))
    return '\n'.join(f'| {" | ".join(line)} |' for line in escaped)
