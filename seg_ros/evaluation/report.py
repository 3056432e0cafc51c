# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reports: one HTML file that holds its pictures and plots and asks nothing of a network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment
from matplotlib.figure import Figure as Plot

from ..inference.files import write_atomically
from ..inference.image_file import encode_image, Image
from ..inference.labels import LabelSet


@dataclass(frozen=True)
class Figure:
    """
    A picture or plot.

    :param content: HTML.
    """

    content: str
    caption: str = ''


@dataclass(frozen=True)
class Section:
    """
    A part of a report under one heading.

    :param legend: (class name, colour) pairs.
    :param table: rows of cells, of which the first is the row's heading.
    :param head: what the table's columns are, where that needs saying.
    :param columns: of figures that belong side by side; 0 is as many as fit.
    """

    title: str
    text: str = ''
    figures: Sequence[Figure] = ()
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()
    table: Sequence[Sequence[str]] = field(default_factory=list)
    head: Sequence[str] = ()
    columns: int = 0


def picture(image: Image, caption: str = '') -> Figure:
    """Return an RGB image, uint8 (H, W, 3), as a figure."""
    content = base64.b64encode(encode_image(image, '.jpg')).decode()
    alt = escape(caption, quote=True)
    return Figure(f'<img src="data:image/jpeg;base64,{content}" alt="{alt}">', caption)


def plot(drawing: Plot, caption: str = '') -> Figure:
    """Return a matplotlib figure as one of the report, in vectors."""
    buffer = io.StringIO()
    drawing.savefig(buffer, format='svg', bbox_inches='tight')
    content = buffer.getvalue()
    return Figure(content[content.index('<svg') :], caption)


def legend(labels: LabelSet) -> list[tuple[str, tuple[int, int, int]]]:
    """Return a section's legend of a label set."""
    return list(zip(labels.names, labels.palette))


def write_report(
    path: str | Path,
    title: str,
    subtitle: str,
    facts: Sequence[tuple[str, Any]],
    sections: Sequence[Section],
) -> None:
    """
    Write a report, whole or not at all.

    :param facts: (name, value) of the figures that head the page.
    :raises OSError: it cannot be written.
    """
    source = (resources.files('seg_ros') / 'evaluation' / 'report.html').read_text('utf-8')
    page = (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(source)
        .render(title=title, subtitle=subtitle, facts=facts, sections=sections)
    )
    write_atomically(path, page.encode())
