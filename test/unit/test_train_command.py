# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`train` as its users run it: every recipe, several processes, power cuts, full disks."""

from __future__ import annotations

from dataclasses import asdict, replace
import json
import os
from pathlib import Path
import pickle
import random
import re
import resource
import signal
import subprocess
import sys
import time
from typing import Any

import dataset_layouts
import numpy as np
import pytest
import torch
from torch import Tensor
import yaml

from seg_ros.__main__ import main
from seg_ros.datasets.catalog import open_dataset
from seg_ros.inference.checkpoint import load_checkpoint
from seg_ros.inference.image_file import write_image
from seg_ros.training.config import load_recipe, Recipe
from seg_ros.training.images import Held, held
from seg_ros.training.loop import Training

pytestmark = pytest.mark.usefixtures('one_thread')

RECIPES = sorted(Path(__file__).parents[2].glob('config/training/*.yaml'))
ENVIRONMENT = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
TINY = {
    'network': {'name': 'bisenetv2', 'head_width': 8, 'booster_width': 8, 'alpha': 0.125},
    'dataset': 'cityscapes',
    'crop': [64, 96],
    'scale': [0.8, 1.25],
    'batch': 2,
    'epochs': 2,
    'precision': 'fp32',
}


@pytest.fixture(scope='module')
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write data sets in the official layouts; sample drives are drawn."""
    folder = tmp_path_factory.mktemp('data')
    write = {
        'camvid': dataset_layouts.write_camvid,
        'cityscapes': dataset_layouts.write_cityscapes,
        'coco_stuff': dataset_layouts.write_coco_stuff,
        'folder': dataset_layouts.write_folder,
    }
    return {
        'sample_drive': folder,
        **{name: function(folder / name) for name, function in write.items()},
    }


def write_recipe(folder: Path, **changes: Any) -> Path:
    """Write a recipe for a tiny training."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'recipe.yaml'
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


def train(recipe: Path, root: Path, out: Path, *more: str) -> int:
    """Run the command here; return its exit code."""
    where = ['--root', str(root), '--out', str(out), '--device', 'cpu']
    return main(['train', '--config', str(recipe), *where, *more])


def weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a best.safetensors or of the network in a last.pt."""
    if path.suffix == '.pt':
        state: dict[str, Tensor] = torch.load(path, weights_only=True)['network']
        return state
    return load_checkpoint(path).network.state_dict()


# Recipes


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_every_recipe_takes_steps_in_the_official_layout(
    path: Path, roots: dict[str, Path], tmp_path: Path
) -> None:
    recipe = load_recipe(path)
    assert path.stem.startswith(f'{recipe.network["name"]}_{recipe.dataset}')
    training = Training(
        replace(
            recipe,
            root=str(roots[recipe.dataset]),
            splits=('5', '6') if recipe.dataset == 'sample_drive' else ('train', 'val'),
            crop=(65, 97),
            scale=(0.9, 1.2),
            batch=2,
            epochs=1,
            # Tried are its network, losses and optimizer, not whether it fits in this machine.
            precision='fp32',
            input_size=(65, 97),
        ),
        tmp_path,
    )
    assert training.recipe.splits[0] in ('train', '5')
    before = {n: p.detach().clone() for n, p in training.network.named_parameters()}
    images, labels = next(iter(training.loader))
    losses = [float(training.step(images, labels, 0)) for _ in range(3)]
    assert np.isfinite(losses).all()
    still = [n for n, p in training.network.named_parameters() if torch.equal(p, before[n])]
    # A batch norm undoes whatever this one adds.
    assert set(still) <= {'context.norm.bias'}, 'what does not learn'
    classes = len(open_dataset(recipe.dataset, training.recipe.root, 'val').labels)
    assert classes == {'cityscapes': 19, 'coco_stuff': 171, 'folder': 17}.get(recipe.dataset, 11)
    assert training.network.num_classes == classes


def test_papers_recipes_say_what_the_papers_say() -> None:
    """Values of Cityscapes and CamVid from the papers and their authors' repositories."""
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
    roots: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = write_recipe(tmp_path, epochs=3), tmp_path / 'out'
    assert train(recipe, roots['cityscapes'], out, '--json', str(tmp_path / 'r.json')) == 0
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
    # A second training does not run over the first one's weights.
    before = (out / 'last.pt').read_bytes()
    assert train(recipe, roots['cityscapes'], out) == 2
    assert '--resume' in capsys.readouterr().err
    assert (out / 'last.pt').read_bytes() == before


