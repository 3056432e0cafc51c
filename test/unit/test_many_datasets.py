# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`train` on several data sets at once, and `evaluate` across data sets and cameras."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
import re
import shutil
from typing import Any

from dataset_layouts import drawn, write_camvid, write_camvid32
import numpy as np
import pytest
import torch
import yaml

from seg_ros.__main__ import main
from seg_ros.datasets.camvid import camvid
from seg_ros.datasets.folder import folder
from seg_ros.images.image_file import Image, write_image
from seg_ros.images.labels import CAMVID, CITYSCAPES, LabelSet
from seg_ros.inference.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from seg_ros.inference.segmenter import Segmenter
from seg_ros.metrics.cameras import CameraRow, means, worst
from seg_ros.models import build_model
from seg_ros.training.config import load_recipe
from seg_ros.training.images import Joined
from seg_ros.training.loop import Training

pytestmark = pytest.mark.usefixtures('one_thread')

SIZE = (64, 96)
NETWORK = {'name': 'bisenetv2', 'head_width': 8, 'booster_width': 8, 'alpha': 0.125}
TINY = {
    'network': NETWORK,
    'dataset': 'folder',
    'crop': [64, 96],
    'scale': [0.8, 1.25],
    'batch': 2,
    'epochs': 2,
    'precision': 'fp32',
    'paste': 0.5,
    'lovasz': 0.5,
}
# The CamVid id of each Cityscapes class, in the order of ids.
BELONGS = np.array([3, 4, 1, 1, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10])


