# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`compress`, killed or not: what it makes of a network, and what that is good for."""

from __future__ import annotations

import json
from pathlib import Path
import random
import re
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from small_compressions import ARCHITECTURE, arguments, compress, Inputs, write_inputs
from small_trainings import ENVIRONMENT
import torch
import yaml

from seg_ros.__main__ import main
from seg_ros.datasets.camvid import camvid
from seg_ros.inference.checkpoint import add_ranges, load_checkpoint
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.preprocessing import Preprocessing
from seg_ros.inference.quantization import calibrate, quantize
from seg_ros.inference.segmenter import Segmenter
from seg_ros.metrics.confusion_matrix import ConfusionMatrix
from seg_ros.models.cost import cost_by_branch, total
from seg_ros.pruning.compression import prune
from seg_ros.pruning.trade_off import parameters
from seg_ros.training.config import load_recipe
from seg_ros.training.loop import Training

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return write_inputs(tmp_path_factory.mktemp('inputs'))


@pytest.fixture(scope='module')
def compressed(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compress(inputs, tmp_path_factory.mktemp('compressed'))


def test_each_step_starts_from_the_one_before(compressed: dict[str, Any], inputs: Inputs) -> None:
    rows = {row['network']: row for row in compressed['results']}
    names = ['1', '0.75 pruned', '0.75 fine-tuned', '0.5 pruned', '0.5 fine-tuned']
    assert list(rows) == [*names, f'baseline {inputs.model}']
    assert [rows[n]['architecture']['width'] for n in names] == [
        0.125,
        *[0.09375] * 2,
        *[0.0625] * 2,
    ]
    loaded = {name: load_checkpoint(row['checkpoint']) for name, row in rows.items()}
    for wide, narrow in (('1', '0.75 pruned'), ('0.75 fine-tuned', '0.5 pruned')):
        again = prune(loaded[wide], loaded[narrow].architecture)
        for name, tensor in again.network.state_dict().items():
            assert torch.equal(tensor, loaded[narrow].network.state_dict()[name])
    for pruned, tuned in (names[1:3], names[3:]):
        weights = (loaded[n].network.state_dict()['squeeze.0.weight'] for n in (pruned, tuned))
        assert not torch.equal(*weights)
    assert compressed['checkpoint'] == rows['0.5 fine-tuned']['checkpoint']
    # By default a quarter of the recipe's epochs, at half its rate.
    assert (compressed['epochs'], compressed['learning_rate']) == (3, 1e-3)
    made = loaded['0.5 fine-tuned'].training
    assert (made['recipe']['epochs'], made['recipe']['learning_rate']) == (3, 1e-3)


def test_a_compressed_network_says_what_it_came_from(
    compressed: dict[str, Any], inputs: Inputs
) -> None:
    *_, half, _ = (load_checkpoint(row['checkpoint']) for row in compressed['results'])
    first, second = half.training['compressed']
    assert first.items() >= {
        'from': 'wide.safetensors',
        'sha256': load_checkpoint(inputs.model).sha256,
        'architecture': ARCHITECTURE,
        'data': 'other streets',
        'terms': 'theirs',
        'keep': 0.75,
        'parts': ['head', 'branches'],
    }.items()  # fmt: skip
    assert 'L1 norm' in first['ranking']
    assert (second['from'], second['keep']) == ('keep_0.75.safetensors', 0.5)
    assert second['architecture']['width'] == 0.09375
    assert half.training['data'] == 'CamVid'
    assert half.preprocessing.mean == (9.0, 8.0, 7.0), 'it sees what the wide one has seen'
    assert half.input_size == (65, 97)
    assert half.activation_ranges == {}
    pruned = load_checkpoint(compressed['results'][1]['checkpoint'])
    assert pruned.activation_ranges == {}
    assert 'miou' not in pruned.training, 'which was of the wide one'


def test_the_table_holds_what_it_says(compressed: dict[str, Any], inputs: Inputs) -> None:
    for row in compressed['results'][1:3]:
        checkpoint = load_checkpoint(row['checkpoint'])
        assert row['parameters'] == parameters(checkpoint)
        assert row['multiply_adds'] == total(cost_by_branch(checkpoint.network, (65, 97))).macs
        assert row['latency_ms']['p50'] > 0
        segmenter = Segmenter(checkpoint, device='cpu', backend='torch', precision='fp32')
        for split in ('val', 'test'):
            matrix = ConfusionMatrix(11)
            for image, truth in (camvid(inputs.root, split)[i] for i in range(4)):
                matrix.update(segmenter.predict(image).labels, truth)
            assert row['miou'][split] == pytest.approx(matrix.miou())
    whole, *_, baseline = compressed['results']
    assert {**baseline, 'network': '1', 'latency_ms': 0} == {**whole, 'latency_ms': 0}


def test_a_compressed_network_runs_in_every_engine(
    compressed: dict[str, Any], inputs: Inputs
) -> None:
    pytest.importorskip('openvino')
    image, _ = camvid(inputs.root, 'val')[0]
    labels = [
        Segmenter(compressed['checkpoint'], device='cpu', backend=b, precision='fp32')
        .predict(image)
        .labels
        for b in ('torch', 'openvino')
    ]
    assert len(np.unique(labels[0])) > 1
    assert (labels[0] == labels[1]).mean() >= 0.999


def test_a_compressed_network_is_calibrated_and_quantized(
    compressed: dict[str, Any], inputs: Inputs, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(compressed['checkpoint'])
    pixels = torch.from_numpy(camvid(inputs.root, 'val')[0][0].copy())[None]
    add_ranges(
        compressed['checkpoint'], tmp_path / 'c.safetensors', calibrate(checkpoint, [pixels])
    )
    calibrated = load_checkpoint(tmp_path / 'c.safetensors')
    plain = Deployed(calibrated)
    with torch.no_grad():
        exact, rounded = (
            n(pixels) for n in (plain, quantize(plain, calibrated.activation_ranges))
        )
    assert 0 < (exact - rounded).abs().mean() < 0.1 * exact.std()
    assert calibrated.training == checkpoint.training


def test_training_goes_on_from_a_compressed_network(
    compressed: dict[str, Any], inputs: Inputs, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(compressed['checkpoint'])
    changes = (
        f'network={json.dumps(checkpoint.architecture)}', 'epochs=1', f'root={inputs.root}',
        f'pretrained={compressed["checkpoint"]}',
    )  # fmt: skip
    training = Training(load_recipe(inputs.recipe, changes), tmp_path)
    for name, tensor in checkpoint.network.state_dict().items():
        assert torch.equal(training.network.state_dict()[name], tensor), name
    training.run()
    # And the fine-tuning itself, beyond its last epoch.
    folder = Path(compressed['results'][-2]['checkpoint']).with_suffix('')
    recipe_of_it = {**checkpoint.training['recipe'], 'root': str(inputs.root), 'epochs': 4}
    path = tmp_path / 'again.yaml'
    path.write_text(yaml.safe_dump({**recipe_of_it, 'pretrained': ''}))
    copied = tmp_path / 'fine-tuning'
    copied.mkdir()
    (copied / 'last.pt').write_bytes((folder / 'last.pt').read_bytes())
    (copied / 'best.safetensors').write_bytes((folder / 'best.safetensors').read_bytes())
    again = Training(load_recipe(path), copied)
    again.resume()
    assert again.epoch == 3
    assert again.origin.preprocessing == checkpoint.preprocessing != Preprocessing()
    assert again.run()['epochs'] == 4


def test_killed_at_any_moment_it_ends_with_the_same_weights(
    compressed: dict[str, Any], inputs: Inputs, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    command = [sys.executable, '-m', 'seg_ros', *arguments(inputs, out, '--resume')]

    seed = random.SystemRandom().randrange(10**6)
    print(f'seed of the moments: {seed}')
    moments = random.Random(seed)
    process = subprocess.Popen(command, env=ENVIRONMENT)
    try:
        # Some files on, and then at any moment.
        written: set[tuple[Path, int]] = set()
        wanted = moments.randint(1, 10)
        while process.poll() is None and len(written) < wanted:
            files = (*out.rglob('*.pt'), *out.rglob('*.safetensors'))
            written |= {(file, file.stat().st_mtime_ns) for file in files}
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        assert process.poll() is None, 'too late to kill it'
    finally:
        process.kill()
        process.wait()
    torch.save(0, out / '.keep_0.5.safetensors.x1y2')  # as a kill amid writing leaves it
    assert subprocess.run(command, env=ENVIRONMENT, timeout=1200).returncode == 0
    assert not list(out.rglob('.*'))
    for row in compressed['results'][1:-1]:
        expected = Path(row['checkpoint'])
        found = out / expected.relative_to(Path(compressed['checkpoint']).parent)
        weights = [load_checkpoint(file).network.state_dict() for file in (expected, found)]
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(t, weights[1][name]) for name, t in weights[0].items()), found


def test_what_is_there_is_neither_overwritten_nor_mistaken(
    compressed: dict[str, Any],
    inputs: Inputs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = Path(compressed['checkpoint']).parent
    before = {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    again = arguments(inputs, out)
    assert main(again) == 2
    assert (
        f'{out}: expected a folder without a compression; found keep_0.5'
        in capsys.readouterr().err
    )
    assert main([*again, '--resume', '--epochs', '7']) == 2
    assert re.search(r'arguments\.json: expected epochs: 7; found 3', capsys.readouterr().err)
    other = tmp_path / 'other.safetensors'
    add_ranges(inputs.model, other, {})
    assert main([*arguments(inputs._replace(model=other), out), '--resume']) == 2
    assert re.search(r'arguments\.json: expected model: ', capsys.readouterr().err)
    assert before == {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    # With the same arguments nothing is made anew.
    assert main([*again, '--resume']) == 0
    assert before == {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
