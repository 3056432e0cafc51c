# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training: data, augmentation, losses, schedule, recipes, and the loop from start to resume."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
import json
from math import ceil, exp, log
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from seg_ros.datasets.appearance import Appearance
from seg_ros.datasets.augmentation import Augmentation
from seg_ros.datasets.camvid import camvid
from seg_ros.images.image_file import write_image
from seg_ros.images.labels import CAMVID
from seg_ros.inference.checkpoint import load_checkpoint
from seg_ros.inference.segmenter import Segmenter
from seg_ros.metrics.evaluate import evaluate
from seg_ros.training.config import load_recipe, Recipe
from seg_ros.training.images import Batches, TrainingImages
from seg_ros.training.loop import Training
from seg_ros.training.losses import (
    class_weights,
    cross_entropy,
    distillation_loss,
    labels_of,
    lovasz_softmax,
    total_loss,
)
from seg_ros.training.schedule import learning_rate, make_optimizer

pytestmark = pytest.mark.usefixtures('one_thread')


def colour_of(labels: np.ndarray) -> np.ndarray:
    """Return an image, (H, W, 3), whose colours tell the labels, (H, W)."""
    return np.stack([labels * 20, 255 - labels * 20, 30 + labels * 7], -1).astype(np.uint8)


def blocks(seed: int, height: int = 64, width: int = 96, classes: int = 11) -> np.ndarray:
    """Return labels in blocks of 16 by 16 pixels."""
    coarse = np.random.default_rng(seed).integers(0, classes, (height // 16, width // 16))
    return np.kron(coarse, np.ones((16, 16), int)).astype(np.uint8)


# Augmentation


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'scale': (1.0, 1.0), 'flip': False},
        {'scale': (0.4, 0.6)},
        {'scale': (1.5, 2.5), 'stretch': 1.3},
        {'scale': (0.3, 3.0), 'stretch': 2.0},
    ],
    ids=str,
)
def test_image_and_labels_move_together(options: dict) -> None:
    augmentation = Augmentation((56, 72), **options)
    labels = 2 * blocks(0, classes=6)
    image = colour_of(labels)
    seen = set()
    for seed in range(20):
        new_image, new_labels = augmentation(image, labels, np.random.default_rng(seed))
        assert new_image.shape == (56, 72, 3)
        assert new_labels.shape == (56, 72)
        assert new_image.dtype == new_labels.dtype == np.uint8
        # Resizing labels makes no third class between two classes.
        assert set(np.unique(new_labels)) <= {0, 2, 4, 6, 8, 10, 255}
        expected = np.where((new_labels == 255)[..., None], (124, 116, 104), colour_of(new_labels))
        # Colours blend where two blocks meet, so compare pixels away from borders.
        windows = np.lib.stride_tricks.sliding_window_view(new_labels, (7, 7))
        inside = np.zeros((56, 72), bool)
        inside[3:-3, 3:-3] = (windows == windows[:, :, 3:4, 3:4]).all((2, 3))
        assert inside.mean() > 0.1
        assert np.abs(new_image.astype(int) - expected)[inside].max() <= 1
        seen.add(new_labels.tobytes())
    assert len(seen) > 1 or options.get('flip') is False


def test_labels_do_not_drift_against_the_image() -> None:
    """Return the place of a border in the image, to a fraction of a pixel, and in the labels."""
    drift = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        place = int(rng.integers(20, 44))
        for axis in (0, 1):
            labels = np.zeros((64, 64), np.uint8)
            labels[(np.s_[place:], np.s_[:, place:])[axis]] = 1
            image = np.stack([labels * 200] * 3, -1)
            scale = float(rng.uniform(0.5, 2.0))
            size = round(64 * scale)
            augmentation = Augmentation((size, size), (scale, scale), flip=False)
            new_image, new_labels = augmentation(image, labels, rng)
            border = (1 - new_labels).mean(1 - axis).sum()
            drift.append(border - (1 - new_image[..., 0] / 200).mean(1 - axis).sum())
    assert abs(np.mean(drift)) < 0.1, 'labels lie aside of what they label'
    assert np.abs(drift).max() < 1


