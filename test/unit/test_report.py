# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The content of the reports' pages."""

from __future__ import annotations

from pathlib import Path
import re

import numpy as np
import pytest
from report_pages import assert_sound, camera, LABELS, Page, SETTINGS, SIZE, START, TRUTH, WRITE

from seg_ros.images.labels import LabelSet
from seg_ros.images.overlay import thumbnail
from seg_ros.replay.drive_plots import POINTS, thinned
from seg_ros.replay.drive_report import write_drive_report
from seg_ros.replay.drive_scores import DriveScores, FrameScores
from seg_ros.reports.page import Code, Link, quantity, Section, size_text, write_report
from seg_ros.reports.sections import confusion_sections

# What holds for every page


def test_a_page_that_is_not_sound_is_found() -> None:
    good = '<html lang="en"><title>a</title><h1>a</h1><main><p id="x"><a href="#x">x</a></main>'
    assert_sound(Page(good))
    for bad in (
        '<img alt="a" src="http://example.com/a.png">',
        '<p style="background: url(//example.com/a.png)">',
        '<style>p { background: url(https://example.com/a.png) }</style>',
        '<script>1</script>',
        '<p id="x">',
        '<a href="#nowhere">a</a>',
        '<img alt="" src="data:,">',
    ):
        with pytest.raises(AssertionError):
            assert_sound(Page(good + bad))


def written(folder: Path, name: str) -> Page:
    """Write one of the pages, and read it."""
    path = folder / f'{name}.html'
    WRITE[name](path)
    return Page(path.read_text())


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('reports')


@pytest.fixture(scope='module')
def drive(folder: Path) -> Page:
    return written(folder, 'drive')


@pytest.fixture(scope='module')
def fleet(folder: Path) -> Page:
    return written(folder, 'fleet')


@pytest.fixture(scope='module')
def dataset(folder: Path) -> Page:
    return written(folder, 'dataset')


@pytest.fixture(scope='module')
def comparison(folder: Path) -> Page:
    return written(folder, 'comparison')


@pytest.mark.parametrize('name', WRITE)
def test_pages_are_sound(name, request) -> None:
    assert_sound(request.getfixturevalue(name))


# What they say


def test_drive_page_says_the_scores(drive) -> None:
    (front, rear) = drive.source.split('>/rear/image_raw</h2>')
    total, front = front.split('>/front/image_raw</h2>')
    facts = Page(front).facts
    # IoU by hand: road 1, car 0, sky (180 - 6) / 180 rows of the six labelled frames.
    assert facts == {
        'mean IoU': '0.656',
        'pixel accuracy': '98.3%',
        'flicker': '4.18%',
        'confidence': '0.825',
        'median time a frame': '65.0 ms',
        '95th percentile': '114.5 ms',
        'frames': '12 of 13',
        'frames with labels': '6',
        'recorded': '11.0 s',
    }
    assert Page(rear).facts == {
        **{name: facts[name] for name in ('flicker', 'confidence', '95th percentile', 'recorded')},
        'median time a frame': '65.0 ms',
        'frames': '12',
        'frames with labels': 'none',
    }
    both = {'frames': '24 of 25', '95th percentile': '118.5 ms'}
    assert Page(total).facts == {**facts, **both}
    assert ['/front/image_raw', '12 of 13', '11.0 s', '0.656', '4.18%', '0.825', '65.0 ms',
            '114.5 ms'] in drive.rows  # fmt: skip
    assert 'breaks off after 12 of 20 messages' in drive.after('What could not be used')
    assert ['/front/image_raw', 'frame 5: expected a JPEG; found 3 bytes that are none'] in (
        drive.rows
    )
    assert ['bag', '/data/<drive>.mcap'] in drive.rows
    assert '16.7% within 33 ms' not in drive.source  # 3 of 12: 10, 20 and 30 ms
    assert '25.0% within 33 ms' in drive.source and '50.0% within 66 ms' in drive.source
    for texts in ('p50 65.0 ms', 'p95 114.5 ms', 'p99 118.9 ms', 'lowest 0.600, mean 0.933'):
        assert texts in drive.source


