# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Mappings between class lists, the labels that they merge, and the losses of such labels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
import re

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from seg_ros.datasets.augmentation import Augmentation
from seg_ros.datasets.catalog import SampleDrives
from seg_ros.datasets.dataset import DatasetError
from seg_ros.datasets.mappings import (
    allowed_classes,
    common_classes,
    find_allowed,
    load_mapping,
    Mapped,
    MAPPINGS,
    MergedLabels,
)
from seg_ros.images.labels import CAMVID, CAMVID32, CITYSCAPES, distinct_palette, LabelSet
from seg_ros.training.images import Batches, Joined, TrainingImages, union
from seg_ros.training.losses import (
    class_weights,
    cross_entropy,
    distillation_loss,
    label_weights,
    lovasz_softmax,
    total_loss,
)

pytestmark = pytest.mark.usefixtures('one_thread')


def classes(*names: str) -> LabelSet:
    return LabelSet(names, distinct_palette(len(names)))


COARSE = classes('thing', 'road', 'mess')
FINE = classes('road', 'car', 'truck', 'sky')
MAPPING = {'road': ('road',), 'thing': ('car', 'truck'), 'mess': ()}


# Tables


# CamVid's ids: 0 sky, 1 building, 2 pole, 3 road, 4 pavement, 5 tree, 6 sign, 7 fence, 8 car,
# 9 pedestrian, 10 bicyclist. Cityscapes': 0 road, 1 sidewalk, 2 building, 3 wall, 4 fence, 5 pole,
# 6 light, 7 sign, 8 vegetation, 9 terrain, 10 sky, 11 person, 12 rider, 13 car, 14 truck, 15 bus,
# 16 train, 17 motorcycle, 18 bicycle.
MAY_BE = {
    0: {10}, 1: {2, 3}, 2: {5}, 3: {0}, 4: {1}, 5: {8, 9}, 6: {6, 7}, 7: {4}, 8: {13, 14, 15, 16},
    9: {11}, 10: {12, 17, 18},
}  # fmt: skip
BELONGS = [3, 4, 1, 1, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10]


def test_camvid_to_cityscapes_by_hand() -> None:
    allowed = find_allowed('', CAMVID, CITYSCAPES)
    found = {i: set(np.flatnonzero(row)) for i, row in enumerate(allowed)}
    assert found == MAY_BE
    np.testing.assert_array_equal(
        allowed, find_allowed('camvid_to_cityscapes', CAMVID, CITYSCAPES)
    )


def test_ids_by_hand() -> None:
    merged = MergedLabels(CITYSCAPES)
    table = merged.ids(find_allowed('', CAMVID, CITYSCAPES))
    assert table[:11].tolist() == [10, 19, 5, 0, 1, 20, 21, 4, 22, 11, 23]
    assert set(table[11:]) == {255}
    assert [set(group) for group in merged.groups] == [MAY_BE[i] for i in (1, 5, 6, 8, 10)]
    expected = [[c in MAY_BE[i] for c in range(19)] for i in (1, 5, 6, 8, 10)]
    np.testing.assert_array_equal(merged.allowed(), expected)
    # A second data set uses the groups of the first one, too.
    allowed = np.zeros((3, 19), np.bool_)
    allowed[0, [13, 14, 15, 16]], allowed[2, [0, 1]] = True, True
    assert merged.ids(allowed)[:4].tolist() == [22, 255, 24, 255]
    assert len(merged.allowed()) == 6


def test_mapped_images_have_the_new_ids() -> None:
    drives = SampleDrives((3,), 2, (80, 60))
    merged = MergedLabels(CITYSCAPES)
    images = Mapped(drives, CITYSCAPES, merged.ids(find_allowed('', CAMVID, CITYSCAPES)))
    assert (len(images), images.labels, images.terms) == (2, CITYSCAPES, drives.terms)
    assert images.source(1) == drives.source(1)
    new = {0: 10, 1: 19, 2: 5, 3: 0, 4: 1, 5: 20, 6: 21, 7: 4, 8: 22, 9: 11, 10: 23, 255: 255}
    for i in range(2):
        (image, ids), (same, train_ids) = images[i], drives[i]
        np.testing.assert_array_equal(image, same)
        assert ids.ravel().tolist() == [new[i] for i in train_ids.ravel().tolist()]


