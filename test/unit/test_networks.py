# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every network keeps to: its published cost, any input size, gradients, its structure."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import pytest
import reference_networks as reference
import torch
from torch import nn, Tensor
from torch.utils.flop_counter import FlopCounterMode

from seg_ros.models import build_model, SegmentationNetwork
from seg_ros.models.layers import fold_batch_norms

pytestmark = pytest.mark.usefixtures('one_thread')


AUXILIARY = ('guide', 'boosters', 'auxiliary_head')
CLASSES = 7


class Case(NamedTuple):
    """
    A network, and what is published of it.

    :param parameters: in millions, for 19 classes, auxiliary heads left out.
    :param cost: billions of multiply-adds by input size, for 19 classes; nothing is published
        of some networks.
    :param strides: of the auxiliary outputs.
    """

    spec: dict[str, Any]
    parameters: float | None
    cost: dict[tuple[int, int], float]
    strides: tuple[int, ...]


CASES = {
    'icnet_half': Case(
        {'name': 'icnet', 'width': 0.5}, 6.70, {(1024, 2048): 29.0, (512, 1024): 7.26}, (16, 8)
    ),
    'icnet': Case({'name': 'icnet', 'width': 1}, 25.4, {(1024, 2048): 75.8}, (16, 8)),
    'icnet_sub24': Case({'name': 'icnet', 'width': 0.5, 'exit': 'sub24'}, None, {}, (16, 8)),
    'icnet_sub4': Case({'name': 'icnet', 'width': 0.5, 'exit': 'sub4'}, None, {}, (16, 8)),
    'icnet_deconvolution3': Case(
        {'name': 'icnet', 'width': 0.5, 'fusion': 'deconvolution3'}, None, {}, (16, 8)
    ),
    'icnet_deconvolution7_sub4': Case(
        {'name': 'icnet', 'width': 0.5, 'fusion': 'deconvolution7', 'exit': 'sub4'},
        None,
        {},
        (16, 8),
    ),
    # Counted on the originals' own modules. Of liminn's 28.3 M the classifier of ImageNet is left
    # out, of its 73.6 billion what runs at 1/2 and is dropped.
    'icnet_mmsegmentation18': Case(
        {'name': 'icnet_mmsegmentation', 'depth': 18}, 24.87, {(512, 1024): 18.63}, (16, 8)
    ),
    'icnet_mmsegmentation50': Case(
        {'name': 'icnet_mmsegmentation'},
        47.53,
        {(512, 1024): 30.64, (1024, 2048): 121.97},
        (16, 8),
    ),
    'icnet_mmsegmentation18_sub4': Case(
        {'name': 'icnet_mmsegmentation', 'depth': 18, 'exit': 'sub4'}, None, {}, (16, 8)
    ),
    'icnet_liminn': Case(
        {'name': 'icnet_liminn'}, 26.25, {(512, 1024): 28.51, (1024, 2048): 114.0}, (16, 8)
    ),
    'icnet_liminn_sub24': Case({'name': 'icnet_liminn', 'exit': 'sub24'}, None, {}, (16, 8)),
    'bisenetv2_128': Case(
        {'name': 'bisenetv2', 'head_width': 128}, 2.31, {(512, 1024): 16.0}, (4, 8, 16, 32)
    ),
    'bisenetv2_256': Case(
        {'name': 'bisenetv2', 'head_width': 256}, 2.46, {(512, 1024): 17.2}, (4, 8, 16, 32)
    ),
    'bisenetv2_1024': Case(
        {'name': 'bisenetv2', 'head_width': 1024},
        3.36,
        {(512, 1024): 24.6, (1024, 2048): 98.4, (720, 960): 32.4, (360, 480): 8.10},
        (4, 8, 16, 32),
    ),
    'bisenetv2_large': Case(
        {'name': 'bisenetv2', 'alpha': 2, 'depth': 3}, None, {}, (4, 8, 16, 32)
    ),
    'bisenetv2_sum': Case(
        {'name': 'bisenetv2', 'head_width': 128, 'aggregation': 'sum'}, None, {}, (4, 8, 16, 32)
    ),
    'bisenetv2_concatenation': Case(
        {'name': 'bisenetv2', 'head_width': 128, 'aggregation': 'concatenation'},
        None,
        {},
        (4, 8, 16, 32),
    ),
    'bisenetv2_detail': Case(
        {'name': 'bisenetv2', 'head_width': 128, 'aggregation': 'detail'}, None, {}, ()
    ),
    'bisenetv2_semantic': Case(
        {'name': 'bisenetv2', 'head_width': 128, 'aggregation': 'semantic'},
        None,
        {},
        (4, 8, 16, 32),
    ),
    'bisenetv2_narrow': Case(
        {'name': 'bisenetv2', 'head_width': 96, 'alpha': 0.75, 'semantic_ratio': 1 / 16},
        None,
        {},
        (4, 8, 16, 32),
    ),
    'bisenetv2_coincheung': Case(
        {'name': 'bisenetv2', 'variant': 'coincheung'}, None, {}, (2, 4, 8, 16)
    ),
    'bisenetv2_mmsegmentation': Case(
        {'name': 'bisenetv2', 'variant': 'mmsegmentation', 'booster_width': 64},
        None,
        {},
        (4, 8, 16, 32),
    ),
    'bisenetv2_paddleseg': Case(
        {'name': 'bisenetv2', 'variant': 'paddleseg', 'head_width': 128}, None, {}, (4, 8, 16, 32)
    ),
    'pspnet50': Case({'name': 'pspnet50'}, 46.7, {(1024, 2048): 1470}, (8,)),
    'pspnet50_half': Case({'name': 'pspnet50', 'width': 0.5}, 11.7, {(1024, 2048): 368}, (8,)),
}
PUBLISHED = [name for name, case in CASES.items() if case.cost]


