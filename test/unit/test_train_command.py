# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `train`: its results, what it refuses, and how it resumes."""

from __future__ import annotations

from dataclasses import asdict, replace
import json
import os
from pathlib import Path
import pickle
import re
import shutil
import sys
from typing import Any

import dataset_layouts
from full_disk import full_disk
import numpy as np
import pytest
from small_trainings import TINY, train, weights, write_recipe
import torch

from seg_ros.images.image_file import write_image
from seg_ros.inference.checkpoint import load_checkpoint
from seg_ros.training.config import load_recipe, Recipe
from seg_ros.training.images import ImagesInMemory, in_memory
from seg_ros.training.loop import Training

pytestmark = pytest.mark.usefixtures('one_thread')

RECIPES = sorted(Path(__file__).parents[2].glob('config/training/*.yaml'))


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a data set in the layout of Cityscapes."""
    return dataset_layouts.write_cityscapes(tmp_path_factory.mktemp('cityscapes'))


@pytest.fixture(scope='module')
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short training that has ended."""
    folder = tmp_path_factory.mktemp('finished')
    assert train(write_recipe(folder), root, folder / 'out') == 0
    return folder / 'out'


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder that a test may change."""
    return shutil.copytree(finished, tmp_path / 'out')


# Recipes


def test_papers_recipes_say_what_the_papers_say() -> None:
    """The recipes have the values of the papers and of their authors' repositories."""
    recipes = {path.stem: load_recipe(path) for path in RECIPES}
    names = {f'{n}_{d}' for n in ('icnet', 'bisenetv2', 'pspnet50') for d in
             ('camvid', 'cityscapes', 'coco_stuff', 'folder', 'sample_drive')}  # fmt: skip
    assert names <= recipes.keys()
    steps = {'bisenetv2_cityscapes': (2975, 150_000), 'bisenetv2_camvid_paper': (367, 10_000)}
    for name, (images, expected) in steps.items():
        recipe = recipes[name]
        assert recipe.epochs * (images // recipe.batch) == pytest.approx(expected, rel=0.01)
        assert (recipe.batch, recipe.optimizer, recipe.learning_rate) == (16, 'sgd', 0.05)
        assert (recipe.weight_decay, recipe.power) == (5e-4, 0.9)
    icnet = recipes['icnet_cityscapes']
    assert (icnet.batch, icnet.learning_rate, icnet.weight_decay) == (16, 0.01, 1e-4)
    for name, recipe in recipes.items():
        if recipe.network['name'] == 'icnet':
            assert all(side % 32 == 1 for side in recipe.crop), name


# The command


def test_a_run_leaves_weights_curves_and_figures(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, out = write_recipe(tmp_path, epochs=3), tmp_path / 'out'
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    assert train(recipe, root, out, '--json', str(tmp_path / 'r.json')) == 0
    result = json.loads((tmp_path / 'r.json').read_text())
    assert (result['epochs'], result['images_seen']) == (3, 12)
    assert 0 <= result['miou'] <= 1
    assert load_checkpoint(result['checkpoint']).training['miou']['val'] == result['miou']
    bar = capsys.readouterr().err
    assert re.search(r'12/12 .*image/s, loss=\d+\.\d+, miou=0\.\d+', bar)
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    events = accumulator.EventAccumulator(str(out / 'tensorboard')).Reload()
    history = torch.load(out / 'last.pt', weights_only=True)['history']
    for key in ('loss', 'miou', 'learning_rate', 'images_per_second'):
        found = events.Scalars(key)
        assert [event.step for event in found] == [4, 8, 12]
        assert [event.value for event in found] == pytest.approx([r[key] for r in history])
    assert {f'iou/{name}' for name in ('road', 'bicycle')} <= set(events.Tags()['scalars'])
    pictures = events.Tags()['images']
    assert len(pictures) == 4
    shown = events.Images(pictures[0])[0]
    assert (shown.width, shown.height) == (192, 64), 'ground truth beside prediction'
    # A second training does not overwrite the first one's weights.
    before = (out / 'last.pt').read_bytes()
    assert train(recipe, root, out) == 2
    assert '--resume' in capsys.readouterr().err
    assert (out / 'last.pt').read_bytes() == before


def test_a_teacher_is_listened_to(root: Path, finished: Path, tmp_path: Path) -> None:
    teacher = str(finished / 'best.safetensors')
    recipe = load_recipe(write_recipe(tmp_path, root=str(root), teacher=teacher))
    training = Training(recipe, tmp_path / 'pupil')
    images, labels = next(iter(training.loader))
    x, y = training.to_device(images, labels)
    with torch.no_grad():
        outputs = training.forward(x)
        plain = Training(replace(recipe, teacher=''), tmp_path / 'pupil').loss(outputs, y, images)
        main = outputs[0]
        told = training.teacher.network(x).softmax(1)
        divergence = (told * (told.log() - main.log_softmax(1))).sum(1)[y != 255].mean()
        found = training.loss(outputs, y, images)
    assert float(found) == pytest.approx(float(plain + divergence), rel=1e-5)
    assert float(divergence) > 0.01
    before = main.detach()
    for _ in range(5):
        training.step(images, labels, 0)
    assert not torch.allclose(training.forward(x)[0], before)


def test_a_teacher_of_other_classes_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, teacher='bisenetv2_camvid')
    assert train(recipe, root, tmp_path / 'out') == 2
    assert 'expected a teacher of the classes of Cityscapes' in capsys.readouterr().err


def test_training_starts_from_given_weights(root: Path, finished: Path, tmp_path: Path) -> None:
    stored = finished / 'best.safetensors'
    recipe = load_recipe(write_recipe(tmp_path, root=str(root), pretrained=str(stored)))
    started = Training(recipe, tmp_path / 'second').network.state_dict()
    for name, tensor in weights(stored).items():
        assert torch.equal(started[name], tensor), name
    # With another number of classes, only the classifiers start from random weights.
    folder = dataset_layouts.write_folder(tmp_path / 'folder')
    other = replace(recipe, dataset='folder', root=str(folder))
    started = Training(other, tmp_path / 'third').network.state_dict()
    differ = {n for n, t in weights(stored).items() if not torch.equal(started[n], t)}
    assert differ
    assert all(started[name].shape[0] == 17 for name in differ)


# Full disks and damage


# TensorBoard's thread cannot write its files, either.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_full_disk_leaves_the_last_good_checkpoint(
    root: Path, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    limit = 64 * 1024
    assert len(before['last.pt']) > limit
    more = ('--resume', '--set', 'epochs=3')
    with full_disk(limit):
        assert train(recipe, root, out, *more) == 2
    said = capsys.readouterr().err
    assert 'last.pt' in said or 'best.safetensors' in said
    assert 'An older file there is unchanged. Make room' in said
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    # The training resumes once there is space again.
    assert train(recipe, root, out, *more) == 0
    assert torch.load(out / 'last.pt', weights_only=True)['epoch'] == 3


class Code:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ('owned',)


@pytest.mark.parametrize('damage', ['truncated', 'empty', 'code', 'other'])
def test_a_damaged_checkpoint_is_not_resumed(
    root: Path,
    tmp_path: Path,
    damage: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe, last = write_recipe(tmp_path), tmp_path / 'out' / 'last.pt'
    last.parent.mkdir()
    if damage == 'truncated':
        torch.save({'recipe': asdict(Recipe({}, '')), 'network': torch.randn(9999)}, last)
        last.write_bytes(last.read_bytes()[:20000])
    elif damage == 'other':
        torch.save({'state_dict': {'weight': torch.ones(3)}}, last)
    else:
        last.write_bytes(pickle.dumps(Code()) if damage == 'code' else b'')
    content = last.read_bytes()
    assert train(recipe, root, last.parent, '--resume') == 2
    message = capsys.readouterr().err
    assert f'{last}: expected the state of a training' in message
    assert 'another folder' in message
    assert last.read_bytes() == content
    assert not (tmp_path / 'owned').exists(), 'code in a file was run'


def test_a_training_is_not_resumed_with_another_recipe(
    root: Path, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_recipe(tmp_path, ohem=0.7)
    assert train(other, root, out, '--resume') == 2
    assert 'expected a training with ohem: 0.7; found 0.0' in capsys.readouterr().err


# Mistakes in the data, which are reported before the first step


@pytest.mark.parametrize('in_memory', [True, False], ids=['in memory', 'from disk'])
@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        ('missing', 'labelIds.png'),
        ('coloured', 'one 8-bit channel'),
        ('unknown id', r'77'),
        ('size', 'size of'),
    ],
)
def test_a_wrong_label_file_is_named_before_the_first_step(
    tmp_path: Path,
    fault: str,
    message: str,
    split: str,
    in_memory: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = dataset_layouts.write_cityscapes(tmp_path / 'data')
    victim = sorted((root / 'gtFine' / split).rglob('*labelIds.png'))[2]
    labels = np.full((64, 96), 7, np.uint8)
    if fault == 'missing':
        victim.unlink()
    elif fault == 'coloured':
        write_image(victim, np.dstack([labels, labels + 9, labels]))
    elif fault == 'unknown id':
        labels[5, 6] = 77
        write_image(victim, labels)
    else:
        write_image(victim, labels[:-1])
    if not in_memory:
        monkeypatch.setattr('seg_ros.training.images.MEMORY_SHARE', 0.0)
    assert train(write_recipe(tmp_path), root, tmp_path / 'out') == 2
    said = capsys.readouterr().err
    assert victim.name in said
    assert message in said
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'network': {**TINY['network'], 'num_classes': 20}}, 'num_classes of Cityscapes, 19'),
        ({'splits': ['train', 'nowhere']}, 'nowhere'),
        ({'batch': 5}, 'at most the 4 training images; found 5'),
        ({'drives': [3]}, 'Cityscapes: expected the classes of sample drive to add its images'),
        ({'network': {**TINY['network'], 'alpha': 'x'}}, 'network: expected arguments'),
        ({'batch': 1}, 'batch: expected 2 or more; found 1'),
        ({'splits': ['train', 5]}, r"splits to be like \('train', 'val'\); found \('train', 5\)"),
        ({'precision': 'fp16'}, 'fp16 needs a GPU'),
        ({'dataset': 'pascal'}, 'camvid.*pascal'),
        ({'learning_rate': 1e30, 'optimizer': 'sgd', 'warm_up': 0.0}, 'finite loss.*Lower'),
    ],
    ids=str,
)
def test_a_training_that_cannot_be_says_why(
    root: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = write_recipe(tmp_path, **changes)
    assert train(recipe, root, tmp_path / 'out') == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / 'out' / 'last.pt').exists()


