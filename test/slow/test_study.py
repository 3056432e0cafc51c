# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`study` from start to end: rows trained, killed and gone on with, timed; what it leaves."""

from __future__ import annotations

import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree as ET

import dataset_layouts
import pytest
from small_studies import schedule, TINY
import torch

from seg_ros.__main__ import main
from seg_ros.inference.checkpoint import load_checkpoint
from seg_ros.studies.budget import time_budget
from seg_ros.studies.study import run_study, Timing
from seg_ros.studies.study_plots import budget_plot, study_plot
from seg_ros.studies.study_report import as_page, table
from seg_ros.studies.study_rows import Study, StudyRow
from seg_ros.studies.trained import folder_of, score

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a data set laid out as CamVid is."""
    return dataset_layouts.write_camvid(tmp_path_factory.mktemp('camvid'), images=8)


def study(root: Path, out: Path, *arguments: str) -> int:
    """Run the command here, on tiny crops; return its exit code."""
    where = ['--dataset', 'camvid', '--root', str(root), '--out', str(out), '--device', 'cpu']
    return main(['study', *arguments, *where, '--crop', '97x65'])


# Rows


def test_pruned_rows_start_from_the_whole_network(root: Path, tmp_path: Path) -> None:
    whole = {**TINY, 'alpha': 0.25}
    plan = schedule(root, tmp_path, epochs=2)
    rows = [StudyRow('1', whole, pruned_from=whole), StudyRow('1/2', TINY, pruned_from=whole)]
    scores = [score(plan, row, 0) for row in rows]
    assert all(0 <= each <= 1 for each in scores)
    first, half = (folder_of(plan, row, 0) for row in rows)
    trained = folder_of(plan, StudyRow('', whole), 0)
    assert {first, half, trained} == set(tmp_path.iterdir())
    recipes = [load_checkpoint(folder / 'best.safetensors').training['recipe']
               for folder in (trained, first, half)]  # fmt: skip
    assert [each['epochs'] for each in recipes] == [2, 1, 1], 'all fine-tuned alike'
    assert [each['learning_rate'] for each in recipes] == [1e-3, 5e-4, 5e-4]
    assert recipes[1]['pretrained'] == 'best.safetensors'
    pruned = load_checkpoint(half / 'pruned.safetensors').network.state_dict()
    source = load_checkpoint(trained / 'best.safetensors').network.state_dict()
    kept, wide = pruned['detail.0.0.weight'], source['detail.0.0.weight']
    assert (len(kept), len(wide)) == (8, 16)
    assert all(any(torch.equal(k, w) for w in wide) for k in kept), 'filters of the whole one'


# The command


@pytest.fixture(scope='module')
def widths(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a study without timing; return its folder."""
    out = tmp_path_factory.mktemp('study')
    assert study(root, out, 'semantic_width', '--epochs', '2', '--no-timing') == 0
    return out


def test_a_study_leaves_figures_table_and_plot(widths: Path) -> None:
    found = json.loads((widths / 'semantic_width.json').read_text())
    assert (found['study'], found['dataset'], found['seeds']) == ('semantic_width', 'camvid', 1)
    assert found['timing'] == {}
    assert found['schedule']['epochs'] == 2
    assert found['schedule']['crop'] == [65, 97]
    assert found['schedule']['input_size'] == [65, 97]
    half, quarter, *_ = found['rows']
    assert half['network'] == 'bisenetv2:head_width=128,booster_width=64,semantic_ratio=0.5'
    assert half['paper'] == {'miou': pytest.approx(0.6966)}
    assert (quarter['label'], quarter['recipe']) == ('1/4', {'auxiliary': 0.0})
    assert quarter['gmac'] == pytest.approx(16.0, rel=0.01)
    for row in found['rows']:
        (name,) = row['trainings']
        best = load_checkpoint(widths / name / 'best.safetensors')
        assert row['miou_by_seed'] == [row['miou']] == [best.training['miou']['val']]
        assert best.training['images_seen'] == 16
        assert 'ms' not in row
    page = (widths / 'semantic_width.md').read_text()
    assert page == as_page(found)
    assert f'| 1/4 | {quarter["miou"]:.3f} | 0.697 | 16.0 | 2.31 |' in page
    assert 'Each row was trained once' in page
    texts = ''.join(ET.parse(widths / 'semantic_width.svg').getroot().itertext())
    assert all(word in texts for word in ('1/16', 'mIoU', 'paper, Cityscapes val'))


