# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `evaluate`: scores, compared with official scripts and counting, and files."""

from __future__ import annotations

from itertools import product
from pathlib import Path
import pickle
import re
import shutil

import cv2
import numpy as np
import pytest
from small_evaluations import (
    evaluate,
    floats,
    IMAGES,
    pictures,
    result_of,
    run,
    SIZE,
    write_data,
    write_network,
)
import torch

from seg_ros.__main__ import main
from seg_ros.commands import evaluate as evaluate_tool
from seg_ros.datasets.catalog import DATASETS
from seg_ros.datasets.cityscapes import cityscapes, LABEL_IDS
from seg_ros.images.image_file import write_image
from seg_ros.images.labels import CITYSCAPES, LabelSet
from seg_ros.inference.checkpoint import load_checkpoint
from seg_ros.inference.preprocessing import resize
from seg_ros.inference.segmenter import Segmenter
from seg_ros.metrics.boundary import BoundaryScores, TOLERANCE
from seg_ros.metrics.cityscapes import instance_files, read_instances, write_submission
from seg_ros.metrics.confusion_matrix import ConfusionMatrix
from seg_ros.metrics.scores import Scores
from seg_ros.reports.dataset_report import Gallery, SHOWN
from seg_ros.reports.sections import confusions, error_map

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp('cityscapes'))


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp('weights') / 'random.safetensors', CITYSCAPES)


@pytest.fixture(scope='module')
def evaluated(root: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluate(root, model, tmp_path_factory.mktemp('evaluated'))


# Cityscapes' own scripts


def official(monkeypatch: pytest.MonkeyPatch, root: Path, submission: Path) -> dict:
    """Return the scores of cityscapesScripts for a submission."""
    # The scripts are older than NumPy 2.4, which dropped this name of the function.
    monkeypatch.setattr(np, 'in1d', np.isin, raising=False)
    name = 'cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling'
    scripts = pytest.importorskip(name)
    args = scripts.CArgs()
    vars(args).update(vars(scripts.args), quiet=True, JSONOutput=False)
    args.predictionPath, args.predictionWalk = str(submission), None
    truths = sorted(map(str, root.glob('gtFine/val/*/*_gtFine_labelIds.png')))
    assert len(truths) == IMAGES
    predictions = [scripts.getPrediction(args, truth) for truth in truths]
    return scripts.evaluateImgLists(predictions, truths, args)


def assert_official(result: dict, theirs: dict) -> None:
    counts, full = np.array(result['confusion_matrix']), np.array(theirs['confMatrix'])
    ids = list(LABEL_IDS)
    rest = [i for i in range(34) if i not in ids]
    assert full[np.ix_(rest, range(34))].sum() > 0, 'nothing in this set is ignored'
    np.testing.assert_array_equal(counts[:, :-1], full[np.ix_(ids, ids)])
    np.testing.assert_array_equal(counts[:, -1], full[np.ix_(ids, rest)].sum(1))
    for ours, name, average in (
        ('iou', 'classScores', 'averageScoreClasses'),
        ('category_iou', 'categoryScores', 'averageScoreCategories'),
        ('iiou', 'classInstScores', 'averageScoreInstClasses'),
        ('category_iiou', 'categoryInstScores', 'averageScoreInstCategories'),
    ):
        scores = floats(result[ours])
        expected = [theirs[name][key] for key in result[ours]]
        assert np.isfinite(scores).sum() == np.isfinite([*theirs[name].values()]).sum()
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)
        mean = result['miou' if ours == 'iou' else f'mean_{ours}']
        assert mean == pytest.approx(theirs[average], rel=0, abs=1e-12)


def test_scores_are_those_of_the_official_scripts(root, evaluated, monkeypatch) -> None:
    result = result_of(evaluated)
    assert result['images'] == IMAGES
    assert_official(result, official(monkeypatch, root, evaluated / 'submission'))