def test_where_the_time_goes(roots: dict[str, Path], tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path, ema=0.9), tmp_path / 'out'
    assert (
        train(recipe, roots['cityscapes'], out, '--profile', '4', '--json', f'{tmp_path}/p') == 0
    )
    result = json.loads((tmp_path / 'p').read_text())
    rates, parts = result['images_per_second'], result['milliseconds']
    assert set(rates) == {'loading', 'learning', 'both'}
    assert set(parts) == {'to device', 'forward', 'loss', 'backward', 'update'}
    assert all(value > 0 for value in (*rates.values(), *parts.values()))
    # The parts make up the step: 2 images in so many milliseconds.
    assert 0.2 < sum(parts.values()) / (2000 / rates['learning']) < 5
    assert not (out / 'last.pt').exists()


def test_a_teacher_is_listened_to(roots: dict[str, Path], tmp_path: Path) -> None:
    root = roots['cityscapes']
    assert train(write_recipe(tmp_path / 'a'), root, tmp_path / 'teacher') == 0
    teacher = str(tmp_path / 'teacher' / 'best.safetensors')
    recipe = load_recipe(write_recipe(tmp_path / 'b', root=str(root), teacher=teacher))
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
    roots: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, teacher='bisenetv2_camvid')
    assert train(recipe, roots['cityscapes'], tmp_path / 'out') == 2
    assert 'expected a teacher of the classes of Cityscapes' in capsys.readouterr().err


def test_training_starts_from_given_weights(roots: dict[str, Path], tmp_path: Path) -> None:
    root = roots['cityscapes']
    assert train(write_recipe(tmp_path / 'a'), root, tmp_path / 'first') == 0
    stored = tmp_path / 'first' / 'best.safetensors'
    recipe = load_recipe(write_recipe(tmp_path / 'b', root=str(root), pretrained=str(stored)))
    started = Training(recipe, tmp_path / 'second').network.state_dict()
    for name, tensor in weights(stored).items():
        assert torch.equal(started[name], tensor), name
    # On a data set of another class count only the classifiers start anew.
    other = replace(recipe, dataset='folder', root=str(roots['folder']))
    started = Training(other, tmp_path / 'third').network.state_dict()
    differ = {n for n, t in weights(stored).items() if not torch.equal(started[n], t)}
    assert differ
    assert all(started[name].shape[0] == 17 for name in differ)


# More than one process


