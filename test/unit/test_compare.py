# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of results: the regression gate of `replay`, and the command `compare`."""

from __future__ import annotations

import copy
import json
from pathlib import Path
import re

import pytest

from seg_ros.__main__ import main
from seg_ros.commands._result import plain
from seg_ros.reports.comparison import Change, Limits, read_result, regressions, table
from seg_ros.reports.comparison_report import write_comparison_report
from seg_ros.reports.comparison_table import (
    best,
    figures_table,
    machines_differ,
    pareto_front,
    row,
    unique_names,
)

LIMITS = Limits(miou_drop=0.01, flicker_rise=0.01, latency_rise=0.25)

BASE = {
    'model': 'bisenetv2_camvid',
    'device': 'cpu',
    'precision': 'fp32',
    'input_size': [480, 640],
    'frames_in': 101,
    'frames_out': 101,
    'latency_ms': {'p50': 40.0, 'p95': 50.0, 'p99': 60.0},
    'fps': 25.0,
    'reference_ms': 20.0,
    'miou': 0.7,
    'iou': {'road': 0.9, 'car': 0.5, 'sky': None},
    'pixel_accuracy': 0.9,
    'flicker': 0.02,
    'confidence': 0.91,
    'drives': [
        {'bag': '/data/a.mcap', 'error': None, 'cameras': {'/front/image_raw': {'frames_in': 101}}}
    ],
}

EVALUATED = {
    'model': '/weights/mine.safetensors',
    'device': 'cuda:0',
    'precision': 'fp16',
    'input_size': [360, 480],
    'dataset': 'camvid',
    'split': 'val',
    'images': 101,
    'miou': 0.72,
    'iou': {'road': 0.9, 'car': 0.54, 'sky': None},
}


def changed(**values: object) -> dict:
    return {**copy.deepcopy(BASE), **values}


def by_measure(old: dict, new: dict, limits: Limits = LIMITS) -> dict[str, Change]:
    return {change.measure: change for change in regressions(old, new, limits)}


# The gate


def test_the_same_result_is_no_regression() -> None:
    changes = regressions(BASE, BASE, LIMITS)
    assert [change.measure for change in changes] == [
        'mIoU', 'flicker', 'latency ratio', 'frames', 'confidence', 'IoU road', 'IoU car',
        'IoU sky',
    ]  # fmt: skip
    assert not any(change.regression or change.difference or change.note for change in changes)
    assert [change.limit for change in changes] == [-0.01, 0.01, 0.25, 0.0, None, None, None, None]


@pytest.mark.parametrize(
    ('values', 'measure', 'difference', 'regression'),
    [
        ({'miou': 0.69}, 'mIoU', -0.01, False),
        ({'miou': 0.6899}, 'mIoU', -0.0101, True),
        ({'miou': 0.75}, 'mIoU', 0.05, False),
        ({'flicker': 0.03}, 'flicker', 0.01, False),
        ({'flicker': 0.0301}, 'flicker', 0.0101, True),
        ({'flicker': 0.0}, 'flicker', -0.02, False),
        ({'latency_ms': {'p50': 50.0}}, 'latency ratio', 0.25, False),
        ({'latency_ms': {'p50': 50.4}}, 'latency ratio', 0.26, True),
        ({'latency_ms': {'p50': 30.0}}, 'latency ratio', -0.25, False),
        ({'frames_out': 100}, 'frames', -1, True),
        ({'confidence': 0.5}, 'confidence', -0.41, False),
        ({'iou': {'road': 0.9, 'car': 0.1, 'sky': None}}, 'IoU car', -0.4, False),
    ],
)
def test_limits(values, measure, difference, regression) -> None:
    changes = by_measure(BASE, changed(**values))
    assert changes[measure].difference == pytest.approx(difference)
    assert {m for m, change in changes.items() if change.regression} == (
        {measure} if regression else set()
    )


def test_a_slower_machine_is_no_slower_network() -> None:
    change = by_measure(BASE, changed(latency_ms={'p50': 400.0}, reference_ms=200.0))[
        'latency ratio'
    ]
    assert change == Change('latency ratio', 2.0, 2.0, 0.0, 0.25)
    faster = changed(latency_ms={'p50': 39.0}, reference_ms=10.0)
    assert by_measure(BASE, faster)['latency ratio'].regression


def test_other_devices_are_not_compared() -> None:
    change = by_measure(BASE, changed(device='cuda:0', latency_ms={'p50': 4000.0}))[
        'latency ratio'
    ]
    assert change.difference is None and not change.regression
    assert change.note == 'not compared: measured on cpu before, on cuda now'
    two = (changed(device='cuda:0'), changed(device='cuda:1', latency_ms={'p50': 4000.0}))
    assert by_measure(*two)['latency ratio'].regression