def test_sections_ask_what_the_camera_can_answer(drive) -> None:
    front, rear = drive.source.split('>/rear/image_raw</h2>')
    labelled = ['Which frames were seen worst?', 'Which classes are seen well?']
    both = [
        'When did it go well, and when not?',
        'Where was the network unsure?',
        'Which frames was the network least sure of?',
        'Where do the labels flicker?',
        'What was in view?',
        'How long did a frame take?',
    ]
    assert not {*labelled, *both} - set(Page(front).headings)
    assert not set(both) - set(Page(rear).headings)
    assert not {*labelled} & set(Page(rear).headings)


def test_worst_frames_link_into_the_time_line_and_back(drive) -> None:
    front, rear = camera(), camera(labelled=False)
    for c, scores in ((1, front), (2, rear)):
        for measure in ('miou', 'confidence', 'flicker'):
            worst = scores.worst(measure)
            for n, frame in enumerate(worst, 1):
                anchor = f'drive1-camera{c}-{measure}-{n}'
                assert f'<figure id="{anchor}">' in drive.source
                value = f'{frame.value:.2%}' if measure == 'flicker' else f'{frame.value:.3f}'
                caption = (
                    rf'{n}: [\w ]+ {value} '
                    rf'<a href="#{anchor}-time">at {frame.place}\.0 s</a>'
                )
                figure = drive.source.partition(f'<figure id="{anchor}">')[2]
                assert re.search(caption, figure.partition('</figure>')[0])
                assert f'<g id="{anchor}-time">' in drive.source
                assert f'xlink:href="#{anchor}"' in drive.source
            assert f'drive1-camera{c}-{measure}-{len(worst) + 1}' not in drive.ids
    assert front.worst('miou')[0].place == 8
    assert front.worst('confidence')[0].place == 5
    assert len(front.worst('miou')) == 4
    # Each frame has its image, and prediction, ground truth and errors; or only an overlay.
    pictures = sum(
        2 + 2 * (frame.truth is not None)
        for measure in ('miou', 'confidence', 'flicker')
        for frame in front.worst(measure)
    ) + 2 * sum(len(rear.worst(measure)) for measure in ('confidence', 'flicker'))
    assert drive.tags['img'] == pictures


def test_unsure_stretch_is_listed_and_shaded(drive) -> None:
    assert ['4.0 s', '6.0 s', '3', '0.600'] in drive.rows
    for c in (1, 2):
        assert f'href="#drive1-camera{c}-stretch-1"' in drive.source
        assert f'<g id="drive1-camera{c}-stretch-1">' in drive.source


