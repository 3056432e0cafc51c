# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reports: self-contained HTML files with sections of text, tables, plots and images."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from itertools import count
from math import isnan
from pathlib import Path
import re
from typing import Any, NamedTuple, TYPE_CHECKING

from jinja2 import Environment

from ..images.files import write_atomically
from ..images.image_file import encode_image, Image
from ..images.labels import LabelSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

SPACE = '\N{NO-BREAK SPACE}'
"""The space between a figure and its unit."""

QUALITY = 80
"""The JPEG quality of images."""

SCALE = 10.9
"""The points of a plot's width that make one rem of the page; 9 inches then fill the page."""

_numbers = count(1)


class Link(NamedTuple):
    """A text that links to an anchor of the same page."""

    text: str
    anchor: str

    def __html__(self) -> str:
        """Return the link's HTML, which the template inserts."""
        return f'<a href="#{escape(self.anchor)}">{escape(self.text)}</a>'


class Code(str):
    """A text that is shown in a fixed-width font, such as a topic or a file name."""

    def __html__(self) -> str:
        """Return the text's HTML, which the template inserts."""
        return f'<code>{escape(self)}</code>'


@dataclass(frozen=True)
class Figure:
    """
    An image or plot of a report.

    :param content: its HTML; if it is empty, its place among figures side by side stays free.
    :param caption: the text below it.
    :param anchor: the anchor by which links find it.
    :param link: a link after the caption.
    """

    content: str = ''
    caption: str = ''
    anchor: str = ''
    link: Link | None = None


@dataclass(frozen=True)
class Section:
    """
    A part of a report under one heading.

    :param title: the heading.
    :param text: the text below the heading.
    :param figures: images and plots.
    :param legend: (class name, colour) pairs.
    :param table: rows of cells (text, :class:`Link` or :class:`Code`); the first cell is the
        row's heading.
    :param head: the headings of the table's columns.
    :param columns: number of figures side by side; 0 for as many as fit.
    :param cards: (name, value) of the main figures, which are shown as cards.
    :param level: level of the heading: 2, or 3 for a part of the section before.
    :param warning: whether the section warns of a problem.
    """

    title: str
    text: str = ''
    figures: Sequence[Figure] = ()
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()
    table: Sequence[Sequence[str | Link]] = field(default_factory=list)
    head: Sequence[str] = ()
    columns: int = 0
    cards: Sequence[tuple[str, Any]] = ()
    level: int = 2
    warning: bool = False


def number(value: float | None, form: str = '.3f') -> str:
    """Return a number as text; a dash stands for None and nan."""
    return '–' if value is None or isnan(value) else format(value, form)


def quantity(value: float | None, form: str, unit: str) -> str:
    """Return a number and its unit as text that no line breaks; a dash stands for None and nan."""
    text = number(value, form)
    return text if text == number(None) else f'{text}{SPACE}{unit}'


def size_text(size: Sequence[int]) -> str:
    """Return (height, width) as WIDTHxHEIGHT."""
    return 'x'.join(str(side) for side in reversed(size))


def table_section(
    title: str, lines: Sequence[Sequence[str | Link]], text: str = '', level: int = 2
) -> Section:
    """
    Return a section with a table.

    :param lines: the lines of the table, the headings first.
    """
    head, *rows = lines
    return Section(title, text, table=rows, head=[str(cell) for cell in head], level=level)


def picture(image: Image, caption: str = '', anchor: str = '', link: Link | None = None) -> Figure:
    """Return an image, uint8 RGB (H, W, 3), as a figure of the report."""
    content = base64.b64encode(encode_image(image, '.jpg', QUALITY)).decode()
    alt = escape(caption, quote=True)
    height, width = image.shape[:2]
    source = f'<img src="data:image/jpeg;base64,{content}" alt="{alt}"'
    return Figure(f'{source} width="{width}" height="{height}">', caption, anchor, link)


def plot(drawing: Plot, label: str, caption: str = '') -> Figure:
    """
    Return a matplotlib figure as a figure of the report, as SVG with searchable text.

    An artist's gid becomes an anchor of the page, and its url can link to one.

    :param label: a description, which screen readers read.
    :param caption: the text below it.
    """
    from .plots import as_svg  # Pages without plots do not need matplotlib.

    svg = as_svg(drawing, str(next(_numbers)), tight=True)
    return Figure(_embedded(svg, label), caption)


def _embedded(svg: str, label: str) -> str:
    """Return the content of an SVG file as an element of a page."""
    svg = svg[svg.index('<svg') :]
    # Remove ids that nothing refers to, since they would be the same in every plot, but keep our
    # own anchors. These contain a dash, and matplotlib's ids do not.
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used or '-' in m[1] else '', svg)
    svg = svg.replace(' target="_blank"', '')
    svg = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", 'system-ui, sans-serif', svg)
    svg = re.sub(r'<style type="text/css">.*?</style>', '', svg, flags=re.S)
    svg = re.sub(r'(?<=[\d.]) \n(?=[LMCQz])', '\n', svg)
    role = 'group' if '<a ' in svg else 'img'
    # Limit the width to that of the drawing, so that the text of all plots has the same size.
    return re.sub(
        r'<svg([^>]*?) width="([\d.]+)pt" height="([\d.]+)pt"',
        lambda m: (
            f'<svg{m[1]} role="{role}" aria-label="{escape(label)}" '
            f'style="max-width: {float(m[2]) / SCALE:.1f}rem; --height: {m[3]}pt"'
        ),
        svg,
        count=1,
    )


def legend(labels: LabelSet) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the classes and colours of a label set as the legend of a section."""
    return list(zip(labels.names, labels.palette))


def write_report(
    path: str | Path,
    title: str,
    subtitle: str,
    cards: Sequence[tuple[str, Any]],
    sections: Sequence[Section],
) -> None:
    """
    Write a report as one HTML file, either completely or not at all.

    :param title: the page's title.
    :param subtitle: the text below it; may be empty.
    :param cards: (name, value) of the main figures, which are shown as cards at the top.
    :param sections: the sections of the page.
    :raises OSError: the file cannot be written.
    """
    source = (resources.files('seg_ros') / 'reports' / 'page.html').read_text('utf-8')
    page = (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(source)
        .render(title=title, subtitle=subtitle, cards=cards, sections=sections)
    )
    write_atomically(path, page.encode())