@pytest.mark.parametrize(
    'changes',
    [
        {'epochs': 1},
        {'ohem': 0.5, 'lovasz': 0.5, 'class_weight_power': 0.5, 'ema': 0.9},
        {'network': {'name': 'icnet', 'width': 0.125}, 'crop': [65, 97]},
    ],
    ids=['plain', 'every loss', 'icnet'],
)
def test_two_processes_equal_one(
    roots: dict[str, Path], tmp_path: Path, changes: dict[str, Any]
) -> None:
    recipe = write_recipe(tmp_path, **{'batch': 4, 'epochs': 3, **changes})
    # In float64, where rounding does not hide a wrong gradient: an untrained network's grow
    # a thousandfold from layer to layer, and the errors of float32 with them.
    script = tmp_path / 'in_float64.py'
    script.write_text(
        'import torch\nfrom seg_ros.__main__ import main\n'
        'torch.set_default_dtype(torch.float64)\nraise SystemExit(main())\n'
    )
    arguments = [str(script), 'train', '--config', str(recipe), '--device', 'cpu']
    arguments += ['--root', str(roots['cityscapes'])]
    launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    for run, how in (('one', []), ('two', launcher)):
        out = ['--out', str(tmp_path / run), '--json', str(tmp_path / run / 'result.json')]
        command = [sys.executable, *how, *arguments, *out]
        subprocess.run(command, check=True, env=ENVIRONMENT, timeout=300)
    one, two = (torch.load(tmp_path / n / 'last.pt', weights_only=True) for n in ('one', 'two'))
    losses = [[record['loss'] for record in run['history']] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    for part in ('network', 'average'):
        assert bool(one[part]) == (part == 'network' or 'ema' in changes)
        assert one[part].keys() == two[part].keys()
        for name, tensor in one[part].items():
            assert tensor.dtype != torch.float32
            # A bias before a batch norm has no gradient but rounding's.
            allowed = 1e-7 * tensor.abs().max() + 1e-9
            assert (tensor - two[part][name]).abs().max() <= allowed, f'{part} {name}'
    results = [json.loads((tmp_path / run / 'result.json').read_text()) for run in ('one', 'two')]
    assert results[0]['images_seen'] == results[1]['images_seen'] == 4 * len(losses[0])
    # The whole validation set, each process its part.
    assert results[0]['miou'] == pytest.approx(results[1]['miou'], abs=1e-3)


# Power cuts and full disks


def test_killed_at_a_random_moment_and_resumed_it_ends_with_the_same_weights(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, epochs=12, ema=0.9)
    command = [sys.executable, '-m', 'seg_ros', 'train', '--config', str(recipe), '--device']
    command += ['cpu', '--root', str(roots['cityscapes']), '--resume', '--out']

    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, str(tmp_path / name)], env=ENVIRONMENT)

    assert start('whole').wait(300) == 0
    seed = random.SystemRandom().randrange(10**6)
    print(f'seed of the moments: {seed}')
    moments = random.Random(seed)
    kills = 0
    for _ in range(3):
        process = start('killed')
        last = tmp_path / 'killed' / 'last.pt'
        before = last.stat().st_mtime_ns if last.exists() else 0
        # Some epochs on, so that each life achieves something, and then at any step or file.
        while process.poll() is None and (not last.exists() or last.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.4))
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        torch.load(last, weights_only=True)  # whole, whenever the kill came
    assert kills, 'always too late to kill it'
    assert start('killed').wait(300) == 0
    for name in ('last.pt', 'best.safetensors'):
        whole, resumed = (weights(tmp_path / run / name) for run in ('whole', 'killed'))
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(tensor, resumed[key]) for key, tensor in whole.items()), name