def test_scores_are_the_official_ones_when_some_is_right_and_some_unsure(
    root, tmp_path, monkeypatch
) -> None:
    data = cityscapes(root, 'val')
    scores = Scores(CITYSCAPES, objects=True)
    for i, instances in enumerate(instance_files(data)):
        rng = np.random.default_rng(i)
        truth = data[i][1]
        # `wall` and `train` are in no label file: one is predicted, the other never occurs.
        predicted = rng.choice([*range(16), 17, 18, 255], truth.shape).astype(np.uint8)
        predicted = np.where((rng.random(truth.shape) < 0.7) & (truth != 255), truth, predicted)
        scores.update(predicted, truth, read_instances(instances, truth.shape))
        write_submission(tmp_path, data.source(i), predicted)
    result = scores.result()
    assert np.isnan(result['iou']['train']) and np.isnan(result['iiou']['train'])
    assert result['iou']['wall'] == 0
    assert scores.matrix.counts[:, -1].sum() > 100
    assert_official(result, official(monkeypatch, root, tmp_path))
    assert 0.4 < result['mean_category_iiou'] < 1


def test_iou_is_torchmetrics(root, model, evaluated) -> None:
    metrics = pytest.importorskip('torchmetrics.classification')
    metric = metrics.MulticlassJaccardIndex(19, ignore_index=255, average='none')
    data, segmenter = cityscapes(root, 'val'), Segmenter(model, device='cpu', precision='fp32')
    for i in range(IMAGES):
        image, truth = data[i]
        labels = segmenter.predict(image).labels
        metric.update(torch.from_numpy(labels).int(), torch.from_numpy(truth).int())
    iou = [value or 0.0 for value in result_of(evaluated)['iou'].values()]
    np.testing.assert_allclose(iou, metric.compute().numpy(), rtol=0, atol=1e-6)


def test_submission_is_what_the_server_takes(root, model, evaluated) -> None:
    data, segmenter = cityscapes(root, 'val'), Segmenter(model, device='cpu', precision='fp32')
    files = {path.name: path for path in (evaluated / 'submission').iterdir()}
    assert files.keys() == {Path(data.source(i)).name for i in range(IMAGES)}
    for i in range(IMAGES):
        path = files[Path(data.source(i)).name]
        assert re.fullmatch(r'[a-z]+_\d{6}_\d{6}_leftImg8bit\.png', path.name)
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert (ids.dtype, ids.shape) == (np.uint8, SIZE)
        expected = np.array(LABEL_IDS)[segmenter.predict(data[i][0]).labels]
        np.testing.assert_array_equal(ids, expected)


def test_submission_of_the_test_split_claims_no_score(root, model, tmp_path, capsys) -> None:
    files = ('--json', tmp_path / 'result.json', '--report', tmp_path / 'report.html')
    files += ('--submission', tmp_path / 'submission')
    split = ('--dataset', 'cityscapes', '--root', root, '--split', 'test')
    assert run(*split, '--model', model, *files) == 0
    result = result_of(tmp_path)
    for name in ('miou', 'pixel_accuracy', 'mean_boundary_f', 'mean_category_iou', 'mean_iiou'):
        assert result[name] is None
    assert set(result['iou'].values()) == {None}
    assert (result['images'], result['split']) == (IMAGES, 'test')
    assert len(list((tmp_path / 'submission').iterdir())) == IMAGES
    assert 'mIoU none' in capsys.readouterr().out
    assert 'Every pixel of these labels is ignored' in (tmp_path / 'report.html').read_text()


def test_without_instance_files_there_is_no_iiou(root, model, tmp_path, capsys) -> None:
    copy = shutil.copytree(root, tmp_path / 'copy')
    files = sorted(copy.glob('gtFine/val/*/*instanceIds.png'))
    command = ('--dataset', 'cityscapes', '--root', copy, '--model', model)
    files[0].write_bytes(b'no image')
    assert run(*command) == 2
    message = f'{files[0].name}: expected a label image of one 16-bit channel'
    assert message in capsys.readouterr().err
    files[0].unlink()
    assert run(*command) == 2
    assert f'{files[0].name}: expected instance ids beside' in capsys.readouterr().err
    for file in files[1:]:
        file.unlink()
    assert run(*command, '--json', tmp_path / 'result.json') == 0
    result = result_of(tmp_path)
    assert not [name for name in result if 'iiou' in name]
    assert result['mean_category_iou'] > 0


