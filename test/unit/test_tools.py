# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands that users run, through their own entry point, with the shipped network."""

from dataclasses import asdict, fields
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_ros.__main__ import main
from seg_ros.commands.sample_drive import write_drive
from seg_ros.datasets.appearance import Appearance
from seg_ros.datasets.mappings import CAMVID_TO_CITYSCAPES
from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.images.image_file import (
    read_image,
    read_labels,
    write_image,
)
from seg_ros.images.labels import CAMVID
from seg_ros.images.overlay import legend, overlay
from seg_ros.images.palette import PALETTES, with_palette
from seg_ros.images.video_file import read_video, VideoWriter
from seg_ros.inference import DEFAULT_MODEL
from seg_ros.inference.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from seg_ros.inference.segmenter import Segmenter
from seg_ros.training.config import load_recipe, Recipe

ROOT = Path(__file__).parents[2]
FRAMES = 4
ENGINE = ('--backend', 'torch', '--precision', 'fp32')  # which is ready at once

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def drive() -> SampleDrive:
    return SampleDrive(seed=3, frames=FRAMES, size=(320, 240))


@pytest.fixture(scope='module')
def segmenter() -> Segmenter:
    return Segmenter(backend='torch', precision='fp32')


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('bag') / 'drive'
    write_drive(path, seed=3, frames=FRAMES, size=(320, 240))
    return path


