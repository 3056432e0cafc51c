# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `study`: its rows, their trainings, which studies share, and its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
import json
from math import ceil, log2
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import dataset_layouts
import pytest
from small_studies import schedule, TINY
import torch
from torch.nn import functional as F

from seg_ros.__main__ import main
from seg_ros.inference.checkpoint import load_checkpoint
from seg_ros.models import build_model
from seg_ros.studies.budget import network
from seg_ros.studies.study import spec
from seg_ros.studies.study_plots import study_plot, write_plot
from seg_ros.studies.study_report import as_page, table
from seg_ros.studies.study_rows import STUDIES, StudyRow
from seg_ros.studies.trained import folder_of, score
from seg_ros.training.config import load_recipe, Recipe
from seg_ros.training.loop import Training
from seg_ros.training.losses import cross_entropy

pytestmark = pytest.mark.usefixtures('one_thread')

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
def test_every_row_is_what_it_says(row: StudyRow) -> None:
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
    """The papers' figures are those that they print: mIoU in percent, milliseconds, gigabytes."""
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
    # Another schedule needs another training; another folder of the same data does not.
    others = [replace(plan, epochs=2), replace(plan, crop=(97, 129)), plan]
    found = {folder_of(other, row, seed) for other in others for seed in (0, 1)}
    assert len(found) == 6
    moved = dataset_layouts.write_camvid(tmp_path / 'moved', images=8)
    assert folder_of(replace(plan, root=str(moved)), row, 0) == folder_of(plan, row, 0)


def test_exits_are_scored_from_one_training(root: Path, tmp_path: Path) -> None:
    plan = schedule(root, tmp_path)
    rows = [StudyRow(leave, {**CASCADE, 'exit': leave}) for leave in ('sub4', 'sub24')]
    rows.append(StudyRow('sub124', CASCADE))
    scores = [score(plan, row, 0) for row in rows]
    (folder,) = tmp_path.iterdir()
    stored = json.loads((folder / 'result.json').read_text())
    assert stored['miou'] == dict(zip(('sub4', 'sub24', ''), scores))
    assert len(set(scores)) == 3
    assert scores[2] == load_checkpoint(folder / 'best.safetensors').training['miou']['val']
    assert not (folder / 'last.pt').exists()


# The command


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['guidance', '--dataset', 'camvid'], '--root: expected the folder of camvid'),
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


# The pictures


def made_up() -> dict[str, Any]:
    """Return a made-up result whose figures are easy to find in the report."""

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


@pytest.mark.parametrize(('stride', 'size'), [(8, (8, 16)), (16, (4, 8)), (32, (2, 4))])
def test_features_have_the_stride_they_say(stride: int, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert network(0.25, stride).coarse_logits(torch.rand(1, 3, 64, 128)).shape[2:] == size


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
