# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every network keeps to, at full width: its cost, any input size, gradients, structure."""

from __future__ import annotations

from network_contract import (
    CASES,
    check_any_size,
    check_folding,
    check_learning,
    check_structure,
    FOLDED,
    multiply_adds,
    on_meta,
    REFERENCES,
    strides_of,
)
import pytest

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.mark.parametrize(
    ('name', 'size', 'billions'),
    [(name, size, n) for name, case in CASES.items() for size, n in case.cost.items()],
)
def test_multiply_adds_are_the_published_ones(
    name: str, size: tuple[int, int], billions: float
) -> None:
    assert multiply_adds(on_meta(CASES[name].spec, 19), size) == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('size', [(360, 480), (1080, 1920), (212, 87), (33, 47), (1, 1)], ids=str)
def test_any_size_of_image(name: str, size: tuple[int, int]) -> None:
    check_any_size(CASES[name].spec, strides_of(name), size)


@pytest.mark.parametrize('name', CASES)
def test_every_parameter_learns(name: str) -> None:
    check_learning(CASES[name].spec)


@pytest.mark.parametrize('name', REFERENCES)
def test_structure_is_that_of_the_table(name: str) -> None:
    """Compare all outputs with those of an independent implementation, image by image."""
    check_structure(CASES[name].spec, *REFERENCES[name])


@pytest.mark.parametrize('name', FOLDED)
def test_a_cascade_gives_the_same_folded_and_without_what_training_needs(name: str) -> None:
    check_folding(CASES[name].spec)