def test_same_names_in_another_order_are_the_same_classes() -> None:
    other = classes('sky', 'truck', 'road', 'car')
    expected = [[0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert find_allowed('', other, FINE).tolist() == expected
    assert find_allowed('', classes('road', 'car'), FINE) is None
    assert find_allowed('', CAMVID32, CITYSCAPES) is None


def test_a_mapping_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / 'mapping.yaml'
    path.write_text('thing: [car, truck]\nroad: road\nmess: ignored\n')
    assert load_mapping(str(path)) == MAPPING
    expected = [[False, True, True, False], [True, False, False, False], [False] * 4]
    assert find_allowed(str(path), COARSE, FINE).tolist() == expected


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('thing: [car, truck]\nroad: road\n', 'found nothing about mess. Say what it'),
        ('thing: car\nroad: lane\nmess: ignored\n', 'map road to any of road, car, truck, sky'),
        ('thing: car\nroad: lane\nmess: ignored\n', 'found lane'),
        ('thing: car\nroad: road\nmess: ignored\nsea: sky\n', 'thing, road, mess; found sea, too'),
        ('thing: car\nroad: []\nmess: ignored\n', "found 'road': []"),
        ('thing: car\nroad:\nmess: ignored\n', "found 'road': None"),
        ('thing: car\nroad: road\nno: ignored\n', "found False: 'ignored'. YAML reads"),
        ('thing: [car, ignored]\nroad: road\nmess: ignored\n', 'found ignored'),
        ('- thing\n', "expected lines such as"),
        ('', 'found None'),
        ('a: [b', 'expected YAML'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_mapping_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / 'mapping.yaml'
    path.write_text(text)
    with pytest.raises(DatasetError, match=re.escape(message)) as error:
        find_allowed(str(path), COARSE, FINE)
    assert str(path) in str(error.value)


def test_an_unknown_mapping_is_named() -> None:
    message = "expected one of camvid_to_cityscapes, or a YAML file; found 'camvid_to_mars'"
    with pytest.raises(DatasetError, match=message):
        find_allowed('camvid_to_mars', CAMVID, CITYSCAPES)
    with pytest.raises(DatasetError, match='found nothing about thing, mess'):
        find_allowed('camvid_to_cityscapes', COARSE, CITYSCAPES)
    assert {'camvid_to_cityscapes'} == set(MAPPINGS)


def test_no_more_groups_than_ids() -> None:
    merged = MergedLabels(classes(*map(str, range(250))))
    pairs = np.zeros((6, 250), np.bool_)
    for i, row in enumerate(pairs):
        row[i : i + 2] = True
    assert merged.ids(pairs[:5])[:6].tolist() == [250, 251, 252, 253, 254, 255]
    with pytest.raises(DatasetError, match='found 250 classes and 6 groups'):
        merged.ids(pairs)


# What two class lists are scored in


def test_classes_of_a_19_class_network_on_camvid_by_hand() -> None:
    common = common_classes(CITYSCAPES, CAMVID, '', 'net', 'camvid')
    assert common.labels == CAMVID
    assert common.predicted.tolist() == BELONGS + [255] * (256 - 19)
    assert common.truth.tolist() == [*range(11), *[255] * (256 - 11)]


def test_classes_of_an_11_class_network_on_cityscapes_by_hand() -> None:
    common = common_classes(CAMVID, CITYSCAPES, '', 'net', 'cityscapes')
    assert common.labels == CAMVID
    assert common.predicted.tolist() == [*range(11), *[255] * (256 - 11)]
    assert common.truth.tolist() == BELONGS + [255] * (256 - 19)


def test_equal_classes_stay() -> None:
    common = common_classes(CAMVID, CAMVID, '', 'net', 'camvid')
    assert common.predicted.tolist() == common.truth.tolist() == [*range(256)]


def test_ground_truth_in_the_ids_of_the_network_by_hand() -> None:
    common = common_classes(CITYSCAPES, CAMVID, '', 'net', 'camvid')
    names = [CITYSCAPES.names[i] for i in common.as_predicted()[:11]]
    assert dict(zip(CAMVID.names, names)) == {
        'sky': 'sky', 'building': 'building', 'pole': 'pole', 'road': 'road',
        'pavement': 'sidewalk', 'tree': 'vegetation', 'sign': 'traffic light', 'fence': 'fence',
        'car': 'car', 'pedestrian': 'person', 'bicyclist': 'rider',
    }  # fmt: skip
    assert set(common.as_predicted()[11:].tolist()) == {255}
    common = common_classes(CAMVID, CITYSCAPES, '', 'net', 'cityscapes')
    assert common.as_predicted().tolist() == common.truth.tolist()
    same = common_classes(CAMVID, CAMVID, '', 'net', 'camvid')
    assert same.as_predicted().tolist() == [*range(256)]


def test_a_mapping_may_point_either_way(tmp_path: Path) -> None:
    path = tmp_path / 'mapping.yaml'
    path.write_text('thing: [car, truck]\nroad: road\nmess: ignored\n')
    ids, ignored = [1, 0, 0, 255], [0, 1, 255]
    common = common_classes(FINE, COARSE, str(path), 'net', 'set')
    assert (common.labels, [*common.predicted[:4]], [*common.truth[:3]]) == (COARSE, ids, ignored)
    common = common_classes(COARSE, FINE, str(path), 'net', 'set')
    assert (common.labels, [*common.predicted[:3]], [*common.truth[:4]]) == (COARSE, ignored, ids)


def test_a_class_that_may_be_scored_as_two_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'mapping.yaml'
    path.write_text('thing: [car, truck]\nroad: [road, truck]\nmess: ignored\n')
    with pytest.raises(
        DatasetError, match='truck to belong to one class.*found it in thing, road'
    ):
        common_classes(FINE, COARSE, str(path), 'net', 'set')


def test_class_lists_that_do_not_fit_are_named() -> None:
    message = r'set: expected a network of its 3 classes \(thing, road, mess\).*4 in net \(road, c'
    with pytest.raises(DatasetError, match=message):
        common_classes(FINE, COARSE, '', 'net', 'set')


# Losses

GROUPS = torch.tensor([[0, 1, 1, 0, 0], [1, 0, 0, 1, 1], [1, 1, 1, 1, 1]]).bool()
WEIGHTS = [0.5, 1.0, 4.0, 0.25, 2.0, 1.5, 3.0, 0.75]
"""The classes that each of three groups allows, and the weights of five classes and groups."""


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Return float64 logits and labels: classes, groups and ignored pixels."""
    torch.manual_seed(0)
    labels = torch.randint(0, 8, (2, 6, 9))
    labels[torch.rand(2, 6, 9) < 0.2] = 255
    return 3 * torch.randn(2, 5, 6, 9, dtype=torch.float64), labels


def entropies(logits: Tensor, labels: Tensor) -> list[list[tuple[float, float]]]:
    """Return (-log of the allowed probability, weight) of each image's pixels, by plain sums."""
    scores = np.exp(logits.detach().numpy())
    images = []
    for n in range(len(labels)):
        pixels = []
        for y, x in np.ndindex(*labels.shape[1:]):
            label = int(labels[n, y, x])
            if label == 255:
                continue
            may_be = [label] if label < 5 else [c for c in range(5) if GROUPS[label - 5, c]]
            share = sum(scores[n, c, y, x] for c in may_be) / sum(scores[n, :, y, x])
            pixels.append((-np.log(share), WEIGHTS[label]))
        images.append(pixels)
    return images


def weighted_mean(pixels: list[tuple[float, float]]) -> float:
    return sum(e * w for e, w in pixels) / sum(w for _, w in pixels)


def test_merged_cross_entropy_by_plain_sums(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    expected = weighted_mean([pixel for image in entropies(*batch) for pixel in image])
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    found = cross_entropy(logits, labels, weights, groups=GROUPS)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    half = cross_entropy(logits.bfloat16(), labels, weights, groups=GROUPS)
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize('ohem', [0.05, 0.5, 2.0, 100.0])
def test_merged_hard_pixels_by_plain_sums(batch: tuple[Tensor, Tensor], ohem: float) -> None:
    hard = []
    for pixels in entropies(*batch):
        pixels = sorted(pixels, reverse=True)
        least = -(-len(pixels) // 16)
        hard += [pixel for i, pixel in enumerate(pixels) if pixel[0] > ohem or i < least]
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    found = cross_entropy(*batch, weights, ohem, GROUPS)
    assert float(found) == pytest.approx(weighted_mean(hard), rel=1e-12)


@pytest.mark.parametrize('ohem', [0.0, 0.7])
def test_merged_gradients(batch: tuple[Tensor, Tensor], ohem: float) -> None:
    logits, labels = batch
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    x = logits[:, :, :3, :4].clone().requires_grad_()
    y = labels[:, :3, :4]
    assert {*y.flatten().tolist()} >= {5, 6, 7, 255}
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, y, weights, ohem, GROUPS), x)
    cross_entropy(x, y, weights, ohem, GROUPS).backward()
    # Pixels that may be any class do not count, like ignored ones.
    assert not x.grad.movedim(1, 3)[(y == 255) | (y == 7)].any()


def test_far_off_logits_have_finite_merged_losses_and_gradients() -> None:
    logits = torch.tensor([300.0, -300.0, -300.0, 0.0, 0.0]).view(1, 5, 1, 1).repeat(1, 1, 1, 3)
    labels = torch.tensor([[[5, 6, 7]]])
    logits.requires_grad_()
    loss = cross_entropy(logits, labels, torch.ones(8), groups=GROUPS)
    loss.backward()
    # log(e^300 / (2 e^-300)), 0, 0
    assert float(loss.detach()) == pytest.approx((600 - np.log(2)) / 3)
    assert logits.grad.isfinite().all()
    assert float(logits.grad[0, 0, 0, 0]) == pytest.approx(1 / 3)


@pytest.mark.parametrize('ohem', [0.0, 0.7])
def test_without_merged_labels_no_bit_changes(batch: tuple[Tensor, Tensor], ohem: float) -> None:
    logits, labels = batch[0].float(), batch[1].masked_fill(batch[1] > 4, 255)
    weights = torch.tensor(WEIGHTS)
    outcomes = []
    for own, groups in ((weights[:5], None), (weights, GROUPS)):
        x = logits.clone().requires_grad_()
        loss = total_loss(x, [2 * x], labels, own, [0.4], ohem, 0.5, groups)
        loss.backward()
        outcomes.append((loss.detach(), x.grad))
    assert all(torch.equal(one, other) for one, other in zip(*outcomes))
    plain = F.cross_entropy(logits, labels, weights[:5], ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, labels, weights[:5]), plain)


def test_lovasz_leaves_merged_pixels_out(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    left = labels.masked_fill(labels > 4, 255)
    assert torch.equal(lovasz_softmax(logits, labels), lovasz_softmax(logits, left))


def test_a_teacher_teaches_on_merged_pixels(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    teacher = logits.flip(1)
    told = labels.masked_fill((labels > 4) & (labels != 255), 0)
    assert torch.equal(
        distillation_loss(logits, teacher, labels), distillation_loss(logits, teacher, told)
    )


def test_total_loss_has_groups_in_every_output(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    parts = [cross_entropy(x, labels, weights, 0.7, GROUPS) for x in (logits, logits / 2)]
    found = total_loss(logits, [logits / 2], labels, weights, [0.4], 0.7, 0.0, GROUPS)
    assert torch.equal(found, parts[0] + 0.4 * parts[1])


def test_weights_of_classes_and_groups_by_hand() -> None:
    pixels = torch.zeros(256, dtype=torch.float64)
    # Group 5 allows 1 and 2, of which there are 30 and 10; group 6 allows 0, 3 and 4, of which
    # there are 0, 0 and 40; group 7 does not occur.
    pixels[:8] = torch.tensor([0.0, 30, 10, 0, 40, 8, 6, 0])
    pixels[255] = 1000
    counts, weights = label_weights(pixels, 5, 0.5, GROUPS)
    assert counts.tolist() == [0, 36, 12, 0, 46]
    own = [0, 1, (36 / 12) ** 0.5, 0, (36 / 46) ** 0.5]
    merged = [0.75 * own[1] + 0.25 * own[2], own[4]]
    merged.append((30 * own[1] + 10 * own[2] + 40 * own[4]) / 80)
    np.testing.assert_allclose(weights, [*own, *merged], rtol=1e-6)
    # If no class of a group occurs outside groups, its classes get equal shares.
    pixels[:8] = torch.tensor([0.0, 30, 10, 0, 0, 0, 6, 0])
    assert label_weights(pixels, 5, 1.0, GROUPS)[0].tolist() == [2, 30, 10, 2, 2]


def test_weights_without_groups_are_the_classes() -> None:
    pixels = torch.tensor([5.0, 0, 100, 7], dtype=torch.float64)
    counts, weights = label_weights(pixels, 4, 0.5)
    assert counts.tolist() == [5, 0, 100, 7]
    assert torch.equal(weights, class_weights(torch.tensor([5, 0, 100, 7]), 0.5))


# Images


def keys(batches: Batches) -> list[int]:
    return [index for batch in batches for _, index in batch]


def test_one_set_is_drawn_as_ever() -> None:
    plain, one, two = (
        Batches(50, 8, 3),
        Batches(50, 8, 3, [(50, 1.0)]),
        Batches(50, 8, 3, [(20, 1.0), (30, 1.0)]),
    )
    for epoch in range(3):
        plain.epoch = one.epoch = two.epoch = epoch
        order = np.random.default_rng((3, epoch)).permutation(50)[:48].tolist()
        assert keys(plain) == keys(one) == keys(two) == order


def test_sets_are_drawn_as_often_as_they_weigh() -> None:
    batches = Batches(60, 1, 3, [(10, 2.5), (20, 1.0), (30, 0.4)])
    assert len(batches) == 25 + 20 + 12
    seen: Counter[int] = Counter()
    for epoch in range(200):
        batches.epoch = epoch
        drawn = keys(batches)
        assert keys(batches) == drawn
        assert len({*drawn}) == len(drawn) == 57, 'the same image, changed the same way'
        times = Counter(index % 60 for index in drawn)
        assert {times[i] for i in range(10)} == {2, 3}
        assert {times[i] for i in range(10, 30)} == {1}
        assert {times[i] for i in range(30, 60)} == {0, 1}
        assert sum(times[i] for i in range(30, 60)) == 12
        seen += times
    # Every image is drawn about equally often: 80 of 200, within five standard deviations.
    assert all(abs(seen[i] - 500) < 36 for i in range(10))
    assert all(abs(seen[i] - 80) < 36 for i in range(30, 60))
    with pytest.raises(ValueError, match='at most the 57 training images; found 58'):
        Batches(60, 58, 3, [(10, 2.5), (20, 1.0), (30, 0.4)])


def test_a_second_time_an_image_changes_another_way() -> None:
    rng = np.random.default_rng(0)
    samples = [
        (rng.integers(0, 256, (40, 60, 3), np.uint8), np.full((40, 60), i, np.uint8))
        for i in range(3)
    ]
    images = TrainingImages(samples, Augmentation((32, 32)), 5)
    once, twice = images[4, 1], images[4, 4]
    assert not torch.equal(once[0], twice[0])
    assert {*once[1].flatten().tolist()} | {*twice[1].flatten().tolist()} <= {1, 255}


def test_joined_sets_have_the_names_and_terms_of_all() -> None:
    parts = [SampleDrives((seed,), frames, (48, 36)) for seed, frames in ((1, 2), (2, 3), (3, 1))]
    parts[1].name, parts[1].terms = 'other drives', 'of others; for research'
    parts[2].terms = 'for research'
    joined = Joined(*parts)
    assert joined.name == 'sample drive, other drives'
    assert joined.terms == f'{SampleDrives.terms}; of others; for research'
    sources = [part.source(i) for part in parts for i in range(len(part))]
    assert [joined.source(i) for i in range(len(joined))] == sources
    for i, expected in enumerate([part[i] for part in parts for i in range(len(part))]):
        np.testing.assert_array_equal(joined[i][0], expected[0])
    assert union('a; b', '', 'b', 'c') == 'a; b; c'


def test_allowed_classes_are_by_name() -> None:
    expected = [[False, True, True, False], [True, False, False, False], [False] * 4]
    assert allowed_classes(MAPPING, COARSE, FINE, 'mine').tolist() == expected