def test_small_images_are_padded_with_ignored_pixels() -> None:
    labels = blocks(1)
    corners = set()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        augmentation = Augmentation((64, 96), (0.5, 0.5), flip=False)
        image, new_labels = augmentation(colour_of(labels), labels, rng)
        rows, columns = np.nonzero(new_labels != 255)
        assert len(rows) == 32 * 48
        assert (np.ptp(rows), np.ptp(columns)) == (31, 47)
        assert (image[new_labels == 255] == (124, 116, 104)).all()
        corners.add((int(rows[0]), int(columns[0])))
    assert len(corners) > 5, 'always at the same place'


def test_half_of_the_images_are_mirrored() -> None:
    labels = np.tile(np.arange(8, dtype=np.uint8), (8, 1))
    augmentation = Augmentation((8, 8), (1, 1))
    rng = np.random.default_rng(0)
    first = [augmentation(colour_of(labels), labels, rng)[1][0, 0] for _ in range(400)]
    assert set(first) == {0, 7}
    assert 0.4 < np.mean(np.equal(first, 7)) < 0.6


def test_scales_are_even_on_a_logarithmic_scale() -> None:
    labels = np.zeros((32, 32), np.uint8)
    labels[:, :16] = 1
    rng = np.random.default_rng(0)
    augmentation = Augmentation((256, 256), (0.25, 4.0), flip=False)
    shares = [
        (augmentation(colour_of(labels), labels, rng)[1] != 255).sum() / 32**2 for _ in range(300)
    ]
    scales = np.sqrt(shares)
    assert scales.min() >= 0.25
    assert scales.max() <= 4
    assert 0.4 < (scales < 1).mean() < 0.6
    assert 0.15 < (scales < 0.5).mean() < 0.35


def test_jitter_changes_colours_alone() -> None:
    labels = blocks(2)
    image = colour_of(labels)
    plain = Augmentation((48, 64))
    jittered = Augmentation((48, 64), appearance=Appearance(jitter=0.4))
    changed = 0
    for seed in range(10):
        image_0, labels_0 = plain(image, labels, np.random.default_rng(seed))
        image_1, labels_1 = jittered(image, labels, np.random.default_rng(seed))
        np.testing.assert_array_equal(labels_0, labels_1)
        changed += np.abs(image_0.astype(int) - image_1).mean() > 5
    assert changed >= 5


def test_augmentation_depends_on_its_random_numbers_alone() -> None:
    labels = blocks(3)
    image = colour_of(labels)
    augmentation = Augmentation((40, 40))
    copies = image.copy(), labels.copy()
    one, same, other = (augmentation(image, labels, np.random.default_rng(s)) for s in (1, 1, 2))
    for a, b in zip(one, same):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(one, other))
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(labels, copies[1])


def test_a_rare_class_is_pasted_with_its_pixels() -> None:
    samples = []
    for i in range(4):
        labels = np.full((32, 32), i % 2, np.uint8)
        if i == 3:
            labels[8:24, 8:24] = 5
        samples.append((colour_of(labels), labels))
    augmentation = Augmentation((32, 32))
    plain, pasting = (
        TrainingImages(samples, augmentation, 0, paste, {5: [3]}) for paste in (0.0, 1.0)
    )
    share = TrainingImages(samples, augmentation, 0, 0.3, {5: [3]})
    often = 0
    for epoch in range(40):
        image, labels = (x.numpy() for x in pasting[epoch, 0])
        before, labels_before = (x.numpy() for x in plain[epoch, 0])
        pasted = labels == 5
        # The pasted class has its own colour, and all other pixels are unchanged.
        np.testing.assert_array_equal(labels[~pasted], labels_before[~pasted])
        np.testing.assert_array_equal(image[:, ~pasted], before[:, ~pasted])
        off = np.abs(image.transpose(1, 2, 0)[pasted].astype(int) - colour_of(labels)[pasted])
        assert np.median(off) <= 1 or not pasted.any()
        often += (share[epoch, 0][1] == 5).any().item()
        assert not (labels_before == 5).any()
    assert 4 <= often <= 20


