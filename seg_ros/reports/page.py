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
"""Between a figure and its unit."""

QUALITY = 80
"""Of a picture, as JPEG."""

SCALE = 10.9
"""Points of a plot in a letter's height; 9 inches then fill the page."""

_numbers = count(1)


class Link(NamedTuple):
    """A text that leads to an anchor of the same page."""

    text: str
    anchor: str

    def __html__(self) -> str:
        """Return it as the template writes it."""
        return f'<a href="#{escape(self.anchor)}">{escape(self.text)}</a>'


class Code(str):
    """A text that is to be read letter by letter, such as a topic or a file."""

    def __html__(self) -> str:
        """Return it as the template writes it."""
        return f'<code>{escape(self)}</code>'


@dataclass(frozen=True)
class Figure:
    """
    A picture or plot.

    :param content: HTML; empty keeps a place free among figures side by side.
    :param anchor: by which links find it.
    :param link: to what it belongs, after the caption.
    """

    content: str = ''
    caption: str = ''
    anchor: str = ''
    link: Link | None = None


@dataclass(frozen=True)
class Section:
    """
    A part of a report under one heading.

    :param legend: (class name, colour) pairs.
    :param table: rows of cells (text, :class:`Link` or :class:`Code`), of which the first is the
        row's heading.
    :param head: what the table's columns are.
    :param columns: of figures that belong side by side; 0 is as many as fit.
    :param facts: (name, value) of figures that head the section.
    :param level: of the heading: 2, or 3 of a part of the section before.
    :param warning: whether it says that something is wrong.
    """

    title: str
    text: str = ''
    figures: Sequence[Figure] = ()
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()
    table: Sequence[Sequence[str | Link]] = field(default_factory=list)
    head: Sequence[str] = ()
    columns: int = 0
    facts: Sequence[tuple[str, Any]] = ()
    level: int = 2
    warning: bool = False


def number(value: float | None, form: str = '.3f') -> str:
    """Return a figure as text; a dash for None and nan."""
    return '–' if value is None or isnan(value) else format(value, form)


def picture(image: Image, caption: str = '', anchor: str = '', link: Link | None = None) -> Figure:
    """Return an RGB image, uint8 (H, W, 3), as a figure."""
    content = base64.b64encode(encode_image(image, '.jpg', QUALITY)).decode()
    alt = escape(caption, quote=True)
    height, width = image.shape[:2]
    source = f'<img src="data:image/jpeg;base64,{content}" alt="{alt}"'
    return Figure(f'{source} width="{width}" height="{height}">', caption, anchor, link)


def plot(drawing: Plot, label: str, caption: str = '') -> Figure:
    """
    Return a matplotlib figure as one of the report, in vectors and with its texts as text.

    An artist's gid is an anchor of the page, and its url can lead to one.

    :param label: what it shows, for those who cannot see it.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    # The salt goes into the names of what a plot defines, so that two plots of a page share none.
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': str(next(_numbers))}):
        drawing.savefig(
            buffer, format='svg', bbox_inches='tight',
            metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')),
        )  # fmt: skip
    return Figure(_embedded(buffer.getvalue(), label), caption)


def _embedded(svg: str, label: str) -> str:
    """Return an SVG file as an element of a page."""
    svg = svg[svg.index('<svg') :]
    # Names that nothing refers to would occur once in every plot. Anchors have a dash (of our
    # own), matplotlib's names have none.
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used or '-' in m[1] else '', svg)
    svg = svg.replace(' target="_blank"', '')
    svg = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", 'system-ui, sans-serif', svg)
    svg = re.sub(r'<style type="text/css">.*?</style>', '', svg, flags=re.S)
    svg = re.sub(r'(?<=[\d.]) \n(?=[LMCQz])', '\n', svg)
    role = 'group' if '<a ' in svg else 'img'
    # As wide as it was drawn, so that the letters of all plots are of one size.
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
    source = (resources.files('seg_ros') / 'reports' / 'page.html').read_text('utf-8')
    page = (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(source)
        .render(title=title, subtitle=subtitle, facts=facts, sections=sections)
    )
    write_atomically(path, page.encode())