def write_street(root: Path, labels: LabelSet = CITYSCAPES, fold: Any = None) -> Path:
    """Write a data set whose splits have three images of each of two cameras, and one other."""
    values = (0, *range(19), 255)
    for number, (split, i, image, ids) in enumerate(
        drawn(('train', 'val'), 7, SIZE[::-1], 5, values)
    ):
        camera = ('left/', 'right/', '')[i // 3]
        if fold is not None:
            ids = np.where(ids == 255, 255, fold[np.minimum(ids, 18)]).astype(np.uint8)
        write_image(root / f'images/{split}/{camera}{number:03}.png', image)
        write_image(root / f'labels/{split}/{camera}{number:03}.png', ids)
    rows = ['id,name', *(f'{i},{name}' for i, name in enumerate(labels.names))]
    (root / 'classes.csv').write_text('\n'.join(rows))
    return root


@pytest.fixture(scope='module')
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp('data')
    return {
        'street': write_street(base / 'street'),
        'coarse': write_street(base / 'coarse', CAMVID, BELONGS),
        'camvid': write_camvid(base / 'camvid'),
        'camvid32': write_camvid32(base / 'camvid32'),
    }


# Training


def write_recipe(folder: Path, roots: dict[str, Path], **changes: Any) -> Path:
    """Write a recipe for street images and CamVid's, these with a weight of 2.5."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'recipe.yaml'
    sets = [{}, {'dataset': 'camvid', 'root': str(roots['camvid']), 'weight': 2.5}]
    content = {**TINY, 'root': str(roots['street']), 'datasets': sets, **changes}
    path.write_text(yaml.safe_dump(content))
    return path


def train(recipe: Path, out: Path, *more: str) -> int:
    return main(['train', '--config', str(recipe), '--out', str(out), '--device', 'cpu', *more])


@pytest.fixture(scope='module')
def trained(roots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a training on both data sets."""
    out = tmp_path_factory.mktemp('trained')
    assert train(write_recipe(out, roots), out, '--json', str(out / 'result.json')) == 0
    return out


def test_the_checkpoint_names_all_data(trained: Path) -> None:
    best = load_checkpoint(trained / 'best.safetensors')
    assert best.labels.names == CITYSCAPES.names
    facts = best.training
    assert (facts['data'], facts['split']) == ('street, CamVid', 'train')
    assert facts['terms'].startswith('not stated; CamVid (')
    assert 'research use' in facts['terms']
    assert facts['recipe']['datasets'] == [
        {'dataset': '', 'root': '', 'split': '', 'weight': 1.0, 'mapping': ''},
        {'dataset': 'camvid', 'root': '', 'split': '', 'weight': 2.5, 'mapping': ''},
    ]
    assert '/' not in json.dumps(facts['recipe']), 'a folder of this machine'
    # Two epochs of 7 street images and 10 of CamVid's 4, of which one is in no batch.
    assert json.loads((trained / 'result.json').read_text())['images_seen'] == 2 * 16
    assert set(facts['miou']) == {'val'}


def test_a_resumed_training_ends_the_same(
    trained: Path, roots: dict[str, Path], tmp_path: Path
) -> None:
    moved = {
        name: Path(shutil.copytree(path, tmp_path / path.name)) for name, path in roots.items()
    }
    whole, parts = torch.load(trained / 'last.pt'), tmp_path / 'out'
    training = Training(load_recipe(write_recipe(parts, roots)), parts)
    training._train_epoch(_Bar())
    training.epoch = 1
    training.best = -1.0
    training._save()
    assert train(write_recipe(parts, moved), parts, '--resume') == 0
    state = torch.load(parts / 'last.pt')
    assert state['epoch'] == whole['epoch'] == 2
    for name, tensor in whole['network'].items():
        assert torch.equal(state['network'][name], tensor), name


class _Bar:
    def update(self, _: int) -> None: ...

    def set_postfix(self, **_: object) -> None: ...


def test_another_weight_is_another_training(
    trained: Path, roots: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [{}, {'dataset': 'camvid', 'root': str(roots['camvid']), 'weight': 2.0}]
    recipe = write_recipe(trained / 'other', roots, datasets=sets)
    assert train(recipe, trained, '--resume') == 2
    assert 'expected a training with datasets' in capsys.readouterr().err


def test_images_pixels_and_weights_are_those_of_the_parts(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    training = Training(load_recipe(write_recipe(tmp_path, roots)), tmp_path)
    street, other = folder(roots['street'], 'train'), camvid(roots['camvid'], 'train')
    assert isinstance(training.data, Joined)
    assert len(training.data) == len(street) + len(other) == 11
    # CamVid's 1, 5, 6, 8 and 10 are groups of classes; 255 is ignored in either data set.
    new = [10, 19, 5, 0, 1, 20, 21, 4, 22, 11, 23]
    told, merged = np.zeros(19), np.zeros(5)
    for i in range(7):
        ids = training.data[i][1]
        np.testing.assert_array_equal(ids, street[i][1])
        told += [(ids == c).sum() for c in range(19)]
    for i in range(4):
        ids = training.data[7 + i][1]
        expected = [255 if v == 255 else new[v] for v in other[i][1].ravel().tolist()]
        assert ids.ravel().tolist() == expected
        told += [2.5 * (ids == c).sum() for c in range(19)]
        merged += [2.5 * (ids == 19 + g).sum() for g in range(5)]
    groups = [{2, 3}, {8, 9}, {6, 7}, {13, 14, 15, 16}, {12, 17, 18}]
    assert training.groups.tolist() == [[c in group for c in range(19)] for group in groups]
    counts = told.copy()
    for pixels, group in zip(merged, groups):
        for c in group:
            counts[c] += pixels * told[c] / sum(told[list(group)])
    weights = (np.median(counts) / counts) ** 0.5
    means = [np.average(weights[list(g)], weights=told[list(g)]) for g in groups]
    np.testing.assert_allclose(training.weights, [*weights, *means], rtol=1e-5)
    # Only pixels whose class is known for certain are pasted.
    for c, images in training.loader.dataset.donors.items():
        assert c < 19 and images == [i for i in range(11) if (training.data[i][1] == c).any()]
    shown = {int(i) for _, labels in training.loader for i in labels.unique()}
    assert {19, 20, 21, 22, 23} <= shown <= {*range(24), 255}


def test_the_same_set_twice_is_the_set_twice(roots: dict[str, Path], tmp_path: Path) -> None:
    alone = load_recipe(write_recipe(tmp_path, roots, datasets=[]))
    assert alone.sources == load_recipe(write_recipe(tmp_path, roots, datasets=[{}])).sources
    once, named = (
        Training(alone, tmp_path),
        Training(replace(alone, datasets=alone.sources), tmp_path),
    )
    assert once.groups is named.groups is None
    assert torch.equal(once.weights, named.weights)
    for one, other in zip(once.loader, named.loader):
        assert all(torch.equal(a, b) for a, b in zip(one, other))


HOLE = {name: 'sky' for name in CAMVID.names if name not in ('fence', 'car')}
HEDGE = {**HOLE, 'fence': 'hedge', 'car': 'car'}


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ({'dataset': 'camvid32'}, 'CamVid32: expected the classes of folder (road, sidewalk, '),
        ({'dataset': 'camvid32'}, 'found Animal, Archway, Bicyclist'),
        ({'dataset': 'camvid32'}, 'or to a YAML file'),
        ({'dataset': 'camvid', 'mapping': HOLE}, 'mapping.yaml: expected every class'),
        ({'dataset': 'camvid', 'mapping': HOLE}, 'found nothing about fence, car. Say what'),
        (
            {'dataset': 'camvid', 'mapping': HEDGE},
            'mapping.yaml: expected to map fence to any of road, sidewalk',
        ),
        ({'dataset': 'camvid', 'mapping': HEDGE}, 'found hedge'),
        ({'dataset': 'camvid', 'mapping': 'none'}, "or a YAML file; found 'none'"),
        ({'dataset': 'camvid', 'split': 'nowhere'}, 'nowhere.txt: expected a list'),
        ({'dataset': 'pascal'}, "dataset: expected one of camvid, camvid32, cityscapes"),
        ({'dataset': 'camvid', 'weight': 0}, 'datasets: weight: expected more than 0; found 0'),
        ({'dataset': 'camvid', 'weight': '1e-1'}, "expected weight to be like 1.0; found '1e-1'"),
        ({'data': 'camvid'}, 'datasets: expected mappings with any of dataset, root'),
        ('camvid', "found 'camvid'"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_ends_the_command(
    roots: dict[str, Path], tmp_path: Path, source: Any, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if isinstance(source, dict):
        source = {'root': str(roots.get(source.get('dataset', ''), tmp_path)), **source}
        if isinstance(source.get('mapping'), dict):
            (tmp_path / 'mapping.yaml').write_text(yaml.safe_dump(source['mapping']))
            source['mapping'] = str(tmp_path / 'mapping.yaml')
    recipe = write_recipe(tmp_path, roots, datasets=[{}, source])
    assert train(recipe, tmp_path / 'out') == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_list_is_asked_for(
    roots: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, roots, datasets={'dataset': 'camvid'})
    assert train(recipe, tmp_path / 'out') == 2
    assert 'datasets: expected a list of mappings; found' in capsys.readouterr().err


# Evaluation


def write_network(path: Path, labels: LabelSet) -> Path:
    """Write a network with random weights that uses most of its classes."""
    torch.manual_seed(2)
    spec = {**NETWORK, 'num_classes': len(labels)}
    network = build_model(spec)
    with torch.no_grad():
        for _ in range(10):
            network.train()(torch.randn(2, 3, *SIZE))
    save_checkpoint(path, Checkpoint(network.eval(), spec, labels, SIZE))
    return path


@pytest.fixture(scope='module')
def fine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp('fine') / 'fine.safetensors', CITYSCAPES)


@pytest.fixture(scope='module')
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp('coarse') / 'coarse.safetensors', CAMVID)


def evaluate(model: Path, out: Path, *arguments: object) -> dict[str, Any]:
    command = ['evaluate', '--model', model, '--device', 'cpu', '--backend', 'torch']
    command += ['--precision', 'fp32', '--json', out / 'result.json', *arguments]
    assert main([*map(str, command)]) == 0
    result: dict[str, Any] = json.loads((out / 'result.json').read_text())
    return result


def refused(capsys: pytest.CaptureFixture[str], model: Path, *arguments: object) -> str:
    assert main([*map(str, ['evaluate', '--model', model, '--device', 'cpu', *arguments])]) == 2
    return capsys.readouterr().err


def predictions(model: Path, images: list[Image]) -> list[Image]:
    segmenter = Segmenter(model, device='cpu', backend='torch', precision='fp32')
    return [segmenter.predict(image).labels for image in images]


def counted(classes: int, predicted: list[Image], truth: list[Image]) -> list[list[int]]:
    """Return a confusion matrix, (classes, classes + 1), pixel by pixel; ids may be 255."""
    counts = np.zeros((classes, classes + 1), int)
    for guess, true in zip(predicted, truth):
        for g, t in zip(guess.ravel().tolist(), true.ravel().tolist()):
            if t != 255:
                counts[t, min(g, classes)] += 1
    return counts.tolist()


def test_19_classes_on_camvid_by_hand(roots: dict[str, Path], fine: Path, tmp_path: Path) -> None:
    where = ('--dataset', 'camvid', '--root', roots['camvid'], '--split', 'test')
    result = evaluate(fine, tmp_path, *where)
    data = camvid(roots['camvid'], 'test')
    images, truth = zip(*(data[i] for i in range(len(data))))
    guesses = [BELONGS[labels] for labels in predictions(fine, images)]
    assert len(np.unique(guesses)) > 4
    assert result['confusion_matrix'] == counted(11, guesses, truth)
    assert tuple(result['iou']) == CAMVID.names
    assert (result['dataset'], result['split'], result['worst_camera']) == (
        'camvid', 'test', 'CamVid test',
    )  # fmt: skip


def test_a_folded_matrix_is_that_of_folded_classes(
    roots: dict[str, Path], fine: Path, tmp_path: Path
) -> None:
    full = evaluate(fine, tmp_path, '--dataset', 'folder', '--root', roots['street'])
    folded = np.zeros((11, 12), int)
    for t, row in enumerate(full['confusion_matrix']):
        for p, pixels in enumerate(row[:-1]):
            folded[BELONGS[t], BELONGS[p]] += pixels
    assert folded.sum() > 10_000
    same = evaluate(fine, tmp_path, '--dataset', 'folder', '--root', roots['coarse'])
    assert same['confusion_matrix'] == folded.tolist()
    assert full['images'] == same['images'] == 7


def test_11_classes_on_19_by_hand(roots: dict[str, Path], coarse: Path, tmp_path: Path) -> None:
    result = evaluate(coarse, tmp_path, '--dataset', 'folder', '--root', roots['street'])
    other = evaluate(coarse, tmp_path, '--dataset', 'folder', '--root', roots['coarse'])
    assert tuple(result['iou']) == CAMVID.names
    assert result['confusion_matrix'] == other['confusion_matrix']
    assert result['cameras'] != [] and result['miou'] == other['miou']


def test_a_row_a_camera_by_hand(
    roots: dict[str, Path], fine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / 'report.html'
    where = ('--dataset', 'folder', '--root', roots['street'], '--report', report)
    result = evaluate(fine, tmp_path, *where)
    said = capsys.readouterr().out
    data = folder(roots['street'], 'val')
    expected: dict[str, list[int]] = {
        'street val': [],
        'street val, left': [],
        'street val, right': [],
    }
    for i, (image, _) in enumerate(data.pairs):
        camera = {'left': ', left', 'right': ', right', 'val': ''}[image.parent.name]
        expected[f'street val{camera}'].append(i)
    assert [row['name'] for row in result['cameras']] == [*expected]
    total = np.zeros((19, 20), int)
    for row, (name, places) in zip(result['cameras'], expected.items()):
        images, truth = zip(*(data[i] for i in places))
        counts = np.array(counted(19, predictions(fine, images), truth))
        total += counts
        hits = counts.diagonal()
        union = counts.sum(1) + counts[:, :-1].sum(0) - hits
        iou = hits[union > 0] / union[union > 0]
        assert (row['images'], row['classes']) == (len(places), len(iou))
        assert row['miou'] == pytest.approx(iou.mean())
        assert row['pixel_accuracy'] == pytest.approx(hits.sum() / counts.sum())
        assert [v for v in row['iou'].values() if v is not None] == pytest.approx(iou.tolist())
        assert name in report.read_text() and re.search(rf'{name} +{len(places)} ', said)
    assert result['confusion_matrix'] == total.tolist()
    low = min(result['cameras'], key=lambda row: row['miou'])
    assert result['worst_camera'] == low['name']
    assert f'worst camera: {low["name"]}, mIoU {low["miou"]:.4f}' in said
    assert f'{low["name"]}, with a mean IoU of {low["miou"]:.3f}' in report.read_text()


def test_several_sets_in_one_table(
    roots: dict[str, Path], fine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / 'report.html'
    both = (f'folder={roots["street"]}', f'camvid={roots["camvid"]}:train+val')
    result = evaluate(fine, tmp_path, '--datasets', *both, '--report', report)
    said = capsys.readouterr().out
    street = evaluate(fine, tmp_path, '--dataset', 'folder', '--root', roots['street'])
    other = evaluate(
        fine, tmp_path, '--dataset', 'camvid', '--root', roots['camvid'], '--split', 'train+val'
    )
    assert result['cameras'] == street['cameras'] + other['cameras']
    assert [row['name'] for row in result['cameras']][3:] == ['CamVid train+val']
    for found, alone in zip(result['datasets'], (street, other)):
        assert {name: alone[name] for name in found if name != 'name'} == {
            name: value for name, value in found.items() if name != 'name'
        }
    rows = result['cameras']
    assert result['images'] == 15
    assert result['miou'] == pytest.approx(np.mean([row['miou'] for row in rows]))
    accuracy = np.mean([row['pixel_accuracy'] for row in rows])
    assert result['pixel_accuracy'] == pytest.approx(accuracy)
    skies = [row['iou']['sky'] for row in rows if row['iou']['sky'] is not None]
    assert result['iou']['sky'] == pytest.approx(np.mean(skies))
    assert result['iou']['tree'] == rows[3]['iou']['tree']
    assert result['worst_camera'] == min(rows, key=lambda row: row['miou'])['name']
    page = report.read_text()
    for row in rows:
        assert row['name'] in said and f'<th scope="row">{row["name"]}</th>' in page
    assert re.search(r'<h2[^>]*>street val</h2>', page)
    assert re.search(r'<h2[^>]*>CamVid train\+val</h2>', page)
    assert len(re.findall(r'<h3[^>]*>Which classes are seen well\?</h3>', page)) == 2


def test_sets_and_their_mappings_from_a_file(
    roots: dict[str, Path], fine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping, sets = tmp_path / 'mapping.yaml', tmp_path / 'sets.yaml'
    # Only CamVid's ground and sky are scored.
    known = {'sky': 'sky', 'road': 'road', 'pavement': ['sidewalk', 'terrain']}
    mapping.write_text(yaml.safe_dump({name: known.get(name, 'ignored') for name in CAMVID.names}))
    place = {'dataset': 'camvid', 'root': str(roots['camvid'])}
    sets.write_text(yaml.safe_dump([place, {**place, 'split': 'val', 'mapping': str(mapping)}]))
    result = evaluate(fine, tmp_path, '--datasets', sets)
    assert [row['name'] for row in result['cameras']] == ['CamVid test', 'CamVid val']
    data = camvid(roots['camvid'], 'val')
    images, truth = zip(*(data[i] for i in range(len(data))))
    guess = {10: 0, 0: 3, 1: 4, 9: 4}
    guesses = [np.vectorize(lambda c: guess.get(c, 255))(p) for p in predictions(fine, images)]
    truth = [np.where(np.isin(ids, (0, 3, 4)), ids, 255) for ids in truth]
    assert result['datasets'][1]['confusion_matrix'] == counted(11, guesses, truth)
    # The same by --mapping.
    where = ('--dataset', 'camvid', '--root', roots['camvid'], '--split', 'val')
    alone = evaluate(fine, tmp_path, *where, '--mapping', mapping)
    assert alone['confusion_matrix'] == result['datasets'][1]['confusion_matrix']
    mapping.write_text(yaml.safe_dump(known))
    said = refused(capsys, fine, '--datasets', sets)
    assert f'{mapping}: expected every class that it maps from; found nothing about buil' in said


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--datasets', 'camvid=x', '--root', 'x'], '--root: expected it with one --dataset'),
        (['--datasets', 'camvid=x', '--submission', 'x'], '--submission: expected it with one'),
        (['--datasets', 'pascal=x'], "--datasets: expected one of .*; found 'pascal'"),
        (['--datasets', 'camvid'], '--datasets: expected the folder of camvid; found nothing'),
        (['--datasets', 'camvid=/none:test'], '/none/test.txt: expected a list'),
        (['--datasets', 'none.yaml'], 'none.yaml'),
        (['--dataset', 'camvid', '--root', 'x', '--mapping', 'none'], "none|expected a list"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_done_is_said(
    fine: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(message, refused(capsys, fine, *arguments))


def test_classes_that_do_not_fit_are_said(
    roots: dict[str, Path], fine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, fine, '--dataset', 'camvid32', '--root', roots['camvid32'])
    assert 'camvid32: expected a network of its 31 classes (Animal, ' in said
    assert f'found 19 in {fine} (road, ' in said


def test_means_and_the_worst_of_cameras_by_hand() -> None:
    nan = float('nan')
    rows = [
        CameraRow('a', 2, 2, 0.5, 0.9, {'road': 0.8, 'car': 0.2}),
        CameraRow('b', 100, 1, 0.4, 0.7, {'road': 0.4, 'car': nan}),
        CameraRow('c', 1, 0, nan, nan, {'sky': nan}),
    ]
    lowest = worst(rows)
    assert lowest is not None and lowest.name == 'b'
    assert worst(rows[2:]) is None
    found = means(rows)
    assert found['images'] == 103
    assert (found['miou'], found['pixel_accuracy']) == pytest.approx((0.45, 0.8))
    assert found['iou'] == pytest.approx({'road': 0.6, 'car': 0.2, 'sky': nan}, nan_ok=True)
