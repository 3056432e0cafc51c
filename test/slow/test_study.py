# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`study`: what its rows are, how they are trained, shared and gone on with, what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
import json
from math import ceil, log2
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time
from typing import Any
from xml.etree import ElementTree as ET

import dataset_layouts
import pytest
import torch
from torch.nn import functional as F

from seg_ros.__main__ import main
from seg_ros.inference.checkpoint import load_checkpoint
from seg_ros.models import build_model
from seg_ros.training.config import load_recipe, Recipe
from seg_ros.training.loop import Training
from seg_ros.training.losses import cross_entropy
from seg_ros.training.study.budget import network, time_budget
from seg_ros.training.study.plots import budget_plot, study_plot, write_plot
from seg_ros.training.study.report import as_page, table
from seg_ros.training.study.rows import Row, STUDIES, Study
from seg_ros.training.study.study import run_study, spec, Timing
from seg_ros.training.study.trained import folder_of, Schedule, score

pytestmark = pytest.mark.usefixtures('one_thread')

TINY = {'name': 'bisenetv2', 'head_width': 8, 'booster_width': 8, 'alpha': 0.125}
CASCADE = {'name': 'icnet', 'width': 0.125}
ROWS = [
    pytest.param(row, id=f'{name}: {row.label}')
    for name, study in STUDIES.items()
    for row in study.rows
]


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a data set laid out as CamVid is."""
    return dataset_layouts.write_camvid(tmp_path_factory.mktemp('camvid'), images=8)


def recipe(root: Path, **changes: Any) -> Recipe:
    """Return the recipe of a tiny training."""
    return replace(
        Recipe(
            TINY, 'camvid', str(root), crop=(65, 97), input_size=(65, 97), epochs=1,
            precision='fp32',
        ),
        **changes,
    )  # fmt: skip


def schedule(root: Path, out: Path, **changes: Any) -> Schedule:
    """Return how rows are trained in a moment."""
    return replace(Schedule('camvid', str(root), 1, (65, 97), out), **changes)


def study(root: Path, out: Path, *arguments: str) -> int:
    """Run the command here, on tiny crops; return its exit code."""
    where = ['--dataset', 'camvid', '--root', str(root), '--out', str(out), '--device', 'cpu']
    return main(['study', *arguments, *where, '--crop', '97x65'])


# The recipe's keys that studies need


@pytest.mark.parametrize('spec_', [TINY, CASCADE], ids=lambda spec_: spec_['name'])
def test_auxiliary_losses_count_as_the_recipe_says(
    root: Path, tmp_path: Path, spec_: dict[str, Any]
) -> None:
    training = Training(recipe(root, network=spec_), tmp_path)
    images, labels = next(iter(training.loader))
    x, y = training.to_device(images, labels)
    with torch.no_grad():
        main_logits, others = outputs = training.forward(x)
        losses = []
        for logits in (main_logits, *others):
            stride = 2 ** ceil(log2(y.shape[-1] / logits.shape[-1]))
            losses.append(cross_entropy(logits, y[:, ::stride, ::stride], training.weights))
        weights = training.network.auxiliary_weights
        assert len(weights) == len(others) > 1
        for factor in (0.0, 0.5, 1.0, 3.0):
            training.recipe = recipe(root, auxiliary=factor)
            expected = losses[0] + sum(factor * w * one for w, one in zip(weights, losses[1:]))
            assert float(training.loss(outputs, y, images)) == pytest.approx(float(expected))


def test_a_loss_at_full_size_is_that_of_upsampled_outputs(root: Path, tmp_path: Path) -> None:
    training = Training(recipe(root, network=CASCADE, full_size_loss=True), tmp_path)
    images, labels = next(iter(training.loader))
    x, y = training.to_device(images, labels)
    with torch.no_grad():
        main_logits, others = outputs = training.forward(x)
        assert main_logits.shape[-2:] == (17, 25)
        weights = (1.0, 0.16, 0.4)
        expected = 0.0
        for weight, logits in zip(weights, (main_logits, *others)):
            large = F.interpolate(logits, (65, 97), mode='bilinear', align_corners=True)
            each = F.cross_entropy(large, y, training.weights, ignore_index=255)
            expected += weight * float(each)
        found = float(training.loss(outputs, y, images))
        training.recipe = recipe(root, network=CASCADE)
        sampled = float(training.loss(outputs, y, images))
    assert found == pytest.approx(expected, rel=1e-5)
    assert abs(sampled / found - 1) > 1e-4, 'the same labels as without'


@pytest.mark.parametrize('spec_', [TINY, CASCADE], ids=lambda spec_: spec_['name'])
@pytest.mark.parametrize('auxiliary', [0.0, 1.0])
def test_without_auxiliary_losses_their_heads_learn_nothing(
    root: Path, tmp_path: Path, spec_: dict[str, Any], auxiliary: float
) -> None:
    training = Training(recipe(root, network=spec_, auxiliary=auxiliary), tmp_path)
    heads = ('boosters.', 'fusion24.guide.', 'fusion12.guide.')
    before = {name: p.detach().clone() for name, p in training.network.named_parameters()}
    assert any(name.startswith(heads) for name in before)
    training.step(*next(iter(training.loader)), 0)
    for name, p in training.network.named_parameters():
        learns = auxiliary > 0 or not name.startswith(heads)
        assert (p.grad is not None) == learns, name
        assert learns or torch.equal(p, before[name]), name


def test_what_older_trainings_left_is_gone_on_with(root: Path, tmp_path: Path) -> None:
    Training(recipe(root), tmp_path).run()
    state = torch.load(tmp_path / 'last.pt', weights_only=True)
    for key in ('auxiliary', 'full_size_loss'):
        del state['recipe'][key]
    torch.save(state, tmp_path / 'last.pt')
    training = Training(recipe(root, epochs=2), tmp_path)
    training.resume()
    assert training.epoch == 1
    assert training.run()['epochs'] == 2
    other = Training(recipe(root, epochs=3, auxiliary=0.0), tmp_path)
    with pytest.raises(ValueError, match=r'expected a training with auxiliary: 0\.0; found 1\.0'):
        other.resume()


@pytest.mark.parametrize(
    ('change', 'value'),
    [('auxiliary=0', 0), ('auxiliary=0.5', 0.5), ('full_size_loss=true', True)],
)
def test_recipes_take_the_new_keys(tmp_path: Path, change: str, value: Any) -> None:
    path = tmp_path / 'recipe.yaml'
    path.write_text('{network: {name: icnet}, dataset: camvid}')
    assert getattr(load_recipe(path, [change]), change.partition('=')[0]) == value
    plain = load_recipe(path)
    assert (plain.auxiliary, plain.full_size_loss) == (1.0, False)


@pytest.mark.parametrize('change', ['auxiliary=-1', 'full_size_loss=1', 'auxiliary=true'])
def test_recipes_refuse_other_values(tmp_path: Path, change: str) -> None:
    path = tmp_path / 'recipe.yaml'
    path.write_text('{network: {name: icnet}, dataset: camvid}')
    with pytest.raises(ValueError, match=f'expected.*{change.partition("=")[0]}|{change[:9]}.*'):
        load_recipe(path, [change])


# Rows


@pytest.mark.parametrize('row', ROWS)
def test_every_row_is_what_it_says(row: Row) -> None:
    with torch.device('meta'):
        built = build_model({'num_classes': 11, **row.network})
    shapes = {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}
    parts = {name.partition('.')[0] for name in shapes}
    arguments = row.network
    if arguments['name'] == 'bisenetv2':
        aggregation = arguments.get('aggregation', 'guided')
        assert ('detail' in parts) == (aggregation != 'semantic')
        assert ('semantic' in parts) == (aggregation != 'detail')
        assert ('aggregation' in parts) == (aggregation not in ('detail', 'semantic'))
        if 'semantic' in parts:
            part = {'1/2': 2, '1/8': 8, '1/16': 16}.get(row.label, 4)
            assert shapes['semantic.0.conv.0.weight'] == (64 // part, 3, 3, 3)
        assert bool(row.recipe.get('auxiliary', 1)) == ('boosters' in row.label)
        assert ('ohem' in row.recipe) == ('OHEM' in row.label)
    elif 'fusion' in arguments:
        kernel = int(arguments['fusion'][-1])
        assert row.label == f'deconvolution {kernel}x{kernel}'
        layers = [m for m in built.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
        assert [layer.kernel_size for layer in layers] == [(kernel, kernel)] * 2
    elif row.pruned_from:
        kept = {'1': 1.0, '3/4': 0.75, '1/2': 0.5, '1/4': 0.25}[row.label]
        assert shapes['squeeze.0.weight'][0] / 512 == pytest.approx(kept, rel=0.02)
        with torch.device('meta'):
            whole = build_model({'num_classes': 11, **row.pruned_from}).state_dict()
        assert {name: t.ndim for name, t in whole.items()} == {
            name: len(shape) for name, shape in shapes.items()
        }, 'pruning only makes layers narrower'


def test_the_papers_figures_are_the_papers() -> None:
    """Their mIoU in percent, milliseconds and gigabytes, as the papers print them."""
    told = {
        name: [
            (
                round(100 * row.paper['miou'], 2) if 'miou' in row.paper else None,
                row.paper.get('ms'),
                row.paper.get('memory_mb', 0) / 1000 or None,
            )
            for row in study.rows
        ]
        for name, study in STUDIES.items()
    }
    assert told == {
        'branches': [(67.9, 170, 9.2), (59.6, 18, 0.6), (66.5, 25, 1.1), (67.7, 33, 1.6)],
        'fusion': [(66.7, 31, None), (66.7, 34, None), (68.0, 38, None), (67.7, 33, None)],
        'guidance': [(66.8, 33, None), (67.7, 33, None)],
        'label_size': [(None, None, None)] * 2,
        'aggregation': [
            (miou, None, None) for miou in (62.35, 64.68, 68.6, 68.93, 69.67, 73.19, 73.36)
        ],
        'semantic_width': [(miou, None, None) for miou in (69.66, 69.67, 69.26, 68.27)],
        'kernels': [(71.7, 446, None), (None, None, None), (67.9, 170, None), (59.4, 72, None)],
    }


def test_rows_of_the_same_recipe_share_a_folder(root: Path, tmp_path: Path) -> None:
    plan = schedule(root, tmp_path)
    folders: dict[Path, list[str]] = {}
    for name, study_ in STUDIES.items():
        for row in study_.rows:
            folders.setdefault(folder_of(plan, row, 0), []).append(f'{name}: {row.label}')
    shared = {frozenset(rows) for rows in folders.values() if len(rows) > 1}
    assert shared == {
        frozenset({
            'branches: sub4', 'branches: sub24', 'branches: sub124',
            'fusion: cascade feature fusion', 'guidance: with label guidance',
            "label_size: labels at the outputs' size",
        }),
        frozenset({'aggregation: guided aggregation', 'semantic_width: 1/4'}),
    }  # fmt: skip
    row = STUDIES['guidance'].rows[0]
    assert folder_of(plan, row, 0).name.startswith('icnet,auxiliary=0,seed=0-')
    # Another schedule is another training; another place for the same data is not.
    others = [replace(plan, epochs=2), replace(plan, crop=(97, 129)), plan]
    found = {folder_of(other, row, seed) for other in others for seed in (0, 1)}
    assert len(found) == 6
    moved = dataset_layouts.write_camvid(tmp_path / 'moved', images=8)
    assert folder_of(replace(plan, root=str(moved)), row, 0) == folder_of(plan, row, 0)


def test_exits_are_scored_from_one_training(root: Path, tmp_path: Path) -> None:
    plan = schedule(root, tmp_path)
    rows = [Row(leave, {**CASCADE, 'exit': leave}) for leave in ('sub4', 'sub24')]
    rows.append(Row('sub124', CASCADE))
    scores = [score(plan, row, 0) for row in rows]
    (folder,) = tmp_path.iterdir()
    stored = json.loads((folder / 'result.json').read_text())
    assert stored['miou'] == dict(zip(('sub4', 'sub24', ''), scores))
    assert len(set(scores)) == 3
    assert scores[2] == load_checkpoint(folder / 'best.safetensors').training['miou']['val']
    assert not (folder / 'last.pt').exists()


def test_pruned_rows_start_from_the_whole_network(root: Path, tmp_path: Path) -> None:
    whole = {**TINY, 'alpha': 0.25}
    plan = schedule(root, tmp_path, epochs=2)
    rows = [Row('1', whole, pruned_from=whole), Row('1/2', TINY, pruned_from=whole)]
    scores = [score(plan, row, 0) for row in rows]
    assert all(0 <= each <= 1 for each in scores)
    first, half = (folder_of(plan, row, 0) for row in rows)
    trained = folder_of(plan, Row('', whole), 0)
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
    assert 'Each was trained once' in page
    texts = ''.join(ET.parse(widths / 'semantic_width.svg').getroot().itertext())
    assert all(word in texts for word in ('1/16', 'mIoU', 'paper, Cityscapes val'))


def test_rows_are_trained_once_and_timed_later(root: Path, tmp_path: Path) -> None:
    plan = schedule(root, tmp_path)
    rows = (Row('with', TINY), Row('without', TINY, {'auxiliary': 0.0}))
    first = run_study('a', Study('?', 'nobody', (64, 96), rows), plan, 1, None, lambda _: None)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob('*/*.*')}
    assert len(before) == 4
    engine = Timing((32, 64), 'cpu', 'torch', 'fp32', rounds=1)
    other = Study('?', 'nobody', (64, 96), (Row('again', TINY), *rows[1:]))
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
        end = time.monotonic() + 100
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


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['guidance', '--dataset', 'camvid'], '--root: expected the folder of camvid'),
        (['guidance', '--dataset', 'camvid', '--root', 'nowhere'], 'nowhere'),
        (['everything'], 'invalid choice'),
        (['guidance', '--epochs', '0'], 'expected a number from 1 on'),
        (['guidance', '--crop', '64'], 'expected WIDTHxHEIGHT'),
        (['time_budget', '--precision', 'int8'], 'int8'),
        (
            ['time_budget', '--rows', 'sub4'],
            "expected any of none, as time_budget has them; found 'sub4'",
        ),
        (['guidance', '--rows', 'without', 'half'], "expected any of 'without', 'with label"),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_bad_input_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    try:
        code = main(['study', *arguments, '--out', str(tmp_path), '--size', '64x64'])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert said in capsys.readouterr().err


def test_seeds_show_their_spread(root: Path, tmp_path: Path) -> None:
    rows = (Row('small', TINY), Row('half', {**TINY, 'semantic_ratio': 0.5}))
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


# The pictures


def made_up() -> dict[str, Any]:
    """Return a result whose figures are easy to find again."""

    def row(label: str, miou: float, ms: float, paper: Mapping[str, float]) -> dict[str, Any]:
        return {
            'label': label, 'network': label, 'pruned_from': '', 'miou': miou,
            'miou_by_seed': [miou], 'ms': ms, 'memory_mb': 10 * ms, 'gmac': ms / 2,
            'parameters': 1_234_567, 'paper': paper,
        }  # fmt: skip

    return {
        'study': 'branches', 'title': 'Which', 'paper': 'a paper', 'dataset': 'camvid',
        'schedule': {
            'epochs': 3, 'splits': ['train', 'val'], 'batch': 8, 'crop': [65, 97],
            'optimizer': 'adamw', 'learning_rate': 1e-3, 'precision': 'bf16',
            'input_size': [353, 481],
        },
        'seeds': 1, 'scales': [0.75, 1.5],
        'size': [1024, 2048], 'left_out': {'other': 'it does not run here'},
        'timing': {'backend': 'openvino', 'device': 'cpu', 'precision': 'bf16'},
        'machine': {'cpu': 'A CPU', 'cores': 2, 'gpu': None},
        'rows': [
            row('slow', 0.4, 200.0, {'miou': 0.679, 'ms': 170, 'memory_mb': 9200}),
            row('fast', 0.3, 50.0, {'miou': 0.596, 'ms': 17}),
            row('new', 0.35, 100.0, {}),
        ],
    }  # fmt: skip


def test_the_table_sets_the_papers_figures_beside_ours() -> None:
    assert table(made_up()) == [
        ('', 'mIoU', 'paper: mIoU', 'ms', 'paper: ms', 'MB', 'paper: MB', 'GMAC at 2048x1024',
         'parameters, M'),
        ('slow', '0.400', '0.679', '200.0 (1.00)', '170 (1.00)', '2000', '9200', '100.0', '1.23'),
        ('fast', '0.300', '0.596', '50.0 (0.25)', '17 (0.10)', '500', '–', '25.0', '1.23'),
        ('new', '0.350', '–', '100.0 (0.50)', '–', '1000', '–', '50.0', '1.23'),
    ]  # fmt: skip
    page = as_page(made_up())
    for said in (
        'figures: a paper.', '3 epochs of camvid train', 'crops of 97x65', '481x353',
        'scaled to 0.75 to 1.5 times', '2048x1024', 'openvino, bf16', '2 cores of A CPU',
        'Left out: other: it does not run here',
    ):  # fmt: skip
        assert said in page, said


def test_the_plot_shows_them(tmp_path: Path) -> None:
    left, right = study_plot(made_up()).axes
    assert [bar.get_width() for bar in left.patches] == [0.4, 0.3, 0.35]
    assert [bar.get_width() for bar in right.patches] == [1.0, 0.25, 0.5]
    for axes, expected in ((left, [0.679, 0.596]), (right, [1.0, 0.1])):
        (dots,) = axes.lines
        assert list(dots.get_xdata()) == expected
        assert list(dots.get_ydata()) == [0, 1]
    for name in ('one', 'other'):
        write_plot(tmp_path / f'{name}.svg', made_up())
    assert (tmp_path / 'one.svg').read_bytes() == (tmp_path / 'other.svg').read_bytes()
    assert (tmp_path / 'one.svg').stat().st_size < 60_000


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


@pytest.mark.parametrize(('stride', 'size'), [(8, (8, 16)), (16, (4, 8)), (32, (2, 4))])
def test_features_have_the_stride_they_say(stride: int, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert network(0.25, stride).coarse_logits(torch.rand(1, 3, 64, 128)).shape[2:] == size


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


def test_networks_are_named_as_benchmarks_name_them() -> None:
    assert spec({'name': 'icnet'}) == 'icnet'
    assert spec({'name': 'icnet', 'width': 0.5, 'exit': 'sub4'}) == 'icnet:width=0.5,exit=sub4'


# The page

STUDIED = Path(__file__).parents[2] / 'doc' / 'studies'


@pytest.mark.parametrize('name', [*STUDIES, 'time_budget'])
def test_the_page_shows_what_was_found(name: str) -> None:
    path = STUDIED / f'{name}.json'
    found = json.loads(path.read_text())
    page = STUDIED.with_suffix('.md').read_text()
    shown = page.partition(f'<!-- {path.stem} -->\n')[2].partition('<!-- end -->')[0]
    assert shown == path.with_suffix('.md').read_text() == as_page(found)
    assert f'(studies/{path.stem}.svg)' in page
    texts = list(ET.parse(path.with_suffix('.svg')).getroot().itertext())
    assert {row['label'] for row in found['rows']} <= set(texts)
    assert path.with_suffix('.svg').stat().st_size < 60_000