def test_rows_are_trained_once_and_timed_later(root: Path, tmp_path: Path) -> None:
    plan = schedule(root, tmp_path)
    rows = (StudyRow('with', TINY), StudyRow('without', TINY, {'auxiliary': 0.0}))
    first = run_study('a', Study('?', 'nobody', (64, 96), rows), plan, 1, None, lambda _: None)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob('*/*.*')}
    assert len(before) == 4
    engine = Timing((32, 64), 'cpu', 'torch', 'fp32', rounds=1)
    other = Study('?', 'nobody', (64, 96), (StudyRow('again', TINY), *rows[1:]))
    found = run_study('b', other, plan, 1, engine, lambda _: None)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob('*/*.*')} == before
    assert [row['miou'] for row in found['rows']] == [row['miou'] for row in first['rows']]
    assert (first['size'], found['size']) == ([64, 96], [32, 64])
    assert found['timing'] == {'backend': 'torch', 'device': 'cpu', 'precision': 'fp32'}
    again, without = found['rows']
    # The same network is timed once.
    assert again['ms'] == without['ms'] > 0
    assert again['memory_mb'] == without['memory_mb'] > 0
    assert again['gmac'] < first['rows'][0]['gmac'] / 2
    assert f'| {again["ms"]:.1f} (1.00) |' in as_page(found)
    assert '64x32, torch, fp32' in as_page(found)


def amid_a_later_row(out: Path) -> bool:
    """Return whether one row is trained, and another has finished an epoch."""
    trained = {path.parent for path in out.glob('*/result.json')}
    return bool(trained and {path.parent for path in out.glob('*/last.pt')} - trained)


