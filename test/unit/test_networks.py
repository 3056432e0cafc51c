# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every network: its published cost, any input size, gradients, and its structure."""

from __future__ import annotations

from typing import Any

from network_contract import (
    assert_close,
    CASES,
    check_any_size,
    check_folding,
    check_learning,
    check_structure,
    CLASSES,
    FOLDED,
    multiply_adds,
    on_meta,
    randomised,
    REFERENCES,
    small,
    strides_of,
)
import pytest
import torch

from seg_ros.models import build_model

pytestmark = pytest.mark.usefixtures('one_thread')

AUXILIARY = ('guide', 'boosters', 'auxiliary_head')
PUBLISHED = [name for name, case in CASES.items() if case.cost]
# These tests use narrow networks at few sizes; test/slow has all networks in full width.
ALIKE = ('icnet', 'icnet_mmsegmentation50', 'bisenetv2_256', 'bisenetv2_1024', 'pspnet50')
WIDE = ('icnet_liminn_sub24',)
# Training ignores the exit, which a test below checks.
EXITING = ('icnet_sub24', 'icnet_sub4', 'icnet_mmsegmentation18_sub4', 'icnet_liminn_sub24')
KINDS = [name for name in CASES if name not in ALIKE]


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameters_are_the_published_ones(name: str) -> None:
    network = on_meta(CASES[name].spec, 19)
    main = [p for n, p in network.named_parameters() if not any(part in n for part in AUXILIARY)]
    assert sum(p.numel() for p in main) / 1e6 == pytest.approx(CASES[name].parameters, rel=0.02)


@pytest.mark.parametrize('name', PUBLISHED)
def test_multiply_adds_are_the_published_ones(name: str) -> None:
    size, billions = next(iter(CASES[name].cost.items()))
    assert multiply_adds(on_meta(CASES[name].spec, 19), size) == pytest.approx(billions, rel=0.02)


def test_an_early_exit_computes_nothing_beyond_its_branch() -> None:
    networks = [on_meta(CASES[n].spec, 19) for n in ('icnet_sub4', 'icnet_sub24', 'icnet_half')]
    sub4, sub24, whole = (multiply_adds(network, (512, 1024)) for network in networks)
    # Computed by hand from the list of layers, in billions. Exit sub24 has CFF24 and its own
    # classifier in place of sub4's; the whole network has sub1, CFF12 and the last classifier in
    # place of sub24's.
    pixels = 512 * 1024 / 1e9
    cff24 = (9 * 256 * 128 + 256 * 128 - 256 * 19) * pixels / 16**2 + 128 * 19 * pixels / 8**2
    assert sub24 - sub4 == pytest.approx(cff24, rel=0.01)
    sub1 = (9 * 3 * 32 / 4 + 9 * 32 * 32 / 16 + 9 * 32 * 64 / 64) * pixels
    cff12 = (9 * 128 * 128 + 64 * 128 - 128 * 19) * pixels / 8**2
    # The last classifier may come before or after the upsampling.
    last = (128 * 19 * pixels / 8**2, 128 * 19 * pixels / 4**2)
    assert sub1 + cff12 + last[0] <= (whole - sub24) * 1.001
    assert sub1 + cff12 + last[1] >= (whole - sub24) * 0.999
    keys = [set(network.state_dict()) for network in networks]
    assert keys[0] == keys[1] == keys[2], 'one set of weights serves every exit'


@pytest.mark.parametrize(
    ('ratio', 'alpha', 'widths'),
    [
        (1 / 2, 1, (32, 64, 64, 128)),
        (1 / 4, 1, (16, 32, 64, 128)),
        (1 / 8, 1, (8, 16, 64, 128)),
        (1 / 16, 1, (4, 8, 64, 128)),
        (1 / 8, 0.5, (4, 8, 32, 64)),
    ],
)
def test_the_semantic_ratio_is_of_stages_that_both_branches_have(
    ratio: float, alpha: float, widths: tuple[int, ...]
) -> None:
    with torch.device('meta'):
        network = build_model(
            {'name': 'bisenetv2', 'num_classes': 3, 'semantic_ratio': ratio, 'alpha': alpha}
        )
    assert tuple(booster[0][0].in_channels for booster in network.boosters) == widths
    assert network.head[0][0].in_channels == 128 * alpha