def test_a_full_disk_leaves_the_last_good_checkpoint(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / 'out'
    root = roots['cityscapes']
    assert train(recipe, root, out) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    limit = 64 * 1024
    assert len(before['last.pt']) > limit

    def fill() -> None:
        """Let no file grow further, as a full disk would."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, '-m', 'seg_ros', 'train', '--config', str(recipe), '--root']
    command += [str(root), '--out', str(out), '--resume', '--set', 'epochs=3', '--device', 'cpu']
    done = subprocess.run(
        command, env=ENVIRONMENT, preexec_fn=fill, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2, done.stderr
    assert 'last.pt' in done.stderr or 'best.safetensors' in done.stderr
    assert 'What was there before is whole. Make room' in done.stderr
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    # With room again it goes on.
    assert train(recipe, root, out, '--resume', '--set', 'epochs=3') == 0
    assert torch.load(out / 'last.pt', weights_only=True)['epoch'] == 3


class Code:
    """Runs when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ('owned',)


@pytest.mark.parametrize('damage', ['truncated', 'empty', 'code', 'other'])
def test_a_damaged_checkpoint_is_not_resumed(
    roots: dict[str, Path],
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
    assert train(recipe, roots['cityscapes'], last.parent, '--resume') == 2
    message = capsys.readouterr().err
    assert f'{last}: expected what a training left' in message
    assert 'another folder' in message
    assert last.read_bytes() == content
    assert not (tmp_path / 'owned').exists(), 'code in a file was run'


def test_a_training_is_not_resumed_with_another_recipe(
    roots: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / 'out'
    assert train(recipe, roots['cityscapes'], out) == 0
    other = write_recipe(tmp_path / 'other', ohem=0.7)
    assert train(other, roots['cityscapes'], out, '--resume') == 2
    assert 'expected a training with ohem: 0.7; found 0.0' in capsys.readouterr().err


# What is wrong with the data is said before the first step


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
        ({'network': {**TINY['network'], 'alpha': 'x'}}, 'network: expected numbers'),
        ({'batch': 1}, 'batch: expected 2 or more; found 1'),
        ({'splits': ['train', 5]}, r"splits to be like \('train', 'val'\); found \('train', 5\)"),
        ({'precision': 'fp16'}, 'fp16 needs a GPU'),
        ({'dataset': 'pascal'}, 'camvid.*pascal'),
        ({'learning_rate': 1e30, 'optimizer': 'sgd', 'warm_up': 0.0}, 'finite loss.*Lower'),
    ],
    ids=str,
)
def test_a_training_that_cannot_be_says_why(
    roots: dict[str, Path],
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = write_recipe(tmp_path, **changes)
    assert train(recipe, roots['cityscapes'], tmp_path / 'out') == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / 'out' / 'last.pt').exists()


def test_a_loss_that_explodes_can_be_calmed(
    roots: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = write_recipe(tmp_path, optimizer='sgd', epochs=3), tmp_path / 'out'
    assert train(recipe, roots['cityscapes'], out, '--set', 'epochs=1') == 0
    before = (out / 'last.pt').read_bytes()
    high = ('--resume', '--set', 'learning_rate=1.0e+30')
    assert train(recipe, roots['cityscapes'], out, *high) == 2
    assert 'Lower learning_rate' in capsys.readouterr().err
    assert (out / 'last.pt').read_bytes() == before
    low = ('--resume', '--set', 'learning_rate=1.0e-4')
    assert train(recipe, roots['cityscapes'], out, *low) == 0


def test_a_training_is_not_resumed_with_other_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = write_recipe(tmp_path, dataset='folder'), tmp_path / 'out'
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
    assert 'expected labelled pixels; found none but ignored ones in 4' in capsys.readouterr().err


def test_what_a_kill_left_half_written_is_cleared(roots: dict[str, Path], tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / 'out'
    assert train(recipe, roots['cityscapes'], out, '--set', 'epochs=1') == 0
    for name in ('.last.pt.x1y2', '.best.safetensors.z3'):
        (out / name).write_bytes(b'half')
    assert train(recipe, roots['cityscapes'], out, '--resume') == 0
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
    roots: dict[str, Path],
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        code = train(write_recipe(tmp_path), roots['cityscapes'], tmp_path / 'out', *arguments)
    except SystemExit as stop:  # argparse's own way
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_images_come_from_disk_where_they_do_not_fit(
    roots: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(write_recipe(tmp_path, class_weight_power=0.5, paste=0.5))
    recipe = replace(recipe, root=str(roots['cityscapes']))
    memory = Training(recipe, tmp_path / 'memory')
    assert isinstance(memory.loader.dataset.samples, Held)
    monkeypatch.setattr('seg_ros.training.images.MEMORY_SHARE', 0.0)
    disk = Training(recipe, tmp_path / 'disk')
    assert held(disk.data) is disk.data is disk.loader.dataset.samples
    assert torch.equal(memory.weights, disk.weights)
    assert memory.loader.dataset.donors == disk.loader.dataset.donors != {}
    for one, other in zip(memory.loader, disk.loader):
        assert all(torch.equal(a, b) for a, b in zip(one, other))
