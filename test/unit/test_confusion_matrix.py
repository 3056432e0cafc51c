# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The confusion matrix and its scores, against counting pixel by pixel."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest

from seg_ros.metrics.confusion_matrix import ConfusionMatrix


def maps(seed: int, classes: int, *, unsure: float = 0.1, ignored: float = 0.1):
    """Return a random prediction and ground truth; both have pixels of 255."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (23, 31)).astype(np.uint8)
    guess = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, classes, truth.shape))
    guess[rng.random(truth.shape) < unsure] = 255
    truth[rng.random(truth.shape) < ignored] = 255
    return guess.astype(np.uint8), truth


def scores_by_hand(pairs, classes: int):
    """Return IoU by class, mean IoU and pixel accuracy, counted in plain Python."""
    iou = []
    right = valid = 0
    for c in range(classes):
        hit = miss = false_alarm = 0
        for guess, truth in pairs:
            for g, t in zip(guess.ravel().tolist(), truth.ravel().tolist()):
                if t == 255:
                    continue
                hit += g == c and t == c
                miss += g != c and t == c
                false_alarm += g == c and t != c
        iou.append(hit / (hit + miss + false_alarm) if hit + miss + false_alarm else nan)
        right += hit
        valid += hit + miss
    seen = [x for x in iou if not isnan(x)]
    return iou, sum(seen) / len(seen), right / valid


@pytest.mark.parametrize('classes', [1, 2, 5, 19])
def test_scores_are_those_of_plain_counting(classes: int) -> None:
    pairs = [maps(seed, classes) for seed in range(3)]
    matrix = ConfusionMatrix(classes)
    for pair in pairs:
        matrix.update(*pair)
    iou, miou, accuracy = scores_by_hand(pairs, classes)
    np.testing.assert_allclose(matrix.iou(), iou, rtol=1e-12)
    assert matrix.miou() == pytest.approx(miou, rel=1e-12)
    assert matrix.pixel_accuracy() == pytest.approx(accuracy, rel=1e-12)


def test_a_small_case_by_hand() -> None:
    matrix = ConfusionMatrix(4)
    truth = np.array([[0, 0, 0, 1, 1, 255, 255]], np.uint8)
    guess = np.array([[0, 1, 255, 1, 2, 0, 3]], np.uint8)
    matrix.update(guess, truth)
    # 0: one hit, two misses (one of them 255). 1: one hit, one miss, one false alarm. 2: a false
    # alarm alone. 3: only where the truth is ignored, so it never occurred.
    np.testing.assert_array_equal(matrix.iou(), [1 / 3, 1 / 3, 0, nan])
    assert matrix.miou() == pytest.approx(2 / 9)
    assert matrix.pixel_accuracy() == pytest.approx(2 / 5)
    assert matrix.counts.dtype == np.int64
    np.testing.assert_array_equal(
        matrix.counts, [[1, 1, 0, 0, 1], [0, 1, 1, 0, 0], [0] * 5, [0] * 5]
    )


def test_images_add_up_and_their_inputs_stay_as_they_are() -> None:
    pairs = [maps(seed, 6) for seed in range(4)]
    one_by_one, at_once = ConfusionMatrix(6), ConfusionMatrix(6)
    before = [(g.copy(), t.copy()) for g, t in pairs]
    for pair in pairs:
        one_by_one.update(*pair)
    at_once.update(*(np.concatenate(maps_) for maps_ in zip(*pairs)))
    np.testing.assert_array_equal(one_by_one.counts, at_once.counts)
    for (g, t), (g0, t0) in zip(pairs, before):
        np.testing.assert_array_equal(g, g0)
        np.testing.assert_array_equal(t, t0)


def test_groups_of_classes_are_classes_of_their_own() -> None:
    guess, truth = maps(1, 6)
    fine, coarse = ConfusionMatrix(6), ConfusionMatrix(3)
    fine.update(guess, truth)
    table = np.full(256, 255, np.uint8)
    table[[2, 5, 0, 1, 3, 4]] = [0, 0, 1, 2, 2, 2]
    coarse.update(table[guess], table[truth])
    np.testing.assert_array_equal(fine.grouped([[2, 5], [0], [1, 3, 4]]).counts, coarse.counts)


def test_nothing_valid_gives_nan() -> None:
    matrix = ConfusionMatrix(3)
    assert isnan(matrix.miou())
    assert isnan(matrix.pixel_accuracy())
    nothing = np.full((4, 4), 255, np.uint8)
    matrix.update(np.zeros((4, 4), np.uint8), nothing)
    assert not matrix.counts.any()
    assert isnan(matrix.miou())


def test_large_counts_do_not_overflow() -> None:
    matrix = ConfusionMatrix(2)
    matrix.counts += 2**40
    matrix.update(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8))
    assert matrix.counts[0, 0] == 2**40 + 4


@pytest.mark.parametrize(
    ('guess', 'truth'),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)),
        (np.zeros((2, 3), np.uint8), np.full((2, 3), 4, np.uint8)),
        (np.full((2, 3), 4, np.uint8), np.zeros((2, 3), np.uint8)),
        (np.full((2, 3), 5, np.uint8), np.zeros((2, 3), np.uint8)),
    ],
    ids=['other shape', 'unknown true id', 'first unknown id', 'second unknown id'],
)
def test_wrong_input_is_refused(guess, truth) -> None:
    matrix = ConfusionMatrix(4)
    with pytest.raises(ValueError, match='expected'):
        matrix.update(guess, truth)
    assert not matrix.counts.any()


def test_against_torchmetrics() -> None:
    metrics = pytest.importorskip('torchmetrics')
    import torch

    guess, truth = maps(0, 7, unsure=0)
    other = metrics.JaccardIndex('multiclass', num_classes=7, ignore_index=255, average='none')
    expected = other(torch.from_numpy(guess).long(), torch.from_numpy(truth).long())
    matrix = ConfusionMatrix(7)
    matrix.update(guess, truth)
    np.testing.assert_allclose(matrix.iou(), expected.numpy(), rtol=0, atol=1e-6)