def test_items_and_order_depend_on_seed_and_epoch_alone() -> None:
    samples = [(colour_of(blocks(i)), blocks(i)) for i in range(4)]
    images = TrainingImages(samples, Augmentation((32, 32)), 5)
    first = images[0, 2]
    images[1, 3]
    assert all(torch.equal(a, b) for a, b in zip(first, images[0, 2]))
    assert first[0].shape == (3, 32, 32)
    assert first[0].dtype == first[1].dtype == torch.uint8
    assert not torch.equal(first[0], images[1, 2][0])
    assert not torch.equal(first[0], TrainingImages(samples, Augmentation((32, 32)), 6)[0, 2][0])
    orders = {}
    for seed in (0, 1):
        for epoch in (0, 1):
            batches = Batches(50, 8, seed)
            batches.epoch = epoch
            found = list(batches)
            assert found == list(batches)
            assert [len(batch) for batch in found] == [8] * len(batches) == [8] * 6
            keys = [key for batch in found for key in batch]
            assert {e for e, _ in keys} == {epoch}
            assert len({i for _, i in keys}) == 48
            orders[seed, epoch] = tuple(i for _, i in keys)
    assert len(set(orders.values())) == 4


# Losses


def by_hand(logits: Tensor, labels: Tensor, weights: list[float]) -> list[tuple[float, float]]:
    """Return (cross-entropy, weight) of each labelled pixel, in plain Python."""
    pixels = []
    for n in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                label = int(labels[n, y, x])
                if label != 255:
                    scores = [float(v) for v in logits[n, :, y, x]]
                    entropy = log(sum(exp(v) for v in scores)) - scores[label]
                    pixels.append((entropy, weights[label]))
    return pixels


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, list[float]]:
    """Return logits, labels of which some are ignored, and weights."""
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 8, 12))
    labels[torch.rand(2, 8, 12) < 0.2] = 255
    return 2 * torch.randn(2, 3, 8, 12), labels, [0.5, 1.0, 4.0]


def test_cross_entropy_by_hand(batch: tuple[Tensor, Tensor, list[float]]) -> None:
    logits, labels, weights = batch
    pixels = by_hand(logits, labels, weights)
    expected = sum(e * w for e, w in pixels) / sum(w for _, w in pixels)
    assert float(cross_entropy(logits, labels, torch.tensor(weights))) == pytest.approx(expected)
    # Sums are float32, also if the logits are in half precision.
    half = cross_entropy(logits.bfloat16(), labels, torch.tensor(weights))
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize('ohem', [0.05, 0.5, 2.0, 100.0])
def test_hard_pixels_by_hand(batch: tuple[Tensor, Tensor, list[float]], ohem: float) -> None:
    logits, labels, weights = batch
    hard = []
    for i in range(len(logits)):
        pixels = sorted(by_hand(logits[i : i + 1], labels[i : i + 1], weights), reverse=True)
        minimum = ceil(len(pixels) / 16)
        hard += [p for i, p in enumerate(pixels) if p[0] > ohem or i < minimum]
    expected = sum(e * w for e, w in hard) / sum(w for _, w in hard)
    found = cross_entropy(logits, labels, torch.tensor(weights), ohem)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    if ohem == 100.0:
        assert len(hard) == 2 * minimum


@pytest.mark.parametrize('ohem', [0.0, 0.7])
@pytest.mark.parametrize('label', [255, 1], ids=['all ignored', 'a class of weight 0'])
def test_nothing_to_learn_is_a_loss_of_0(ohem: float, label: int) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.full((2, 4, 4), label)
    loss = cross_entropy(logits, labels, torch.tensor([1.0, 0.0, 1.0]), ohem)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize('ohem', [0.0, 0.7])