def test_a_loss_that_explodes_can_be_calmed(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = write_recipe(tmp_path, optimizer='sgd'), tmp_path / 'out'
    assert train(recipe, root, out, '--set', 'epochs=1') == 0
    before = (out / 'last.pt').read_bytes()
    assert train(recipe, root, out, '--resume', '--set', 'learning_rate=1.0e+30') == 2
    assert 'Lower learning_rate' in capsys.readouterr().err
    assert (out / 'last.pt').read_bytes() == before
    assert train(recipe, root, out, '--resume', '--set', 'learning_rate=1.0e-4') == 0


def test_a_training_is_not_resumed_with_other_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = write_recipe(tmp_path, dataset='folder', epochs=1), tmp_path / 'out'
    root = dataset_layouts.write_folder(tmp_path / 'one')
    assert train(recipe, root, out) == 0
    with (root / 'classes.csv').open('a') as table:
        table.write('99,one more\n')
    assert train(recipe, root, out, '--resume') == 2
    message = capsys.readouterr().err
    assert f'{out}/last.pt: expected a training with classes' in message
    assert 'one more' in message


@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_split_without_any_label_is_refused(
    tmp_path: Path, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = dataset_layouts.write_cityscapes(tmp_path / 'data')
    for path in (root / 'gtFine' / split).rglob('*labelIds.png'):
        write_image(path, np.zeros((64, 96), np.uint8))
    assert train(write_recipe(tmp_path), root, tmp_path / 'out') == 2
    assert 'expected labelled pixels; found only ignored ones in 4' in capsys.readouterr().err


def test_what_a_kill_left_half_written_is_cleared(root: Path, tmp_path: Path, out: Path) -> None:
    for name in ('.last.pt.x1y2', '.best.safetensors.z3'):
        (out / name).write_bytes(b'half')
    more = ('--resume', '--set', 'epochs=3')
    assert train(write_recipe(tmp_path), root, out, *more) == 0
    assert not list(out.glob('.*'))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--device', 'cuda:7'], 'expected auto or one of cpu'),
        (['--profile', '0'], 'number of steps, 1 or more'),
        (['--set', 'epochs'], "KEY=VALUE to change a recipe; found 'epochs'"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(
    root: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        code = train(write_recipe(tmp_path), root, tmp_path / 'out', *arguments)
    except SystemExit as stop:  # argparse's way to report errors
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_images_come_from_disk_where_they_do_not_fit(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {'class_weight_power': 0.5, 'paste': 0.5, 'root': str(root)}
    recipe = load_recipe(write_recipe(tmp_path, **changes))
    memory = Training(recipe, tmp_path / 'memory')
    assert isinstance(memory.loader.dataset.samples, ImagesInMemory)
    monkeypatch.setattr('seg_ros.training.images.MEMORY_SHARE', 0.0)
    disk = Training(recipe, tmp_path / 'disk')
    assert in_memory(disk.data) is disk.data is disk.loader.dataset.samples
    assert torch.equal(memory.weights, disk.weights)
    assert memory.loader.dataset.donors == disk.loader.dataset.donors != {}
    for one, other in zip(memory.loader, disk.loader):
        assert all(torch.equal(a, b) for a, b in zip(one, other))