def test_killed_a_study_goes_on(
    root: Path, tmp_path: Path, widths: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ['semantic_width', '--epochs', '2', '--no-timing']
    where = ['--dataset', 'camvid', '--root', root, '--crop', '97x65', '--device', 'cpu']
    process = subprocess.Popen(
        [sys.executable, '-m', 'seg_ros', 'study', *command, *where, '--out', tmp_path],
        env={**os.environ, 'OMP_NUM_THREADS': '1'}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 1000
        while not amid_a_later_row(tmp_path):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob('*/result.json')}
    assert study(root, tmp_path, *command) == 2
    assert '--resume' in capsys.readouterr().err
    assert study(root, tmp_path, *command, '--resume') == 0
    assert {path: path.stat().st_mtime_ns for path in done} == done
    rows, expected = (
        json.loads((out / 'semantic_width.json').read_text())['rows'] for out in (tmp_path, widths)
    )
    assert rows == expected
    assert len({row['miou'] for row in rows}) > 1


def test_other_data_is_not_taken_for_the_same(
    root: Path, widths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for trained in widths.glob('*/'):
        shutil.copytree(trained, tmp_path / 'out' / trained.name)
    other = dataset_layouts.write_camvid(tmp_path / 'other', images=9)
    command = ['semantic_width', '--epochs', '2', '--no-timing']
    assert study(other, tmp_path / 'out', *command) == 2
    assert 'found one on other data' in capsys.readouterr().err
    assert study(root, tmp_path / 'out', *command) == 0
    assert study(root, tmp_path / 'out', *command, '--rows', '1/2') == 2
    assert 'no other rows than these' in capsys.readouterr().err


def test_rows_can_be_chosen(root: Path, widths: Path, tmp_path: Path) -> None:
    rows = json.loads((widths / 'semantic_width.json').read_text())['rows']
    label = rows[2]['label']
    for trained in widths.glob('*/'):
        shutil.copytree(trained, tmp_path / trained.name)
    arguments = ['--epochs', '2', '--no-timing', '--rows', label]
    assert study(root, tmp_path, 'semantic_width', *arguments) == 0
    chosen = json.loads((tmp_path / 'semantic_width.json').read_text())['rows']
    assert chosen == rows[2:3]


def test_bad_input_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ['guidance', '--dataset', 'camvid', '--root', 'nowhere', '--size', '64x64']
    assert main(['study', *arguments, '--out', str(tmp_path)]) == 2
    assert 'nowhere' in capsys.readouterr().err


def test_seeds_show_their_spread(root: Path, tmp_path: Path) -> None:
    rows = (StudyRow('small', TINY), StudyRow('half', {**TINY, 'semantic_ratio': 0.5}))
    tiny = Study('Which is better', 'nobody', (64, 128), rows)
    found = run_study('tiny', tiny, schedule(root, tmp_path), 2, None, lambda _: None)
    for row in found['rows']:
        low, high = sorted(row['miou_by_seed'])
        assert low < high
        assert row['miou'] == pytest.approx((low + high) / 2)
        assert f'{row["miou"]:.3f} ({low:.3f}–{high:.3f})' in as_page(found)
        assert [name.split('seed=')[1][0] for name in row['trainings']] == ['0', '1']
    assert 'mean of 2 trainings' in as_page(found)
    axes = study_plot(found).axes[0]
    assert [tuple(line.get_xdata()) for line in axes.lines] == [
        (min(row['miou_by_seed']), max(row['miou_by_seed'])) for row in found['rows']
    ]


# The time budget


def test_the_time_budget_counts_what_is_published() -> None:
    found = time_budget((1024, 2048), None)
    gmac = {(row['width'], row['resolution'], row['stride']): row['gmac'] for row in found['rows']}
    assert gmac[1, 1, 8] == pytest.approx(1470, rel=0.001)
    assert gmac[0.5, 1, 8] == pytest.approx(368, rel=0.001)
    assert len(gmac) == 11
    for width in (1, 0.5, 0.25):
        for resolution in (1, 0.5, 0.25):
            expected = 1470 * width**2 * resolution**2
            assert gmac[width, resolution, 8] == pytest.approx(expected, rel=0.02)
    # At stride 16 stage 4 works on a quarter of the pixels, and so does all behind it.
    whole, sixteen, thirty_two = (
        next(row['stages'] for row in found['rows'] if row['label'].endswith(end))
        for end in ('all kernels, all resolution', 'stride 16', 'stride 32')
    )
    ratios = {
        stage: (sixteen[stage]['gmac'] / cost['gmac'], thirty_two[stage]['gmac'] / cost['gmac'])
        for stage, cost in whole.items()
    }
    assert ratios['stage 3'] == (1, 1)
    assert ratios['stage 4'] == pytest.approx((1 / 4, 1 / 4), rel=0.01)
    assert ratios['stage 5'] == pytest.approx((1 / 4, 1 / 16), rel=0.01)
    assert ratios['head'] == pytest.approx((1 / 4, 1 / 16), rel=0.01)
    for row in found['rows']:
        assert row['gmac'] == pytest.approx(sum(c['gmac'] for c in row['stages'].values()))


def test_the_time_budget_is_measured(tmp_path: Path) -> None:
    arguments = ['--size', '128x64', '--rounds', '1', '--device', 'cpu', '--precision', 'fp32']
    assert main(['study', 'time_budget', *arguments, '--out', str(tmp_path)]) == 0
    found = json.loads((tmp_path / 'time_budget.json').read_text())
    assert found['timing'] == {'backend': 'torch', 'device': 'cpu', 'precision': 'fp32'}
    for row in found['rows']:
        times = [cost['ms'] for cost in row['stages'].values()]
        assert row['ms'] == pytest.approx(sum(times))
        assert list(row['stages']) == [
            *(f'stage {i}' for i in range(1, 6)), 'pyramid', 'head', 'rest',
        ]  # fmt: skip
    paper = {row['label']: row['paper'].get('ms') for row in found['rows'] if row['paper']}
    assert list(paper.values()) == [446, 170, 72, 177, 131]
    lines = table(found)
    assert lines[0][:5] == ('', 'paper: mIoU', 'ms', 'paper: ms', 'GMAC at 128x64')
    assert len(lines) == 12
    left, right = budget_plot(found).axes
    ends = [bar.get_x() + bar.get_width() for bar in left.patches[-11:]]
    assert ends == pytest.approx([row['gmac'] for row in found['rows']], rel=0.01)
    assert len(right.lines[0].get_xdata()) == 5