def test_ignored_pixels_pass_no_gradient(
    batch: tuple[Tensor, Tensor, list[float]], ohem: float
) -> None:
    logits, labels, weights = batch
    logits.requires_grad_()
    cross_entropy(logits, labels, torch.tensor(weights), ohem).backward()
    assert not logits.grad.movedim(1, 3)[labels == 255].any()
    assert logits.grad.any()


def test_class_weights() -> None:
    counts = torch.tensor([100, 400, 0, 50, 25, 1600])
    # The median of the classes that occur is 100.
    expected = [1, 1 / 4, 0, 2, 4, 1 / 16]
    assert class_weights(counts, 1).tolist() == pytest.approx(expected)
    assert class_weights(counts, 0.5).tolist() == pytest.approx([1, 0.5, 0, 2**0.5, 2, 0.25])
    assert class_weights(counts, 0).tolist() == [1, 1, 0, 1, 1, 1]
    assert class_weights(counts, 1).dtype == torch.float32


def lovasz_by_hand(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the loss by its definition: the growth of a set function along the sorted errors."""
    losses = []
    for c in sorted(set(labels.tolist())):
        truth = labels == c
        errors = np.where(truth, 1 - probabilities[c], probabilities[c])
        wrong: set[int] = set()
        loss = before = 0.0
        for i in np.argsort(-errors):
            wrong.add(int(i))
            # The Jaccard loss if only these pixels were wrong: they leave, or join, the class.
            missed = sum(bool(truth[j]) for j in wrong)
            union = truth.sum() + len(wrong) - missed
            now = 1 - (truth.sum() - missed) / union
            loss, before = loss + errors[i] * (now - before), now
        losses.append(loss)
    return float(np.mean(losses))


def test_lovasz_by_hand(batch: tuple[Tensor, Tensor, list[float]]) -> None:
    logits, labels, weights = batch
    labels[labels == 2] = 0  # a class that does not occur counts for nothing
    valid = labels.flatten() != 255
    probabilities = logits.softmax(1).movedim(1, 0).flatten(1)[:, valid].numpy()
    expected = lovasz_by_hand(probabilities, labels.flatten()[valid].numpy())
    assert float(lovasz_softmax(logits, labels)) == pytest.approx(expected, rel=1e-5)
    plain = total_loss(logits, [], labels, torch.tensor(weights), ())
    sampled = lovasz_softmax(logits[..., ::4, ::4], labels[:, ::4, ::4])
    found = total_loss(logits, [], labels, torch.tensor(weights), (), lovasz=0.5)
    assert float(found) == pytest.approx(float(plain + 0.5 * sampled), rel=1e-6)


def test_lovasz_of_right_wrong_and_nothing() -> None:
    labels = torch.randint(0, 3, (1, 6, 6))
    right = 60 * F.one_hot(labels, 3).movedim(3, 1).float()
    assert float(lovasz_softmax(right, labels)) == pytest.approx(0, abs=1e-6)
    wrong = 60 * F.one_hot((labels + 1) % 3, 3).movedim(3, 1).float()
    assert float(lovasz_softmax(wrong, labels)) == pytest.approx(1, abs=1e-6)
    logits = torch.randn(1, 3, 6, 6, requires_grad=True)
    loss = lovasz_softmax(logits, torch.full((1, 6, 6), 255))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logits.grad.any()


def test_distillation_is_the_divergence_from_the_teacher(
    batch: tuple[Tensor, Tensor, list[float]],
) -> None:
    logits, labels, _ = batch
    teacher = torch.randn_like(logits)
    p, q = teacher.softmax(1), logits.softmax(1)
    expected = (p * (p / q).log()).sum(1)[labels != 255].mean()
    assert float(distillation_loss(logits, teacher, labels)) == pytest.approx(float(expected))
    assert float(distillation_loss(logits, logits, labels)) == pytest.approx(0, abs=1e-6)
    nothing = torch.full_like(labels, 255)
    assert float(distillation_loss(logits, teacher, nothing)) == 0


def test_total_loss_adds_the_auxiliary_ones(batch: tuple[Tensor, Tensor, list[float]]) -> None:
    logits, labels, weights = batch
    auxiliary = [torch.randn(2, 3, 4, 6), torch.randn(2, 3, 2, 3)]
    expected = 0.0
    for weight, stride, output in zip((1, 0.4, 0.16), (1, 2, 4), (logits, *auxiliary)):
        pixels = by_hand(output, labels[:, ::stride, ::stride], weights)
        expected += weight * sum(e * w for e, w in pixels) / sum(w for _, w in pixels)
    found = total_loss(logits, auxiliary, labels, torch.tensor(weights), (0.4, 0.16))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('size', [(64, 96), (50, 70), (33, 47), (90, 60)], ids=str)
def test_auxiliary_labels_fit_any_crop(size: tuple[int, int]) -> None:
    # Each block of labels has its own class, and logits predict the class where they stand.
    height, width = size
    labels = (torch.arange(height)[:, None] // 16 * 7 + torch.arange(width) // 16)[None]
    classes = int(labels.max()) + 1
    for stride in (4, 8, 16, 32):
        at = labels[:, ::stride, ::stride]
        logits = 50 * F.one_hot(at, classes).movedim(3, 1).float()
        main = torch.zeros(1, classes, *size)
        loss = total_loss(main, [logits], labels, torch.ones(classes), (1.0,))
        assert float(loss) == pytest.approx(log(classes), abs=1e-4), f'stride {stride}'


@pytest.mark.parametrize('size', [(64, 96), (50, 70), (90, 60)], ids=str)
def test_labels_of_what_a_resized_output_covers(size: tuple[int, int]) -> None:
    """After resizing to 1/4 without aligned corners, a pixel stands for the middle of 4x4."""
    height, width = size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    coarse = torch.zeros(1, 1, -(-height // 4), -(-width // 4))
    for place in (rows, columns):
        found = labels_of(coarse, place[None], middle=True)
        assert found.shape[1:] == coarse.shape[2:]
        side = width if place is columns else height
        middle = (torch.arange(found.shape[1 if place is rows else 2]) + 0.5) * 4 - 0.5
        found = found[0, :, 0] if place is rows else found[0, 0]
        assert (found - middle.clamp(max=side - 1)).abs().max() <= 0.5


# Schedule, optimizer, recipe


def test_learning_rate() -> None:
    recipe = Recipe({}, 'camvid', learning_rate=0.2, warm_up=0.1, power=0.9)
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.02 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(0.2)
    assert rates[55] == pytest.approx(0.2 * 0.5**0.9)
    assert rates[99] == pytest.approx(0.2 * (1 / 90) ** 0.9)
    assert all(a > b > 0 for a, b in pairwise(rates[10:]))
    # A training without warm-up, or with nothing else, does not divide by 0.
    assert learning_rate(replace(recipe, warm_up=0), 0, 100) == pytest.approx(0.2)
    assert learning_rate(replace(recipe, warm_up=1), 99, 100) == pytest.approx(0.2)
    assert learning_rate(recipe, 0, 1) == pytest.approx(0.2)


@pytest.mark.parametrize('name', ['adamw', 'sgd'])
def test_biases_and_norms_do_not_decay(name: str) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    optimizer = make_optimizer(Recipe({}, '', optimizer=name, weight_decay=0.3), network)
    decay = {
        id(p): group['weight_decay'] for group in optimizer.param_groups for p in group['params']
    }
    found = {n: decay[id(p)] for n, p in network.named_parameters()}
    assert found == {'0.weight': 0.3, '0.bias': 0.0, '1.weight': 0.0, '1.bias': 0.0}


NEEDED = 'network: {name: icnet}\ndataset: camvid\n'


def test_recipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'recipe.yaml'
    path.write_text(NEEDED + 'crop: [32, 64]\nlearning_rate: 0.5\nsplits: [train+val, test]\n')
    recipe = load_recipe(path)
    assert recipe == Recipe(
        {'name': 'icnet'}, 'camvid', crop=(32, 64), learning_rate=0.5, splits=('train+val', 'test')
    )


def test_the_command_line_changes_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / 'recipe.yaml'
    path.write_text(NEEDED + 'epochs: 5\n')
    recipe = load_recipe(path, ['epochs=7', 'crop=[1, 2]', 'learning_rate=1.0e-4', 'root=a=b'])
    assert (recipe.epochs, recipe.crop) == (7, (1, 2))
    assert (recipe.learning_rate, recipe.root) == (1e-4, 'a=b')
    with pytest.raises(ValueError, match='epoch'):
        load_recipe(path, ['epoch=7'])
    with pytest.raises(ValueError, match='1 or more; found 0'):
        load_recipe(path, ['epochs=0'])


@pytest.mark.parametrize('path', sorted(Path(__file__).parents[2].glob('config/training/*.yaml')))
def test_recipes_of_the_package_are_sound(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.epochs > 0
    assert 0 < recipe.learning_rate < 1


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        (NEEDED + 'lerning_rate: 0.1\n', 'lerning_rate'),
        ('dataset: camvid\n', r"\['dataset'\]"),
        ('network: {name: icnet}\n', r"\['network'\]"),
        ('- a list\n', 'a list'),
        ('', 'None'),
        ('network: {', 'YAML'),
        # YAML 1.1 reads a number without a point before its exponent as text.
        (NEEDED + 'learning_rate: 1e-3\n', '1e-3'),
        (NEEDED + 'crop: 288\n', '288'),
        (NEEDED + 'optimizer: lion\n', "adamw, sgd; found 'lion'"),
        (NEEDED + 'precision: half\n', "fp32, bf16, fp16; found 'half'"),
        (NEEDED + 'splits: [train]\n', r"two or three; found \('train',\)"),
        (NEEDED + 'crop: [288]\n', r'a height and a width; found \(288,\)'),
        (NEEDED + 'scale: [2.0, 0.5]\n', r'smallest.*found \(2.0, 0.5\)'),
        (NEEDED + 'batch: 1\n', '2 or more; found 1'),
        (NEEDED + 'ohem: -0.5\n', '0 or more; found -0.5'),
        (NEEDED + 'crop: [64.5, 96]\n', r'crop to be like \(288, 384\); found \(64.5, 96\)'),
        (NEEDED + 'paste: 1.5\n', '0 to 1; found 1.5'),
        (NEEDED + 'ema: true\n', 'found True'),
        ('network: icnet\ndataset: camvid\n', "network to be like {}; found 'icnet'"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / 'recipe.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=f'(?s)recipe.*expected.*{found}'):
        load_recipe(path)


# CamVid


def make_camvid(root: Path, splits: dict[str, int] | None = None) -> Path:
    """Write a data set of CamVid's layout, with images whose colours tell the labels."""
    for number, (split, count) in enumerate((splits or {'train': 8, 'val': 3}).items()):
        lines = []
        for i in range(count):
            labels = blocks(100 * number + i, classes=12)  # 11 is void
            write_image(root / split / f'{i}.png', colour_of(labels))
            write_image(root / f'{split}annot' / f'{i}.png', labels)
            lines.append(f'/SegNet/CamVid/{split}/{i}.png /SegNet/CamVid/{split}annot/{i}.png')
        (root / f'{split}.txt').write_text('\n'.join(lines) + '\n\n')
    return root


@pytest.fixture(scope='module')
def camvid_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp('camvid'))


