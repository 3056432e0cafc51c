# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drawings of labels: colours, overlays, legends, a video's panel, the colour-blind palette."""

from __future__ import annotations

import numpy as np
import pytest
from visions import check_differences, check_number_of_colours, least_difference, VISIONS

from seg_ros.images.labels import CAMVID, CITYSCAPES, COCO_STUFF, LabelSet
from seg_ros.images.overlay import colorize, legend, overlay, Panel
from seg_ros.images.palette import colorblind_palette, PALETTES, with_palette

LABELS = LabelSet(
    ('road', 'car', 'sky', 'tree'), ((10, 20, 30), (200, 0, 0), (0, 0, 250), (0, 99, 0))
)


def test_colorize_paints_the_palette() -> None:
    mask = np.array([[0, 1, 2], [3, 4, 255]], np.uint8)
    painted = colorize(mask, LABELS.palette)
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(
        painted,
        [[[10, 20, 30], [200, 0, 0], [0, 0, 250]], [[0, 99, 0], [0, 0, 0], [0, 0, 0]]],
    )
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 19, (50, 70)).astype(np.uint8)
    expected = np.array(CITYSCAPES.palette, np.uint8)[mask]
    np.testing.assert_array_equal(colorize(mask, CITYSCAPES.palette), expected)


@pytest.mark.parametrize('opacity', [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize('shape', [(50, 70), (1, 1), (1, 4), (4, 1)])
def test_overlay_mixes_and_leaves_unlabeled_pixels(opacity: float, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    mask = rng.choice([0, 1, 2, 3, 255], shape).astype(np.uint8)
    before = image.copy()
    found = overlay(image, mask, LABELS.palette, opacity)
    colours = np.array([*LABELS.palette, *[(0, 0, 0)] * 252], np.uint8)[mask]
    expected = opacity * colours + (1 - opacity) * image
    expected[mask == 255] = image[mask == 255]
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 0.5 + 1e-6
    np.testing.assert_array_equal(image, before)


# Legends and panels


PALE = (232, 232, 232)
"""The colour of a bar's track."""


def rows_of(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int]:
    """Return the first row, and the one after the last, that has a colour at the left edge."""
    rows = np.flatnonzero((picture[:, :20] == colour).all(-1).any(1))
    return int(rows[0]), int(rows[-1]) + 1


def bar_of(picture: np.ndarray, colour: tuple[int, int, int], start: int, end: int) -> int:
    """Return the length of a bar in columns; the columns after it must be its track."""
    row = picture[sum(rows_of(picture, colour)) // 2, start:end]
    length = int((row == colour).all(-1).sum())
    assert (row[:length] == colour).all()
    assert (row[length:] == PALE).all()
    return length


def track_of(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int]:
    """Return the first column of an empty bar's track, and the one after the last."""
    pale = (picture[sum(rows_of(picture, colour)) // 2] == PALE).all(-1)
    end = int(np.flatnonzero(pale)[-1]) + 1
    return end - int(pale[:end][::-1].argmin()), end


def is_dark(picture: np.ndarray) -> bool:
    """Return whether a picture contains black text."""
    return bool((picture.max(-1) < 80).any())


@pytest.mark.parametrize(
    ('labels', 'height', 'columns'),
    [(LABELS, 128, 1), (CITYSCAPES, 480, 1), (CAMVID, 97, 2), (COCO_STUFF, 1080, 3)],
)
def test_legend_shows_each_colour_and_name(labels: LabelSet, height: int, columns: int) -> None:
    picture = legend(labels, height)
    assert picture.dtype == np.uint8
    assert picture.shape[0] == height
    rows = -(-len(labels) // columns)
    width = picture.shape[1] // columns
    for i, colour in enumerate(labels.palette):
        column, row = divmod(i, rows)
        top, bottom = (round((row + part) * height / rows) for part in (0, 1))
        cell = picture[top:bottom, column * width : (column + 1) * width]
        first, last = rows_of(cell, colour)
        assert last - first >= (bottom - top) / 2
        assert is_dark(cell[:, 3 * (last - first) :])


def test_legend_of_any_height_and_number() -> None:
    for count in (1, 2, 255):
        labels = LabelSet(tuple(map(str, range(count))), COCO_STUFF.palette[:1] * count)
        for height in (1, 7, 48):
            assert legend(labels, height).shape[0] == height
            assert Panel(labels, height).draw([1 / count] * count, 9.0).shape[0] == height


@pytest.mark.parametrize('height', [360, 720, 1080])
@pytest.mark.parametrize('labels', [LABELS, CAMVID, CITYSCAPES], ids=len)
def test_panel_shows_each_class_and_its_share(labels: LabelSet, height: int) -> None:
    panel = Panel(labels, height)
    # All shares are large enough to be visible. The last is that of unlabeled pixels, which is not
    # shown.
    share = np.random.default_rng(4).dirichlet(np.full(len(labels) + 1, 3))
    share[0], share[1] = 0, share[1] + share[0]
    picture = panel.draw(share.tolist(), None)
    assert picture.dtype == np.uint8
    assert picture.shape == (height, panel.width, 3)
    assert panel.width % 2 == 0
    assert panel.width < height
    spots = [rows_of(picture, colour) for colour in labels.palette]
    # The first bar is empty, so its track shows where all bars begin and end.
    start, end = track_of(picture, labels.palette[0])
    assert end - start > height / 10
    for i, (colour, (top, bottom)) in enumerate(zip(labels.palette, spots)):
        assert top > (spots[i - 1][1] if i else 0)
        assert bottom <= height
        assert bar_of(picture, colour, start, end) == round((end - start) * share[i])
        row = picture[top:bottom]
        assert is_dark(row[:, 3 * (bottom - top) : start])
        assert is_dark(row[:, end:])


def test_panel_says_the_share_in_figures() -> None:
    panel = Panel(LABELS, 360)

    def figures(*share: float) -> list[np.ndarray]:
        picture = panel.draw(share, None)
        spots = [rows_of(picture, colour) for colour in LABELS.palette]
        return [picture[top:bottom, -60:] for top, bottom in spots]

    one, same, rounded, other = figures(0.123, 0.123, 0.12304, 0.124)
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(one, rounded)
    assert (one != other).any()
    assert is_dark(figures(1.0, 0.0, 0.0, 0.0)[0][:, :12])  # 100.0% is the widest


def test_panel_has_fps_and_caption_at_its_top_and_forgets_them() -> None:
    panel = Panel(CAMVID, 720)
    share = [1 / 11] * 11
    plain = panel.draw(share, None)
    before = plain.copy()
    top = rows_of(plain, CAMVID.palette[0])[0] - 4
    assert not is_dark(plain[:top])
    fast, named = panel.draw(share, 23.45), panel.draw(share, None, 'front, 12.3 s')
    long = panel.draw(share, 23.45, 'a caption that is much too long for it' * 9)
    for picture in (fast, named, long):
        np.testing.assert_array_equal(picture[top:], plain[top:])
        assert is_dark(picture[:top])
    assert not (is_dark(fast[: top // 2]) and is_dark(named[: top // 2]))
    assert not (is_dark(fast[top // 2 : top]) and is_dark(named[top // 2 : top]))
    assert (panel.draw(share, 24.5) != fast).any()
    np.testing.assert_array_equal(plain, before)
    np.testing.assert_array_equal(panel.draw(share, None), before)


@pytest.mark.parametrize('height', [360, 720, 1080])
def test_panel_of_many_classes_shows_the_largest_and_the_rest(height: int) -> None:
    panel = Panel(COCO_STUFF, height)
    order = np.random.default_rng(1).permutation(171)
    share = np.zeros(171)
    share[order] = 0.9 ** np.arange(171) / 10
    picture = panel.draw(share.tolist(), None)
    left = picture[:, :20]
    visible = [i for i in range(171) if (left == COCO_STUFF.palette[i]).all(-1).any()]
    assert len(visible) >= 17
    assert sorted(visible) == sorted(order[: len(visible)])
    spots = [rows_of(picture, COCO_STUFF.palette[i]) for i in visible]
    assert spots == sorted(spots)
    # The sum of the other classes is below them, in grey.
    grey = (160, 160, 160)
    assert rows_of(picture, grey)[0] > spots[-1][1]
    start, end = track_of(panel.draw([0.0] * 171, None), grey)
    expected = round((end - start) * (share.sum() - share[visible].sum()))
    assert bar_of(picture, grey, start, end) == expected
    # A class that was among the others is shown when its share grows.
    new = order[-1]
    share[new] = 0.5
    assert rows_of(panel.draw(share.tolist(), None), COCO_STUFF.palette[new])


# Colours for colour-blind people


def test_differences_are_those_that_are_known() -> None:
    assert least_difference(((0, 0, 0), (255, 255, 255)), 'normal') == pytest.approx(100, abs=0.1)
    # Published CIELAB of sRGB's red (53.2, 80.1, 67.2) and green (87.7, -86.2, 83.2).
    pair = ((255, 0, 0), (0, 255, 0))
    assert least_difference(pair, 'normal') == pytest.approx(170.6, abs=0.5)
    # Protanopes confuse this red and this green.
    assert least_difference(((200, 60, 60), (95, 95, 60)), 'normal') > 50
    assert least_difference(((200, 60, 60), (95, 95, 60)), 'protan') < 12


@pytest.mark.parametrize('vision', VISIONS)
@pytest.mark.parametrize(('labels', 'least'), [(CAMVID, 25), (CITYSCAPES, 18)])
def test_everybody_can_tell_the_colours_apart(labels: LabelSet, least: float, vision: str) -> None:
    check_differences(labels, least, vision)


@pytest.mark.parametrize('count', [1, 2, 7, 32])
def test_there_are_colours_for_any_number_of_classes(count: int) -> None:
    check_number_of_colours(count)


def test_classes_keep_colours_like_their_own() -> None:
    # The order of the classes does not matter.
    shuffled = [*zip(CAMVID.names, CAMVID.palette)][::-1]
    for labels in (CAMVID, LabelSet(*map(tuple, zip(*shuffled)))):
        colours = dict(zip(labels.names, with_palette(labels, 'colorblind').palette))
        assert sorted(colours.values()) == sorted(colorblind_palette(11))
        assert max(colours['building']) == colours['building'][0]
        assert max(colours['pavement']) == colours['pavement'][2]
        assert max(colours['tree']) == colours['tree'][1]


def test_the_networks_own_palette_stays() -> None:
    assert PALETTES == ('model', 'colorblind')
    assert with_palette(CAMVID, 'model') == CAMVID
    with pytest.raises(ValueError, match="palette: expected one of model, .*found 'pretty'"):
        with_palette(CAMVID, 'pretty')