# Boundary F-score


def outlines(labels: np.ndarray, valid: np.ndarray, classes: int) -> list[np.ndarray]:
    """Return the places, (N, 2), of each class's boundary pixels, one by one."""
    places: list[list] = [[] for _ in range(classes)]
    height, width = labels.shape
    labels, valid = labels.tolist(), valid.tolist()
    for y, x in product(range(height), range(width)):
        c = labels[y][x]
        if valid[y][x] and c < classes:
            around = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
            inside = [(v, u) for v, u in around if 0 <= v < height and 0 <= u < width]
            places[c] += [(y, x)] * any(valid[v][u] and labels[v][u] != c for v, u in inside)
    return [np.array(found, float).reshape(-1, 2) for found in places]


def boundary_by_hand(pairs: list, classes: int) -> list[float]:
    means = []
    edges = [
        (truth.shape, *(outlines(labels, truth != 255, classes) for labels in (truth, guess)))
        for guess, truth in pairs
    ]
    for c in range(classes):
        scores = []
        for shape, all_true, all_found in edges:
            true, found = all_true[c], all_found[c]
            if not len(true):
                continue
            if not len(found):
                scores.append(0.0)
                continue
            reach = TOLERANCE * np.sqrt(shape[0] ** 2 + shape[1] ** 2)
            near = np.sqrt(((true[:, None] - found[None]) ** 2).sum(2)) <= reach
            precision, recall = near.any(0).mean(), near.any(1).mean()
            scores.append(2 * precision * recall / (precision + recall) if precision else 0.0)
        means.append(np.mean(scores) if scores else np.nan)
    return means


def test_boundary_score_is_the_written_definition() -> None:
    pairs = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        coarse = rng.choice([0, 1, 2, 3, 4, 255], (8, 10)).astype(np.uint8)
        truth = cv2.resize(coarse, (200, 150), interpolation=cv2.INTER_NEAREST)  # 250 across
        guess = np.roll(truth, rng.integers(-3, 4, 2), (0, 1))
        guess[guess == 255] = 2
        guess[40:60, 30:90] = 1
        guess[100:110, :50] = 255
        guess[guess == 4] = 3
        pairs.append((guess, truth))
    scores = BoundaryScores(6)
    for pair in pairs:
        scores.update(*pair)
    expected = boundary_by_hand(pairs, 6)
    np.testing.assert_allclose(scores.f_scores(), expected, rtol=1e-12)
    assert 0.2 < min(expected[:4]) < max(expected[:4]) < 0.95
    assert expected[4] == 0 and np.isnan(expected[5])


@pytest.mark.parametrize('shift', range(8))
def test_boundary_within_the_tolerance_counts(shift: int) -> None:
    truth = np.zeros((240, 320), np.uint8)  # 400 across: 3 pixels
    truth[:, 160:] = 1
    scores = BoundaryScores(2)
    guess = np.zeros_like(truth)
    guess[:, 160 + shift :] = 1
    scores.update(guess, truth)
    np.testing.assert_array_equal(scores.f_scores(), [float(shift <= 3)] * 2)


def test_boundary_of_ignored_pixels_is_none() -> None:
    truth = np.full((30, 40), 255, np.uint8)
    truth[:, 20:] = 1
    scores = BoundaryScores(2)
    scores.update(np.zeros_like(truth), truth)
    assert np.isnan(scores.f_scores()).all()


# Options