@pytest.mark.parametrize('values', [{'reference_ms': None}, {'latency_ms': {'p50': None}}])
def test_latency_that_was_not_measured_is_not_compared(values) -> None:
    for pair in ((BASE, changed(**values)), (changed(**values), BASE)):
        change = by_measure(*pair)['latency ratio']
        assert change.note == 'not compared: not measured in both'


def test_nan_is_null() -> None:
    new = changed(flicker=float('nan'))
    change = by_measure(BASE, new)['flicker']
    assert change == Change('flicker', 0.02, None, None, 0.01, note='measured in one only')
    assert by_measure(plain(BASE), plain(new))['flicker'] == change


@pytest.mark.parametrize(
    ('old', 'message'),
    [
        (EVALUATED, 'seg_ros replay ... --json`; found one without frames_in, frames_out'),
        ({}, 'found one without frames_in'),
        (changed(miou=None, iou=None), 'with ground truth, as this one; found one that has none'),
        (changed(iou={'road': 1.0}), 'class road, class car, class sky, as this one; found class'),
        (
            changed(drives=[{'bag': '/a', 'cameras': {'/front/image_raw': {'frames_in': 50}}}]),
            '101 frames on /front/image_raw, as this one; found 50 frames on /front/image_raw. Re',
        ),
        (
            changed(drives=[{'bag': '/a', 'cameras': {'/rear': {'frames_in': 101}}}]),
            'found 101 frames on /rear',
        ),
        (changed(drives=[]), 'found none'),
    ],
)
def test_what_does_not_compare_is_refused(old, message) -> None:
    with pytest.raises(ValueError, match='old.json: expected a result ') as error:
        regressions(old, BASE, LIMITS, 'old.json')
    assert message in str(error.value)


def test_ground_truth_in_the_older_one_only_is_refused() -> None:
    new = changed(miou=None, iou=None)
    with pytest.raises(ValueError, match='without ground truth, as this one; found one that has'):
        regressions(BASE, new, LIMITS)
    assert not any(change.regression for change in regressions(new, new, LIMITS))


def test_table_of_changes() -> None:
    new = changed(miou=0.65, latency_ms={'p50': 60.0}, iou={'road': 0.9, 'car': 0.4, 'sky': None})
    assert table(regressions(BASE, new, LIMITS)).splitlines() == [
        '                        before       now    change     limit',
        'mIoU                    0.7000    0.6500   -0.0500   -0.0100  REGRESSION',
        'flicker                 0.0200    0.0200   +0.0000   +0.0100',
        'latency ratio            2.000     3.000    +50.0%    +25.0%  REGRESSION',
        'frames                     101       101        +0        -0',
        'IoU car                 0.5000    0.4000   -0.1000         –',
    ]


def test_files_that_are_no_results(tmp_path) -> None:
    path = tmp_path / 'old.json'
    for content, found in (('{', 'found no JSON'), ('[]', 'found a list'), ('1', 'found a int')):
        path.write_text(content)
        with pytest.raises(ValueError, match=f'old.json: expected a result of .*; {found}'):
            read_result(path)
    path.write_text(json.dumps(BASE))
    assert read_result(path) == BASE


# Side by side


def test_rows_by_hand() -> None:
    first, second = row(BASE, 'a', 'a.json'), row(EVALUATED, 'b', 'b.json')
    assert first[:12] == (
        'a', 'bisenetv2_camvid', '640x480', 'fp32', 'cpu', 'a.mcap, 101 frames',
        0.7, 0.02, 0.91, 40.0, 50.0, 25.0,
    )  # fmt: skip
    assert first.ratio == 2.0 and first.iou == {'road': 0.9, 'car': 0.5, 'sky': None}
    assert second[1:8] == (
        'mine.safetensors', '480x360', 'fp16', 'cuda:0', 'camvid val, 101 images', 0.72, None
    )  # fmt: skip
    assert figures_table([first, second])[1:] == [
        ('a', *first[1:6], '0.7000', '0.0200', '0.910', '40.0', '50.0', '25.0', '2.000'),
        ('b', *second[1:6], '0.7200*', '–', '–', '–', '–', '–', '–'),
    ]


def test_best_of_each_column() -> None:
    worse = changed(
        miou=0.6, flicker=0.04, fps=20.0, latency_ms={'p50': 50.0, 'p95': 60.0}, confidence=0.99
    )
    rows = [row(worse, 'b', 'b'), row(BASE, 'a', 'a')]
    assert best(rows) == {
        'miou': 0.7, 'flicker': 0.02, 'p50': 40.0, 'p95': 50.0, 'fps': 25.0, 'ratio': 2.0
    }  # fmt: skip
    assert best(rows[:1]) == {}