# The loop


def street(seed: int) -> np.ndarray:
    """Return labels that resemble a street, 64 by 96, which are easier to learn than blocks."""
    rng = np.random.default_rng(seed)
    horizon, car = int(rng.integers(24, 40)), int(rng.integers(0, 64))
    labels = np.full((64, 96), CAMVID.names.index('sky'), np.uint8)
    labels[horizon - 12 : horizon, 32:80] = CAMVID.names.index('building')
    labels[horizon:] = CAMVID.names.index('road')
    labels[horizon : horizon + 16, car : car + 32] = CAMVID.names.index('car')
    return labels


@pytest.fixture(scope='module')
def street_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_camvid(tmp_path_factory.mktemp('street'))
    for split, first, count in (('train', 0, 8), ('val', 8, 3)):
        for i in range(count):
            labels = street(first + i)
            write_image(root / split / f'{i}.png', colour_of(labels))
            write_image(root / f'{split}annot' / f'{i}.png', labels)
    return root


TINY = Recipe(
    network={'name': 'bisenetv2', 'head_width': 16, 'booster_width': 8, 'alpha': 0.25},
    dataset='camvid',
    crop=(64, 96),
    scale=(0.8, 1.25),
    jitter=0.1,
    batch=2,
    epochs=6,
    learning_rate=2e-2,
    precision='fp32',
    ema=0.5,
)