def test_scales_and_flip_average_probabilities(root, model, tmp_path) -> None:
    options = ('--scales', 0.75, 1, 1.5, '--flip', '--json', tmp_path / 'result.json')
    assert run('--dataset', 'cityscapes', '--root', root, '--model', model, *options) == 0
    checkpoint, data = load_checkpoint(model), cityscapes(root, 'val')
    matrix = ConfusionMatrix(19)
    for i in range(IMAGES):
        image, truth = data[i]
        pixels = torch.from_numpy(image)[None]
        probabilities = []
        for size in ((48, 72), (64, 96), (96, 144)):
            for mirror in (False, True):
                seen = resize(pixels, size).permute(0, 3, 1, 2).float()
                seen = seen.flip(3) if mirror else seen
                with torch.no_grad():
                    x = checkpoint.preprocessing.normalise(seen)
                    logits = checkpoint.network.coarse_logits(x)
                    one = checkpoint.network.upsample(logits, truth.shape).softmax(1)
                probabilities.append(one.flip(3) if mirror else one)
        mean = torch.stack(probabilities).mean(0)[0].numpy()
        matrix.update(mean.argmax(0).astype(np.uint8), truth)
    result = result_of(tmp_path)
    assert (result['scales'], result['flip']) == ([0.75, 1.0, 1.5], True)
    found = np.array(result['confusion_matrix'])
    # Either class may win a tie.
    assert np.abs(found - matrix.counts).sum() <= 4
    assert found.sum() == matrix.counts.sum()


def test_one_scale_and_no_flip_is_predict(root, model, evaluated) -> None:
    segmenter = Segmenter(model, device='cpu', precision='fp32')
    image = cityscapes(root, 'val')[0][0]
    labels = segmenter.predict(image).labels
    assert (segmenter.predict_averaged(image, [1.0], False) == labels).mean() > 0.999
    assert (segmenter.predict_averaged(image, [1.0], True) == labels).mean() < 0.999
    with pytest.raises(ValueError, match='expected images of uint8 RGB'):
        segmenter.predict_averaged(image.astype(np.float32), [1.0], False)


def test_the_result_says_what_was_used(evaluated, model) -> None:
    result = result_of(evaluated)
    expected = {
        'model': str(model), 'device': 'cpu', 'backend': 'openvino', 'precision': 'fp32',
        'input_size': list(SIZE),
    }  # fmt: skip
    assert {name: result[name] for name in expected} == expected
    used = [result[name] for name in ('dataset', 'split', 'scales', 'flip')]
    assert used == ['cityscapes', 'val', [1.0], False]


# The report


def test_report_shows_scores_and_frames(evaluated) -> None:
    result, page = result_of(evaluated), (evaluated / 'report.html').read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # the page loads no other file
    for name in ('miou', 'pixel_accuracy', 'mean_boundary_f', 'mean_iiou', 'mean_category_iou'):
        assert f'<b>{result[name]:.3f}</b>' in page
    assert page.count('<svg') == 2
    # Of five frames, four are the best and one is the worst; each is shown in four images.
    assert len(pictures(evaluated / 'report.html')) == 4 * IMAGES
    captions = re.findall(r'<figcaption>mIoU ([\d.]+), ([^<]+)<', page)
    scores = [float(score) for score, _ in captions]
    assert scores[:4] == sorted(scores[:4], reverse=True)
    assert scores[4] <= scores[3]
    names = {path.stem for path in (evaluated / 'submission').iterdir()}
    assert {name for _, name in captions} == names
    for name in CITYSCAPES.names:
        assert f'{name}</span>' in page