def on_meta(name: str, classes: int) -> SegmentationNetwork:
    """Build a network that has shapes but no values."""
    with torch.device('meta'):
        return build_model({**CASES[name].spec, 'num_classes': classes}).eval()


def multiply_adds(network: SegmentationNetwork, size: tuple[int, int]) -> float:
    """Count a forward pass in billions."""
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, *size, device='meta'))
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameters_are_the_published_ones(name: str) -> None:
    network = on_meta(name, 19)
    main = [p for n, p in network.named_parameters() if not any(part in n for part in AUXILIARY)]
    assert sum(p.numel() for p in main) / 1e6 == pytest.approx(CASES[name].parameters, rel=0.02)


@pytest.mark.parametrize(
    ('name', 'size', 'billions'),
    [(name, size, n) for name in PUBLISHED for size, n in CASES[name].cost.items()],
)
def test_multiply_adds_are_the_published_ones(
    name: str, size: tuple[int, int], billions: float
) -> None:
    assert multiply_adds(on_meta(name, 19), size) == pytest.approx(billions, rel=0.02)


def test_an_early_exit_computes_nothing_beyond_its_branch() -> None:
    networks = [on_meta(n, 19) for n in ('icnet_sub4', 'icnet_sub24', 'icnet_half')]
    sub4, sub24, whole = (multiply_adds(network, (512, 1024)) for network in networks)
    # By hand, from the layer list, in billions: CFF24 and sub24's classifier in place of sub4's;
    # sub1, CFF12 and the last classifier in place of sub24's.
    pixels = 512 * 1024 / 1e9
    cff24 = (9 * 256 * 128 + 256 * 128 - 256 * 19) * pixels / 16**2 + 128 * 19 * pixels / 8**2
    assert sub24 - sub4 == pytest.approx(cff24, rel=0.01)
    sub1 = (9 * 3 * 32 / 4 + 9 * 32 * 32 / 16 + 9 * 32 * 64 / 64) * pixels
    cff12 = (9 * 128 * 128 + 64 * 128 - 128 * 19) * pixels / 8**2
    last = (128 * 19 * pixels / 8**2, 128 * 19 * pixels / 4**2)  # before or after upsampling
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
            on_meta({'guided': 'bisenetv2_128'}.get(n, f'bisenetv2_{n}'), 19), (512, 1024)
        )
        for n in kinds
    )
    # By hand, in billions, at 1/8: a 3x3 convolution, and the head, which is at 1/32 where the
    # semantic branch is alone.
    pixels = 512 * 1024 / 1e9
    merge = 9 * 128 * 128 * pixels / 8**2
    head = (9 * 128 * 128 + 128 * 19) * pixels
    branches = (detail - head / 8**2) + (semantic - head / 32**2)
    assert total == pytest.approx(branches + merge + head / 8**2)
    assert concatenated == pytest.approx(total + merge)
    guides = 9 * 128 + 128 * 128 + 9 * 128 * 128 / 4 + (9 * 128 * 128 + 9 * 128 + 128 * 128) / 16
    assert guided == pytest.approx(total + guides * pixels / 8**2)


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('size', [(360, 480), (1080, 1920), (212, 87), (33, 47), (1, 1)], ids=str)
def test_any_size_of_image(name: str, size: tuple[int, int]) -> None:
    network = on_meta(name, CLASSES)
    for batch in (1, 2):
        images = torch.empty(batch, 3, *size, device='meta')
        assert network(images).shape == (batch, CLASSES, *size)
        main, auxiliary = network.forward_train(images)
        stride = 4 if CASES[name].spec['name'] in ('icnet', 'icnet_liminn') else 1
        assert main.shape == (batch, CLASSES, *reference.fraction(images, stride))
        expected = [
            (batch, CLASSES, *reference.fraction(images, stride)) for stride in CASES[name].strides
        ]
        assert [tuple(logits.shape) for logits in auxiliary] == expected
    assert len(network.auxiliary_weights) == len(CASES[name].strides)