def test_an_aggregation_costs_its_own_layers_and_the_branches_it_merges() -> None:
    kinds = ('detail', 'semantic', 'sum', 'concatenation', 'guided')
    detail, semantic, total, concatenated, guided = (
        multiply_adds(
            on_meta(CASES[{'guided': 'bisenetv2_128'}.get(n, f'bisenetv2_{n}')].spec, 19),
            (512, 1024),
        )
        for n in kinds
    )
    # Computed by hand, in billions: a 3x3 convolution at 1/8, and the head, which is at 1/8 too,
    # but at 1/32 in the network of the semantic branch alone.
    pixels = 512 * 1024 / 1e9
    merge = 9 * 128 * 128 * pixels / 8**2
    head = (9 * 128 * 128 + 128 * 19) * pixels
    branches = (detail - head / 8**2) + (semantic - head / 32**2)
    assert total == pytest.approx(branches + merge + head / 8**2)
    assert concatenated == pytest.approx(total + merge)
    guides = 9 * 128 + 128 * 128 + 9 * 128 * 128 / 4 + (9 * 128 * 128 + 9 * 128 + 128 * 128) / 16
    assert guided == pytest.approx(total + guides * pixels / 8**2)


@pytest.mark.parametrize('name', KINDS)
def test_any_size_of_image(name: str) -> None:
    spec, strides = small(CASES[name].spec), strides_of(name)
    check_any_size(spec, strides, (212, 87), batches=(2,))
    check_any_size(spec, strides, (1, 1), batches=(1,))


@pytest.mark.parametrize('name', [name for name in KINDS if name not in EXITING])
def test_every_parameter_learns(name: str) -> None:
    check_learning(small(CASES[name].spec))


@pytest.mark.parametrize('name', [name for name in KINDS if name in REFERENCES])
def test_structure_is_that_of_the_table(name: str) -> None:
    """All outputs are those of an independent implementation, for each image."""
    run, sizes = REFERENCES[name]
    check_structure(small(CASES[name].spec), run, sizes[-1:])


@pytest.mark.parametrize('name', [name for name in FOLDED if name not in WIDE])
def test_a_cascade_gives_the_same_folded_and_without_what_training_needs(name: str) -> None:
    check_folding(small(CASES[name].spec))


def test_training_ignores_the_exit() -> None:
    exited = randomised(small(CASES['icnet_sub4'].spec))
    whole = (
        build_model({**small(CASES['icnet_half'].spec), 'num_classes': CLASSES}).double().eval()
    )
    whole.load_state_dict(exited.state_dict())
    images = torch.randn(1, 3, 65, 64, dtype=torch.float64)
    with torch.no_grad():
        main, _ = exited.forward_train(images)
        assert_close(main, whole.coarse_logits(images))


@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        ({'name': 'unet', 'num_classes': 3}, "icnet.*found 'unet'"),
        ({'num_classes': 3}, 'bisenetv2.*found None'),
        ({'name': 'icnet', 'num_classes': 3, 'widht': 0.5}, 'takes .*width.*found .*widht'),
        ({'name': 'bisenetv2'}, 'needs num_classes; found nothing'),
        (
            {'name': 'bisenetv2', 'num_classes': 3, 'variant': 'theirs'},
            "paper, coincheung, mmsegmentation, paddleseg; found 'theirs'",
        ),
        (
            {'name': 'bisenetv2', 'num_classes': 3, 'aggregation': 'max'},
            "guided, sum, concatenation, detail, semantic; found 'max'",
        ),
        (
            {'name': 'bisenetv2', 'num_classes': 3, 'alpha': 0.25, 'semantic_ratio': 1 / 16},
            'found 0.25 and 0.0625, which make the first ones 16 and 1 wide',
        ),
        ({'name': 'icnet', 'num_classes': 3, 'exit': 'sub2'}, "sub4, sub24, sub124.*'sub2'"),
        ({'name': 'icnet', 'num_classes': 3, 'fusion': 'sum'}, "cff, deconvolution3.*'sum'"),
        ({'name': 'icnet_mmsegmentation', 'num_classes': 3, 'depth': 34.5}, '18, 34, .*34.5'),
        ({'name': 'icnet_liminn', 'num_classes': 3, 'depth': 18}, '50, 101 or 152.* 18'),
    ],
)
def test_a_wrong_spec_is_named(spec: dict[str, Any], message: str) -> None:
    before = dict(spec)
    with pytest.raises(ValueError, match=message):
        build_model(spec)
    assert spec == before