def test_page_has_the_colours_that_were_asked_for(tmp_path) -> None:
    labels = LabelSet(LABELS.names, ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    write_drive_report(
        tmp_path / 'a.html', 'a', '', [DriveScores('/a', '', [camera()])], labels, []
    )
    source = (tmp_path / 'a.html').read_text()
    # Colours are rgb() in legends, and hexadecimal in plots (areas and bars).
    assert 'rgb(1, 2, 3)' in source and source.count('#010203') > 2
    assert 'rgb(128, 64, 128)' not in source and '#804080' not in source


def test_fleet_page_begins_with_what_is_worst(fleet) -> None:
    assert fleet.headings[:2] == ['What could not be used', 'Which drives went badly?']
    assert ['broken.mcap', 'expected a bag; found 12 bytes'] in fleet.rows
    table = [r for r in fleet.rows if len(r) == 9]
    assert table[0][0] == 'drive' and table[0][3] == 'mean IoU'
    mious = {wrong: (2 - wrong / 180) / (3 if wrong else 2) for wrong in range(0, 18, 3)}
    order = sorted(mious, key=lambda wrong: mious[wrong])
    assert [r[0] for r in table[1:]] == [*(f'{wrong}.mcap' for wrong in order), 'broken.mcap']
    assert [r[3] for r in table[1:]] == [*(f'{mious[wrong]:.3f}' for wrong in order), '–']
    assert [r[8] for r in table[1:]] == [''] * 6 + ['damaged']
    assert fleet.facts['drives'] == '7' and fleet.facts['frames'] == '72'
    worst = fleet.after('Which frames were seen worst?')
    captions = re.findall(r'<figcaption>(\d): mean IoU ([\d.]+), ([\w.]+), at', worst)
    assert captions[0] == ('1', f'{(1 + 15 / 30) / 3:.3f}', '15.mcap')
    assert [n for n, _, _ in captions] == list('123456')
    assert [value for _, value, _ in captions] == sorted(value for _, value, _ in captions)
    assert 'When did it go well, and when not?' not in fleet.headings


def test_dataset_page_says_the_scores(dataset) -> None:
    # 15 rows of 180 of the sky are taken for cars.
    assert dataset.facts['mean IoU'] == f'{(1 + 165 / 180) / 3:.3f}'
    assert dataset.facts['images'] == '6'
    assert ['sky', 'car', '8.3%', '100.0%', f'{15 * SIZE[1]:,}'] in dataset.rows
    assert dataset.tags['img'] == 6 * 4 and dataset.tags['svg'] == 2


def test_comparison_page_marks_the_best(comparison) -> None:
    assert 'They are not alike.' in comparison.after('Do they compare?')
    assert comparison.facts == {
        'mean IoU: good': '0.700',
        **{f'flicker: {name}': '2.00%' for name in ('fast', 'good', 'neither')},
        'median time: fast': '10.0 ms',
    }
    assert ['fast', 'fast', '80x60', 'fp32', 'cpu', 'a.mcap, 12 frames'] in comparison.rows
    named = {r[0]: r for r in reversed(comparison.rows)}
    assert named['fast'][1:] == [
        '0.5000', '0.0200*', '0.900', '10.0*', '20.0*', '100.0*', '1.000*'
    ]  # fmt: skip
    assert named['good'][1:3] == ['0.7000*', '0.0200*']
    assert named['road'] == ['road', '0.500', '0.700', '0.400']
    assert named['car'] == ['car', '–', '–', '–']
    plot = comparison.after('What does accuracy cost?')
    assert all(f'>{name}</text>' in plot for name in ('fast', 'good', 'neither'))


# Odd ones


@pytest.mark.parametrize(
    ('drives', 'heading'),
    [
        ([], 'No frames'),
        ([DriveScores('/a', 'found nothing')], 'No frames'),
        ([DriveScores('/a', '', [camera(frames=0)])], 'No frames'),
        ([DriveScores('/a', 'gone'), DriveScores('/b/a', 'gone')], 'Which drives went badly?'),
        ([DriveScores('/a', '', [camera(frames=1)])], 'What was in view?'),
        ([DriveScores('/a', '', [camera(frames=2, labelled=False)])], 'What was in view?'),
        ([DriveScores('/a', '', [camera(), camera(frames=0)])], 'How do the cameras differ?'),
    ],
    ids=['no drive', 'no camera', 'no frame', 'damaged', 'one frame', 'two', 'empty camera'],
)
@pytest.mark.filterwarnings('error')
def test_little_to_show_is_shown(drives, heading, tmp_path) -> None:
    write_drive_report(tmp_path / 'a.html', 'title', '', drives, LABELS, SETTINGS)
    page = Page((tmp_path / 'a.html').read_text())
    assert_sound(page)
    assert heading in page.headings
    assert not re.search(r'\bnan\b', page.source)


def test_unknown_values_leave_gaps(tmp_path) -> None:
    scores, image = camera(frames=0), np.zeros((*SIZE, 3), np.uint8)
    counts = np.bincount(TRUTH.ravel(), minlength=256)
    for i in range(3):
        confidence = 0.8 if i == 1 else float('nan')
        scores.add(FrameScores(START + i, 5.0, confidence, 0, 0, counts), image, TRUTH, None)
    drives = [DriveScores('/a', '', [scores])]
    write_drive_report(tmp_path / 'a.html', 'title', '', drives, LABELS, SETTINGS)
    page = Page((tmp_path / 'a.html').read_text())
    assert_sound(page)
    assert page.facts['confidence'] == '0.800' and 'flicker' not in page.facts
    assert 'Where do the labels flicker?' not in page.headings


def test_a_long_drive_makes_a_small_page_that_keeps_extremes(tmp_path) -> None:
    frames, rng = 6000, np.random.default_rng(0)
    scores = camera(frames=0)
    image = rng.integers(0, 255, (*SIZE, 3), np.uint8)
    for i in range(frames):
        confidence = 0.1 if i == 3777 else rng.uniform(0.7, 0.9)
        frame = FrameScores(
            START + i * 33_333_333, rng.gamma(20.0), confidence, int(rng.integers(100)), 100,
            np.bincount(TRUTH.ravel(), minlength=256),
        )  # fmt: skip
        scores.add(frame, image if i % 100 == 0 else None, TRUTH, TRUTH)
    drives = [DriveScores('/a', '', [scores])]
    write_drive_report(tmp_path / 'a.html', 'title', '', drives, LABELS, SETTINGS)
    assert (tmp_path / 'a.html').stat().st_size < 5e6
    page = Page((tmp_path / 'a.html').read_text())
    assert_sound(page)
    assert f'A point stands for {-(-frames // POINTS)} frames' in page.source
    assert 'lowest 0.100' in page.source


def test_thinned_by_hand() -> None:
    nan = np.nan
    mean, low, high = thinned(np.array([1.0, 3.0, nan, 5.0, nan, nan, 7.0]), 2)
    np.testing.assert_array_equal(mean, [2, 5, nan, 7])
    np.testing.assert_array_equal(low, [1, 5, nan, 7])
    np.testing.assert_array_equal(high, [3, 5, nan, 7])


def test_what_is_written_is_escaped(tmp_path) -> None:
    bad = '<script>alert(1)</script>'
    table = [(Link(bad, 'section-1'), Code(bad)), (bad, bad)]
    section = Section(bad, bad, table=table, head=(bad, bad))
    write_report(tmp_path / 'a.html', bad, bad, [(bad, bad)], [section])
    page = Page((tmp_path / 'a.html').read_text())
    assert 'script' not in page.tags
    assert page.rows[1] == [bad, bad]
    assert_sound(page)


def test_names_are_no_formulas(tmp_path) -> None:
    names = ['$a_{1$.mcap', '_b.mcap']
    drives = [DriveScores(f'/{name}', '', [camera(frames=2)]) for name in names]
    write_drive_report(tmp_path / 'a.html', 'a', '', drives, LABELS, SETTINGS)
    source = (tmp_path / 'a.html').read_text()
    assert all(re.search(f'{re.escape(name)}</text>', source) for name in names)


def test_quantities_and_sizes_are_texts() -> None:
    assert quantity(12.345, '.1f', 'ms') == '12.3\N{NO-BREAK SPACE}ms'
    assert quantity(None, '.1f', 'ms') == quantity(float('nan'), '.1f', 'ms') == '–'
    assert size_text((480, 640)) == '640x480' and size_text(()) == ''


def test_without_errors_there_is_no_table_of_confusions() -> None:
    counts = np.zeros((3, 4), np.int64)
    np.fill_diagonal(counts, 5)
    assert [s.title for s in confusion_sections(counts, LABELS)] == ['What is taken for what?']
    counts[1, 2] = 1
    matrix, table = confusion_sections(counts, LABELS, level=3)
    assert (matrix.level, table.level) == (3, 3)
    assert table.table == [('car', 'sky', '16.7%', '100.0%', '1')]


def test_thumbnails_are_small_copies() -> None:
    image = np.zeros((360, 640, 3), np.uint8)
    assert thumbnail(image).shape == (270, 480, 3)
    small = np.zeros((10, 20), np.uint8)
    assert thumbnail(small).shape == (10, 20) and thumbnail(small) is not small