CLOCK = ('seconds', 'images_per_second', 'waiting')


def tensors(state) -> dict[str, Tensor]:
    """Return all tensors and numbers in a nested state, by path."""
    if isinstance(state, dict):
        children = state.items()
    elif isinstance(state, (list, tuple)):
        children = enumerate(state)
    else:
        return {'': torch.as_tensor(state)} if not isinstance(state, str) else {}
    return {
        f'{key}/{path}': tensor
        for key, child in children
        if key not in CLOCK and child is not None
        for path, tensor in tensors(child).items()
    }


@pytest.fixture(scope='module')
def trained(street_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, dict]:
    """Return a short training that has ended, and its result."""
    out = tmp_path_factory.mktemp('trained')
    training = Training(replace(TINY, root=str(street_root)), out)
    return training, training.run()


def test_a_training_learns_and_keeps_the_best(
    trained: tuple[Training, dict], street_root: Path
) -> None:
    training, result = trained
    history = training.history
    assert [record['epoch'] for record in history] == list(range(1, 7))
    assert history[-1]['loss'] < 0.6 * history[0]['loss']
    best = max(history, key=lambda record: record['miou'])
    assert best['miou'] > 0.4
    # The stored weights are rounded to half precision, and these rounded weights are scored.
    assert result['miou'] == pytest.approx(best['miou'], abs=0.01)
    assert result == {
        'miou': result['miou'],
        'epochs': 6,
        'images_seen': 48,
        'checkpoint': str(training.out / 'best.safetensors'),
    }
    checkpoint = load_checkpoint(result['checkpoint'])
    assert checkpoint.labels == CAMVID
    assert checkpoint.input_size == (64, 96)
    facts = checkpoint.training
    assert facts['miou'] == {'val': result['miou']}
    assert list(facts['iou']['val']) == list(CAMVID.names)
    assert facts['epoch'] == best['epoch']
    assert facts['images_seen'] == 8 * best['epoch']
    assert (facts['data'], facts['split']) == ('CamVid', 'train')
    assert 'research' in facts['terms']
    assert str(street_root) not in json.dumps(facts), 'a path of this machine in the weights'
    # The stored file has the scores that its metadata says.
    data = camvid(street_root, 'val')
    again = evaluate(
        Segmenter(result['checkpoint'], device='cpu', backend='torch'), (data[i] for i in range(3))
    )
    assert again.miou() == pytest.approx(result['miou'], abs=1e-9)


