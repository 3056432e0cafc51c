# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The reports' pages as a browser shows and prints them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
import re
import shutil
import subprocess

import numpy as np
import pytest
from report_pages import assert_sound, LABELS, Page, WRITE

from seg_ros.images.image_file import read_image

BROWSER = next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'chrome'))),
    '',
)


@dataclass
class Shown(Page):
    """
    A page as a browser took it.

    :param log: what the browser said.
    :param screenshot: uint8 RGB.
    :param pdf: what it prints.
    """

    log: str = ''
    screenshot: np.ndarray = field(default_factory=lambda: np.zeros(0))
    pdf: bytes = b''


def show(path: Path, folder: Path) -> Shown:
    """Open a page in a browser that reaches no network; print it, too."""
    if not BROWSER:
        pytest.skip('chromium is not installed')
    picture, pdf = folder / 'page.png', folder / 'page.pdf'
    options = (
        'headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking '
        'disable-component-update disable-sync enable-logging=stderr v=0 hide-scrollbars dump-dom '
        f'no-pdf-header-footer user-data-dir={folder}/user window-size=1366,4000 '
        f'screenshot={picture} print-to-pdf={pdf}'
    )
    command = [BROWSER, *(f'--{option}' for option in options.split())]
    command += ['--host-resolver-rules=MAP * ~NOTFOUND', path.as_uri()]
    result = subprocess.run(command, capture_output=True, timeout=120)
    log, source = result.stderr.decode(errors='replace'), result.stdout.decode()
    return Shown(source, log=log, screenshot=read_image(picture), pdf=pdf.read_bytes())


@pytest.fixture(scope='module')
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Page, Shown]]:
    """Return each page as it was written, and as a browser took it."""
    folder = tmp_path_factory.mktemp('reports')
    found = {}
    for name, write in WRITE.items():
        path = folder / f'{name}.html'
        write(path)
        found[name] = Page(path.read_text()), show(path, folder)
    return found


@pytest.mark.parametrize('name', WRITE)
def test_page_in_a_browser(name, pages) -> None:
    written, page = pages[name]
    # What other tests find in the file is what the browser shows.
    assert (page.rows, page.facts, page.tags['img']) == (
        written.rows, written.facts, written.tags['img'],
    )  # fmt: skip
    assert 'CONSOLE' not in page.log, page.log
    assert_sound(page)
    shot = page.screenshot.astype(int)
    assert shot.shape == (4000, 1366, 3)
    assert (shot[:, :5] == 255).all() and (shot[:, -5:] == 255).all(), 'wider than the window'
    # Text is dark, and links can be told from it.
    assert (shot[:600] < (60, 70, 80)).all(2).sum() > 500
    # On paper: A4, all of it, and the links work.
    boxes = re.findall(rb'/MediaBox *\[ *0 +0 +([\d.]+) +([\d.]+)', page.pdf)
    assert 1 <= len(boxes) <= 15
    assert all(abs(float(w) - 595) < 1.5 and abs(float(h) - 842) < 1.5 for w, h in boxes)
    assert page.pdf.count(b'/Subtype /Link') >= len(page.texts['a']) > 0


def test_pictures_arrive_on_the_screen(pages) -> None:
    for name in ('drive', 'dataset'):
        shot = pages[name][1].screenshot.astype(int)
        for color in ((214, 39, 40), LABELS.palette[0], LABELS.palette[2]):
            assert (np.abs(shot - color).max(2) < 25).sum() > 2000, color