def test_most_frequent_confusions_by_hand() -> None:
    labels = LabelSet(('road', 'car', 'sky'), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    counts = np.array([[90, 10, 0, 0], [0, 1000, 25, 0], [0, 0, 0, 5]])
    assert confusions(counts, labels) == [
        ('car', 'sky', '2.4%', '62.5%', '25'),
        ('road', 'car', '10.0%', '25.0%', '10'),
        ('sky', 'unlabeled', '100.0%', '12.5%', '5'),
    ]


def test_error_map_by_hand() -> None:
    image = np.full((1, 4, 3), 100, np.uint8)
    truth = np.array([[0, 0, 255, 1]], np.uint8)
    predicted = np.array([[0, 1, 1, 255]], np.uint8)
    right, wrong, ignored, unsure = error_map(image, truth, predicted)[0].tolist()
    assert wrong == unsure == [214, 39, 40]
    assert ignored == [0, 0, 0]
    assert right[0] == right[1] == right[2] > 150


def test_gallery_keeps_few_small_frames_of_many() -> None:
    gallery, rng = Gallery(), np.random.default_rng(0)
    scores = rng.permutation(40) / 40
    image = np.zeros((500, 1000, 3), np.uint8)
    labels = np.zeros((500, 1000), np.uint8)
    for i, score in enumerate(scores):
        gallery.add(score, i, f'{i}.png', image, labels, labels)
    gallery.add(float('nan'), 40, 'ignored.png', image, labels, labels)
    assert [f.score for f in gallery.best()] == sorted(scores, reverse=True)[:SHOWN]
    assert [f.score for f in gallery.worst()] == sorted(scores)[:SHOWN]
    for frame in (*gallery.best(), *gallery.worst()):
        assert frame.source == f'{list(scores).index(frame.score)}.png'
        assert frame.image.shape == (240, 480, 3)
        assert frame.truth.shape == frame.predicted.shape == (240, 480)


# What cannot be evaluated


@pytest.fixture
def copy(root, tmp_path) -> Path:
    return shutil.copytree(root, tmp_path / 'copy')


def test_damaged_weights_are_refused(root, model, tmp_path, capsys) -> None:
    weights = tmp_path / 'weights.safetensors'
    command = ('--dataset', 'cityscapes', '--root', root, '--model', weights)
    weights.write_bytes(model.read_bytes()[:-1000])
    assert run(*command) == 2
    said = capsys.readouterr().err
    assert 'weights.safetensors: expected a checkpoint' in said and 'again' in said
    weights.write_bytes(pickle.dumps(Code(tmp_path / 'ran')))
    assert run(*command) == 2
    assert 'weights.safetensors: expected a checkpoint' in capsys.readouterr().err
    assert not (tmp_path / 'ran').exists()


class Code:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_network_of_other_classes_is_refused(root, tmp_path, capsys) -> None:
    labels = LabelSet(('road', 'car'), ((0, 0, 0), (1, 1, 1)))
    model = write_network(tmp_path / 'two.safetensors', labels)
    assert run('--dataset', 'cityscapes', '--root', root, '--model', model) == 2
    said = capsys.readouterr().err
    assert 'cityscapes: expected a network of its 19 classes (road, sidewalk, ' in said
    assert 'found 2 in' in said and 'two.safetensors (road, car)' in said


def test_wrong_label_files_are_refused(copy, model, tmp_path, capsys) -> None:
    command = ('--dataset', 'cityscapes', '--root', copy, '--model', model)
    command += ('--json', tmp_path / 'result.json', '--report', tmp_path / 'report.html')
    labels = sorted(copy.glob('gtFine/val/*/*labelIds.png'))[2]
    write_image(labels, np.zeros((*SIZE, 3), np.uint8))
    assert run(*command) == 2
    assert re.search(rf'{labels.name}: expected .*one 8-bit channel', capsys.readouterr().err)
    labels.unlink()
    assert run(*command) == 2
    assert f'{labels.name}: expected the labels of' in capsys.readouterr().err
    assert not list(tmp_path.glob('re*'))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--split', 'none'], "expected images in split 'none'; found none"),
        (['--scales', '1', '0'], r'--scales: expected numbers above 0; found \[1.0, 0.0\]'),
        (['--dataset', 'camvid', '--submission', 'x'], '--submission: expected --dataset city'),
        (['--dataset', 'camvid', '--root', ''], '--root: expected the folder of camvid'),
        (['--report', '.'], r'--report: expected a file to write; found the folder \.'),
        (['--device', 'cuda:77'], "found 'cuda:77'"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said(root, model, arguments, message, capsys) -> None:
    command = ['evaluate', '--dataset', 'cityscapes', '--root', str(root), '--model', str(model)]
    assert main([*command, *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_every_data_set_can_be_named() -> None:
    assert set(evaluate_tool.DATASETS) == set(DATASETS)