def test_the_best_is_kept_when_later_ones_are_worse(
    street_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.6, 0.4, 0.6, 0.59])
    monkeypatch.setattr(
        'seg_ros.training.loop.evaluate',
        lambda *_: SimpleNamespace(
            counts=np.zeros((11, 12), int), miou=lambda: next(scores), iou=lambda: np.ones(11)
        ),
    )
    recipe = replace(TINY, root=str(street_root), epochs=8, validate_every=2, batch=8)
    result = Training(recipe, tmp_path).run()
    assert result['miou'] == 0.59  # the score of the stored weights
    facts = load_checkpoint(tmp_path / 'best.safetensors').training
    assert facts['epoch'] == 4
    assert facts['miou'] == {'val': 0.59}


def test_weights_are_averaged(trained: tuple[Training, dict]) -> None:
    training, _ = trained
    average = training.average.module.state_dict()
    current = training.network.state_dict()
    differ = [n for n, t in current.items() if not torch.equal(t, average[n])]
    assert 'detail.0.0.weight' in differ
    distance = (average['detail.0.0.weight'] - current['detail.0.0.weight']).abs().mean()
    assert 0 < distance < 0.1 * current['detail.0.0.weight'].abs().mean()


@pytest.fixture(scope='module')
def whole(street_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, dict]:
    """Return an even shorter training, and its result."""
    network = {**TINY.network, 'head_width': 8, 'alpha': 0.125}
    recipe = replace(TINY, root=str(street_root), network=network, batch=4, epochs=3)
    training = Training(recipe, tmp_path_factory.mktemp('whole'))
    return training, training.run()