@pytest.mark.parametrize('name', CASES)
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(1)
    network = build_model({**CASES[name].spec, 'num_classes': CLASSES}).train()
    # Three, since of two values that it normalises batch norm passes no gradient on.
    main, auxiliary = network.forward_train(torch.randn(3, 3, 39, 50))
    loss = sum((logits * torch.randn_like(logits)).mean() for logits in (main, *auxiliary))
    loss.backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, f'{parameter_name} takes no part'
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), f'{parameter_name} has a gradient of 0'


def randomised(spec: dict[str, Any]) -> SegmentationNetwork:
    """
    Build a network of float64 in which every layer matters.

    Statistics are near those of random images, so that no sigmoid saturates and no layer drowns
    in another, but differ from them and from channel to channel, as do scales and shifts.
    """
    torch.manual_seed(2)
    network = build_model({**spec, 'num_classes': CLASSES})
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = 1.0
        nn.init.uniform_(layer.weight, 0.6, 1.4)
        nn.init.normal_(layer.bias, 0, 0.3)
    with torch.no_grad():
        network.train().forward_train(torch.randn(2, 3, 96, 128) + torch.randn(2, 3, 1, 1))
        for layer in norms:
            layer.running_mean += 0.3 * torch.randn_like(layer.running_mean)
            layer.running_var *= torch.rand_like(layer.running_var) + 0.5
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.3)
    return network.double().eval()


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    error = (found - expected).abs().max() / expected.abs().max()
    assert error < 1e-8, f'differs by {error:.2g} of the largest logit'
    # And the logits say something, or the comparison would not.
    assert expected.std() > 1e-3


# Large enough for the dilation of 4 to reach beyond its own pixel, odd, and no multiple of 32.
REFERENCES = {
    'icnet_half': (reference.icnet, [(160, 224), (171, 203)]),
    'icnet': (reference.icnet, [(171, 203)]),
    'icnet_sub24': (partial(reference.icnet, ends='sub24'), [(160, 224), (171, 203)]),
    'icnet_sub4': (partial(reference.icnet, ends='sub4'), [(160, 224), (171, 203)]),
    'icnet_deconvolution3': (partial(reference.icnet, deconvolved=True), [(171, 203)]),
    'icnet_deconvolution7_sub4': (
        partial(reference.icnet, ends='sub4', deconvolved=True),
        [(171, 203)],
    ),
    'bisenetv2_128': (reference.bisenetv2, [(64, 96), (91, 70)]),
    'bisenetv2_1024': (reference.bisenetv2, [(91, 70)]),
    'bisenetv2_large': (partial(reference.bisenetv2, depth=3), [(64, 96), (91, 70)]),
    **{
        f'bisenetv2_{name}': (partial(reference.bisenetv2, aggregation=name), [(91, 70)])
        for name in ('sum', 'concatenation', 'detail', 'semantic')
    },
    'bisenetv2_narrow': (reference.bisenetv2, [(91, 70)]),
    'pspnet50_half': (reference.pspnet50, [(64, 88), (57, 75)]),
    'pspnet50': (reference.pspnet50, [(57, 75)]),
}


@pytest.mark.parametrize('name', REFERENCES)
def test_structure_is_that_of_the_table(name: str) -> None:
    """Compare all outputs with those of an independent implementation, image by image."""
    network = randomised(CASES[name].spec)
    weights = network.state_dict()
    run, sizes = REFERENCES[name]
    with torch.no_grad():
        for size in sizes:
            images = torch.randn(2, 3, *size, dtype=torch.float64)
            logits, auxiliary = run(weights, images[1:])
            assert_close(network(images)[1:], logits)
            found_logits, found_auxiliary = network.forward_train(images)
            assert len(found_auxiliary) == len(auxiliary)
            for found, expected in zip(found_auxiliary, auxiliary):
                assert_close(found[1:], expected)
            if 'exit' not in CASES[name].spec:
                assert_close(network.upsample(found_logits, size)[1:], logits)


FOLDED = [
    'icnet_sub4',
    'icnet_deconvolution3',
    'icnet_deconvolution7_sub4',
    'icnet_mmsegmentation18',
    'icnet_mmsegmentation18_sub4',
    'icnet_liminn_sub24',
]


@pytest.mark.parametrize('name', FOLDED)
def test_a_cascade_gives_the_same_folded_and_without_what_training_needs(name: str) -> None:
    network = randomised(CASES[name].spec)
    images = torch.randn(1, 3, 71, 103, dtype=torch.float64)
    with torch.no_grad():
        expected = network.coarse_logits(images)
        assert network.training_only
        for unused in network.training_only:
            parent, _, child = unused.rpartition('.')
            delattr(network.get_submodule(parent), child)
        fold_batch_norms(network)
        assert_close(network.coarse_logits(images), expected)


def test_training_ignores_the_exit() -> None:
    exited = randomised(CASES['icnet_sub4'].spec)
    whole = build_model({**CASES['icnet_half'].spec, 'num_classes': CLASSES}).double().eval()
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