@pytest.fixture(scope='module')
def folder(drive, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('images')
    for i in range(FRAMES):
        write_image(path / f'{i:03}.png', drive[i][0])
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_predict_writes_what_the_segmenter_says(folder, drive, segmenter, tmp_path):
    result_file = tmp_path / 'result.json'
    assert run('predict', folder, '--out', tmp_path, '--json', result_file, *ENGINE) == 0
    result = json.loads(result_file.read_text())
    assert result['frames'] == FRAMES
    assert result['fps'] > 0
    assert result['model'] == DEFAULT_MODEL
    image = drive[3][0]
    labels = segmenter.predict(image).labels
    np.testing.assert_array_equal(read_labels(tmp_path / '003.png'), labels)
    expected = overlay(image, labels, segmenter.labels.palette)
    difference = cv2.absdiff(read_image(tmp_path / '003_overlay.jpg'), expected)
    assert difference.mean() < 4  # it is a JPEG


def test_predict_draws_in_the_palette_asked_for(folder, drive, segmenter, tmp_path):
    arguments = ('--out', tmp_path, '--palette', 'colorblind', *ENGINE)
    assert run('predict', folder / '003.png', *arguments) == 0
    image = drive[3][0]
    labels = segmenter.predict(image).labels
    np.testing.assert_array_equal(read_labels(tmp_path / '003.png'), labels)
    palettes = [with_palette(segmenter.labels, name).palette for name in ('colorblind', 'model')]
    found = read_image(tmp_path / '003_overlay.jpg')
    right, other = (cv2.absdiff(found, overlay(image, labels, p)).mean() for p in palettes)
    assert right < 4 < 10 < other


def test_predict_of_a_video_is_a_video(drive, tmp_path):
    with VideoWriter(tmp_path / 'drive.mp4', 10) as writer:
        for i in range(FRAMES):
            writer.write(drive[i][0])
    assert run('predict', tmp_path / 'drive.mp4', '--out', tmp_path / 'out', *ENGINE) == 0
    frames = list(read_video(tmp_path / 'out' / 'drive_overlay.mp4'))
    assert len(frames) == FRAMES
    assert frames[0].shape == (240, 320, 3)


def test_predict_refuses_what_it_cannot_read(folder, tmp_path, capsys):
    out = ('--out', tmp_path / 'out', *ENGINE)
    (tmp_path / 'text.png').write_text('no image')
    assert run('predict', tmp_path / 'text.png', *out) == 2
    assert 'text.png: expected a JPEG, PNG' in capsys.readouterr().err
    assert run('predict', tmp_path / 'none', *out) == 2
    assert 'it does not exist' in capsys.readouterr().err
    assert run('predict', folder / '000.png', folder, *out) == 2
    assert 'expected inputs of different names' in capsys.readouterr().err
    assert run('predict', folder, *out, '--model', 'best_net') == 2
    assert 'expected a shipped network (bisenetv2_camvid' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
    with pytest.raises(SystemExit, match='2'):
        run('predict', folder, *out, '--palette', 'pretty')
    assert "'pretty' (choose from" in capsys.readouterr().err


def test_evaluate_counts_each_pixel_once(bag, drive, segmenter, tmp_path):
    out = tmp_path / 'result.json'
    data = ('--dataset', 'sample_drive', '--root', bag)
    assert run('evaluate', *data, '--json', out, *ENGINE) == 0
    result = json.loads(out.read_text())
    hits, union = np.zeros(11), np.zeros(11)
    for i in range(FRAMES):
        image, truth = drive[i]
        names = np.array([*segmenter.labels.names])[segmenter.predict(image).labels]
        for c, name in enumerate(drive.labels.names):
            said = np.isin(names, CAMVID_TO_CITYSCAPES[name]) & (truth != 255)
            hits[c] += np.sum(said & (truth == c))
            union[c] += np.sum(said | (truth == c))
    for name, hit, either in zip(drive.labels.names, hits, union):
        assert result['iou'][name] == (pytest.approx(hit / either) if either else None)
    assert result['miou'] == pytest.approx(np.mean((hits / union)[union > 0]))
    assert result['images'] == FRAMES


def test_models_names_what_is_shipped_and_its_terms(tmp_path, capsys):
    assert run('models', '--json', tmp_path / 'models.json') == 0
    shipped = json.loads((tmp_path / 'models.json').read_text())['models']
    assert set(shipped) == {'bisenetv2_street', 'icnet_street', 'bisenetv2_camvid', 'icnet_camvid'}
    assert 'research use' in capsys.readouterr().out
    cards = (ROOT / 'doc/networks.md').read_text()
    for name, facts in shipped.items():
        training = facts['training']
        assert 'for research use' in training['terms']
        assert training['split'] == 'train', 'chosen and scored on images it has not seen'
        assert Path(facts['path']).stat().st_size < 15e6
        # What it was made from is the recipe that comes with it.
        recipe = asdict(load_recipe(ROOT / f'config/training/{name}.yaml'))
        recipe['pretrained'] = Path(recipe['pretrained']).name
        # Keys that came later have the value that was meant before them.
        later = {f.name: f.default for f in fields(Recipe) if f.name not in training['recipe']}
        looks = {f.name for f in fields(Appearance)} - {'jitter'}
        assert set(later) <= {'auxiliary', 'datasets', 'full_size_loss', 'loss_stride', *looks}
        assert {**training['recipe'], **json.loads(json.dumps(later))} == json.loads(
            json.dumps(recipe)
        )
        classes = 11 if name.endswith('camvid') else 19
        assert facts['architecture'] == {**recipe['network'], 'num_classes': classes}
        height, width = facts['input_size']
        if name.endswith('camvid'):
            assert [height, width] == list(recipe['input_size'])
        else:  # chosen on val after the training
            text = (ROOT / f'config/training/{name}.yaml').read_text().replace('\n#', '')
            assert f'The shipped weights run at {width}x{height}, ' in text
        # The model card says what the weights say.
        card = cards[cards.index(f'### {name}') :].split('\n### ')[0].split('\n## ')[0]
        if 'test' in training['miou']:
            assert f'**{training["miou"]["test"]:.3f} on test**' in card
        assert f'{training["miou"]["val"]:.3f} on val' in card
        assert f'{training["images_seen"]:,} images' in card
        by_class = ', '.join(
            f'{label} {f"{value:.3f}".lstrip("0")}'
            for label, value in training['iou'][recipe['splits'][-1]].items()
        )
        assert by_class in card


def test_models_lists_what_is_in_a_folder(tmp_path, capsys):
    shipped = load_checkpoint(find_checkpoint('icnet_camvid'))
    origin = {'project': 'other', 'url': 'other.org/net', 'file': 'net.pth', 'sha256': '0'}
    step = {'from': 'wide.safetensors', 'architecture': {'name': 'icnet', 'width': 1}}
    shipped.training |= {'imported_from': origin, 'compressed': [step]}
    shipped.activation_ranges = {}
    save_checkpoint(tmp_path / 'mine' / 'runs' / 'net.safetensors', shipped)
    (tmp_path / 'mine' / 'bad.safetensors').write_text('no network')
    (tmp_path / 'mine' / 'notes.txt').write_text('no checkpoint')
    report = tmp_path / 'models.json'
    assert run('models', tmp_path / 'mine', 'bisenetv2_camvid', '--json', report) == 0
    found = json.loads(report.read_text())['models']
    good, bad = (
        str(tmp_path / 'mine' / name) for name in ('runs/net.safetensors', 'bad.safetensors')
    )
    assert set(found) == {good, bad, 'bisenetv2_camvid'}
    assert 'expected a checkpoint of seg_ros' in found[bad]['error']
    facts = found[good]
    assert facts['imported_from'] == origin and facts['compressed'] == [step]
    assert facts['miou'] == {
        'val': pytest.approx(0.676, abs=1e-3),
        'test': pytest.approx(0.549, abs=1e-3),
    }
    # As published: 7.26 billion at 512x1024; two thirds of a percent are rounded sizes.
    assert facts['multiply_adds'] / 1e9 == pytest.approx(7.26 * 577 * 769 / (512 * 1024), rel=0.06)
    assert facts['parameters'] / 1e6 == pytest.approx(6.70, abs=0.05)
    assert facts['int8_ranges'] == 0 < found['bisenetv2_camvid']['int8_ranges']
    shown = capsys.readouterr().out
    assert 'imported from other: net.pth' in shown
    assert 'compressed from wide.safetensors' in shown
    assert 'bad.safetensors: cannot be read' in shown


def test_models_refuses_what_is_named_and_unreadable(tmp_path, capsys):
    assert run('models', tmp_path) == 2
    assert (
        'expected a folder with checkpoints, *.safetensors; found none' in capsys.readouterr().err
    )
    (tmp_path / 'bad.safetensors').write_text('no network')
    assert run('models', tmp_path / 'bad.safetensors') == 2
    assert 'expected a checkpoint of seg_ros' in capsys.readouterr().err
    assert run('models', tmp_path, '--legend', tmp_path / 'legend.png') == 2
    assert 'expected one model to draw the classes of' in capsys.readouterr().err


@pytest.mark.parametrize('palette', PALETTES)
def test_models_draws_a_legend(palette, tmp_path):
    path = tmp_path / 'new' / 'legend.png'
    assert run('models', 'icnet_camvid', '--legend', path, '--palette', palette) == 0
    expected = legend(with_palette(CAMVID, palette), 11 * 32)
    np.testing.assert_array_equal(read_image(path), expected)


def test_models_draws_one_legend_or_says_why_not(tmp_path, capsys):
    path = tmp_path / 'legend.png'
    assert run('models', '--legend', path) == 2
    assert (
        'expected one model to draw the classes of; found 0. Name one' in capsys.readouterr().err
    )
    assert run('models', 'icnet_camvid', 'bisenetv2_camvid', '--legend', path) == 2
    assert 'found 2' in capsys.readouterr().err
    assert run('models', 'icnet_camvid', '--legend', tmp_path / 'legend.txt') == 2
    assert "expected an image ending such as .png or .jpg; found '.txt'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