def test_machines_of_one_speed_compare() -> None:
    rows = [row(changed(reference_ms=ms), 'a', 'a') for ms in (20.0, 22.0)]
    assert not machines_differ(rows)
    assert machines_differ([*rows, row(changed(reference_ms=24.0), 'a', 'a')])


def test_pareto_front_by_hand() -> None:
    points = [(30, 0.7), (10, 0.5), (20, 0.5), (10, 0.4), (40, 0.6), (50, 0.9)]
    assert pareto_front(points) == [1, 0, 5]


def test_names_are_unique() -> None:
    assert unique_names(['x/a.json', 'y/b.json']) == ['a', 'b']
    assert unique_names(['/x/a.json', '/y/a.json', '/y/b.json']) == ['x/a', 'y/a', 'y/b']
    assert unique_names(['/x/a.json', '/x/a.json']) == ['x/a (1)', 'x/a (2)']


@pytest.mark.parametrize(
    ('results', 'headings'),
    [
        ([BASE] * 12, ['What does accuracy cost?', 'Which classes differ?']),
        ([BASE], ['What does accuracy cost?']),
        ([EVALUATED, EVALUATED], ['Which classes differ?']),
        ([BASE, changed(miou=None, iou=None)], ['What does accuracy cost?']),
        ([changed(miou=None, iou=None)], []),
        ([BASE, changed(iou={'tree': 0.5})], ['What does accuracy cost?']),
    ],
    ids=['many', 'one', 'no latency', 'one without labels', 'no labels', 'other classes'],
)
@pytest.mark.filterwarnings('error')
def test_report_shows_what_there_is(results, headings, tmp_path) -> None:
    rows = [row(result, f'{i}', 'a.json') for i, result in enumerate(results)]
    write_comparison_report(tmp_path / 'a.html', 'title', rows, [])
    found = re.findall('<h2[^>]*>([^<]*)<', (tmp_path / 'a.html').read_text())
    always = ['Which one is the best?', 'How were they made?']
    assert set(found) == {*headings, *always} and len(found) == len(headings) + 2


def test_names_are_shown_as_they_are(tmp_path) -> None:
    rows = [row(BASE, name, 'a.json') for name in ('$a_{1$', '_b')]
    write_comparison_report(tmp_path / 'a.html', 'title', rows, [])
    texts = re.findall(r'> ?([^<]*)</text>', (tmp_path / 'a.html').read_text())
    assert texts.count('$a_{1$') == texts.count('_b') == 2


# The command


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    results = {
        'large': BASE,
        'small': changed(miou=0.6, latency_ms={'p50': 10.0, 'p95': 12.0}, fps=100.0),
        'val': EVALUATED,
    }
    for name, result in results.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(result))
    return [str(tmp_path / f'{name}.json') for name in results]


def test_command(files, tmp_path, capsys) -> None:
    out, report = tmp_path / 'out.json', tmp_path / 'report.html'
    assert main(['compare', *files, '--json', str(out), '--report', str(report)]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split()[:3] == ['name', 'model', 'input']
    assert [line.split()[0] for line in lines[1:]] == ['large', 'small', 'val', '*']
    assert lines[2].split()[-5:] == ['0.910', '10.0*', '12.0*', '100.0*', '0.500*']
    assert 'Warning: measured on different images (a.mcap, 101 frames; camvid val, 101' in said.err
    result = json.loads(out.read_text())
    assert [r['name'] for r in result['results']] == ['large', 'small', 'val']
    assert [r['ratio'] for r in result['results']] == [2.0, 0.5, None]
    assert len(result['warnings']) == 1
    page = report.read_text()
    assert 'What does accuracy cost?' in page and '1 without accuracy or latency' in page


def test_results_of_one_drive_are_compared_without_warning(files, capsys) -> None:
    assert main(['compare', *files[:2]]) == 0
    assert not capsys.readouterr().err


def test_what_cannot_be_compared_is_said(files, tmp_path, capsys) -> None:
    other = tmp_path / 'other.json'
    for content in ('{"epochs": 3}', 'no JSON', '[1]'):
        other.write_text(content)
        assert main(['compare', *files, str(other)]) == 2
        said = capsys.readouterr().err
        assert f'{other}: expected a result of `seg_ros replay' in said and 'found' in said
    assert main(['compare', str(tmp_path / 'gone.json')]) == 2
    assert 'gone.json' in capsys.readouterr().err
    assert main(['compare', *files, '--report', str(tmp_path)]) == 2
    assert '--report: expected a file to write' in capsys.readouterr().err
