# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`train` as its users run it: every recipe, several processes, power cuts."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
import random
import signal
import subprocess
import sys
import time
from typing import Any

import dataset_layouts
import numpy as np
import pytest
from small_trainings import ENVIRONMENT, train, weights, write_recipe
import torch

from seg_ros.datasets.catalog import open_dataset
from seg_ros.training.config import load_recipe
from seg_ros.training.loop import Training

pytestmark = pytest.mark.usefixtures('one_thread')

RECIPES = sorted(Path(__file__).parents[2].glob('config/training/*.yaml'))


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


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_every_recipe_takes_steps_in_the_official_layout(
    path: Path, roots: dict[str, Path], tmp_path: Path
) -> None:
    recipe = load_recipe(path)
    # The streets of many cameras are a folder.
    data = 'street' if path.stem.endswith('_street') else recipe.dataset
    family = recipe.network['name'].removesuffix('_lite')  # ICNet on another backbone is ICNet
    assert path.stem.startswith(f'{family}_{data}')
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
            pretrained='',
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
        subprocess.run(command, check=True, env=ENVIRONMENT, timeout=1200)
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


# Power cuts


def test_killed_at_a_random_moment_and_resumed_it_ends_with_the_same_weights(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, epochs=12, ema=0.9)
    command = [sys.executable, '-m', 'seg_ros', 'train', '--config', str(recipe), '--device']
    command += ['cpu', '--root', str(roots['cityscapes']), '--resume', '--out']

    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, str(tmp_path / name)], env=ENVIRONMENT)

    assert start('whole').wait(1200) == 0
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
    assert start('killed').wait(1200) == 0
    for name in ('last.pt', 'best.safetensors'):
        whole, resumed = (weights(tmp_path / run / name) for run in ('whole', 'killed'))
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(tensor, resumed[key]) for key, tensor in whole.items()), name