class Stopped(Exception):
    """Stands for a loss of power."""


@pytest.mark.parametrize('moment', ['_train_epoch', '_validate', '_save'])
def test_a_resumed_training_ends_with_the_same_bits(
    whole: tuple[Training, dict], tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted, expected = whole
    recipe = uninterrupted.recipe
    training = Training(recipe, tmp_path)
    own = getattr(training, moment)

    def stop(*args):
        result = own(*args)
        if training.epoch == (1 if moment == '_train_epoch' else 2):
            raise Stopped
        return result

    monkeypatch.setattr(training, moment, stop)
    with pytest.raises(Stopped):
        training.run()
    resumed = Training(recipe, tmp_path)
    resumed.resume()
    assert resumed.epoch == (2 if moment == '_save' else 1)
    result = resumed.run()
    assert result == {**expected, 'checkpoint': str(tmp_path / 'best.safetensors')}
    folders = (uninterrupted.out, tmp_path)
    ends = [tensors(torch.load(out / 'last.pt', weights_only=True)) for out in folders]
    assert len(ends[0]) > 500
    assert ends[0].keys() == ends[1].keys()
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name
    bests = [load_checkpoint(out / 'best.safetensors') for out in folders]
    assert bests[0].training == bests[1].training
    for name, tensor in bests[0].network.state_dict().items():
        assert torch.equal(tensor, bests[1].network.state_dict()[name]), name


def test_a_finished_training_resumes_to_its_result(whole: tuple[Training, dict]) -> None:
    training, result = whole
    again = Training(training.recipe, training.out)
    again.resume()
    assert again.run() == result


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'dataset': 'pascal'}, r"dataset: expected one of .*camvid.*found 'pascal'"),
        ({'batch': 9}, 'batch: expected at most the 8 training images; found 9'),
        ({'network': {'name': 'unet'}}, "found 'unet'"),
        ({'splits': ('train', 'none')}, r'none\.txt'),
    ],
    ids=str,
)
def test_a_training_that_cannot_be_is_refused(
    street_root: Path, tmp_path: Path, change: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Training(replace(TINY, root=str(street_root), **change), tmp_path)


@pytest.mark.parametrize('name', ['icnet', 'pspnet50'])
def test_other_networks_train_too(street_root: Path, tmp_path: Path, name: str) -> None:
    recipe = replace(
        TINY,
        root=str(street_root),
        network={'name': name, 'width': 0.125},
        optimizer='sgd',
        learning_rate=0.01,
        precision='bf16',
        ohem=0.5,
        ema=0.0,
        crop=(50, 70),
        epochs=1,
    )
    result = Training(recipe, tmp_path).run()
    assert result['epochs'] == 1
    checkpoint = load_checkpoint(result['checkpoint'])
    assert checkpoint.architecture == {'name': name, 'width': 0.125, 'num_classes': 11}
    assert all(t.isfinite().all() for t in checkpoint.network.state_dict().values())
