# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the demo draws beside an overlay belongs to the overlay's own mask."""

from types import SimpleNamespace

import numpy as np
import pytest

from seg_ros.commands.demo import _Drawing
from seg_ros.images.labels import LabelSet
from seg_ros.images.overlay import Panel

LABELS = LabelSet(('road', 'sky'), ((128, 64, 128), (70, 130, 180)))


@pytest.fixture
def drawn(monkeypatch):
    """Return the shares and the times that panels are drawn with, in their order."""
    found = []
    draw = Panel.draw

    def remember(panel, share, fps, text):
        found.append((share, text))
        return draw(panel, share, fps, text)

    monkeypatch.setattr(Panel, 'draw', remember)
    return found


def mask(stamp, share_of_sky):
    pixels = np.zeros((40, 100), np.uint8)
    pixels[:, : round(100 * share_of_sky)] = 1
    return SimpleNamespace(stamp=stamp, received=stamp + 5, pixels=pixels)


def overlay(value):
    return np.full((240, 100, 3), value, np.uint8)


def test_an_overlay_that_comes_before_its_mask_waits_for_it(drawn):
    drawing = _Drawing(LABELS, start=0)
    drawing.add_overlay(10**9, overlay(1))
    assert list(drawing.finished(False)) == []
    drawing.add_mask(mask(10**9, 0.25))
    ((stamp, picture),) = drawing.finished(False)
    assert stamp == 10**9
    assert drawn == [([0.75, 0.25], '1.0 s')]
    assert (picture[:, :100] == 1).all()


def test_a_lost_mask_holds_nothing_up(drawn):
    drawing = _Drawing(LABELS, start=0)
    for i in (1, 2, 3):
        drawing.add_overlay(i * 10**9, overlay(i))
    drawing.add_mask(mask(2 * 10**9, 0.5))
    assert [p[0, 0, 0] for _, p in drawing.finished(False)] == [1, 2]
    assert [p[0, 0, 0] for _, p in drawing.finished(True)] == [3]
    assert [share for share, _ in drawn] == [[0.0, 0.0], [0.5, 0.5], [0.0, 0.0]]
