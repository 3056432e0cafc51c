# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Filter pruning: which channels stay, that nothing else changes, and what is refused."""

from __future__ import annotations

from pathlib import Path
import random
import re
from typing import Any

import dataset_layouts
import pytest
from small_compressions import arguments, Inputs, TINY, write_inputs
import torch
from torch import nn, Tensor
from torch.utils.flop_counter import FlopCounterMode
import yaml

from seg_ros.__main__ import main
from seg_ros.images.labels import LabelSet
from seg_ros.inference.checkpoint import Checkpoint
from seg_ros.models import build_model, NETWORKS, SegmentationNetwork
from seg_ros.models.cost import cost_by_branch, total
from seg_ros.pruning.channels import Channels
from seg_ros.pruning.compression import narrower, prune
from seg_ros.pruning.trade_off import parameters

pytestmark = pytest.mark.usefixtures('one_thread')

CLASSES = 5
LABELS = LabelSet(
    tuple(f'class {i}' for i in range(CLASSES)), tuple((i, 2 * i, 99) for i in range(CLASSES))
)

WIDE: dict[str, dict[str, Any]] = {
    'icnet': {'name': 'icnet', 'width': 0.125},
    'icnet_deconvolution': {
        'name': 'icnet', 'width': 0.125, 'exit': 'sub4', 'fusion': 'deconvolution3',
    },
    'pspnet50': {'name': 'pspnet50', 'width': 0.125},
    'bisenetv2': {'name': 'bisenetv2', 'alpha': 0.5, 'head_width': 24, 'booster_width': 16},
    'bisenetv2_paddleseg': {
        'name': 'bisenetv2', 'variant': 'paddleseg', 'alpha': 0.25, 'head_width': 16,
        'booster_width': 32,
    },
    'bisenetv2_large': {
        'name': 'bisenetv2', 'alpha': 0.25, 'head_width': 8, 'booster_width': 8, 'depth': 2,
    },
}  # fmt: skip
PRUNED = [
    ('icnet', 0.75, ('head', 'branches')),
    ('pspnet50', 0.5, ('branches',)),
    ('bisenetv2', 0.5, ('head', 'branches')),
    ('bisenetv2', 0.75, ('head',)),
    ('bisenetv2_large', 0.5, ('branches',)),
    ('icnet_deconvolution', 0.5, ('branches',)),
    ('bisenetv2_paddleseg', 0.5, ('head', 'branches')),
]


def checkpoint_of(network: SegmentationNetwork, spec: dict[str, Any]) -> Checkpoint:
    return Checkpoint(network.eval(), spec, LABELS, (64, 96), training={'data': 'none'})


def lively(name: str) -> Checkpoint:
    """Return a float64 network in which every layer affects the result and channels differ."""
    torch.manual_seed(3)
    spec = {**WIDE[name], 'num_classes': CLASSES}
    network = build_model(spec)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = 1.0
        nn.init.uniform_(layer.weight, 0.6, 1.4)
        nn.init.normal_(layer.bias, 0, 0.3)
    with torch.no_grad():
        network.train().forward_train(torch.randn(2, 3, 64, 96))
    return checkpoint_of(network.double(), spec)


def outputs(network: SegmentationNetwork, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        main_logits, auxiliary = network.forward_train(images)
        return [network(images), main_logits, *auxiliary]


# What stays


def silence(checkpoint: Checkpoint, smaller: SegmentationNetwork) -> dict[tuple[str, int], Tensor]:
    """
    Set the weights of random channels to zero, as many as pruning removes.

    :returns: the indices that stay along each dimension of each tensor.
    """
    network, shapes = checkpoint.network, smaller.state_dict()
    tensors, channels = network.state_dict(), Channels(network)
    places: dict[int, set[tuple[str, int]]] = {}
    for axis, along in channels.axes.items():
        for channel in along:
            places.setdefault(channels.together(channel), set()).add(axis)
    alike: dict[frozenset[tuple[str, int]], list[int]] = {}
    for shared, axes in places.items():
        alike.setdefault(frozenset(axes), []).append(shared)
    silent: set[int] = set()
    for axes, members in alike.items():
        name, dimension = next(iter(axes))
        share = shapes[name].shape[dimension] / tensors[name].shape[dimension]
        chosen = random.Random(len(silent)).sample(members, round((1 - share) * len(members)))
        silent.update(chosen)
    left = {}
    for (name, dimension), along in channels.axes.items():
        gone = torch.tensor([channels.together(channel) in silent for channel in along])
        left[name, dimension] = (~gone).nonzero().flatten()
        # Zero filters, their biases and norms, but no columns of later filters.
        if dimension == 0 and name.endswith(('.weight', '.bias')):
            tensors[name][gone] = 0
    return left


@pytest.mark.parametrize(('name', 'keep', 'parts'), PRUNED)
def test_channels_that_give_nothing_go_and_the_logits_stay(
    name: str, keep: float, parts: tuple[str, ...]
) -> None:
    checkpoint = lively(name)
    smaller = build_model(narrower(checkpoint.architecture, keep, parts))
    left = silence(checkpoint, smaller)
    pruned = prune(checkpoint, narrower(checkpoint.architecture, keep, parts))
    for size in ((64, 96), (35, 41)):
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        pairs = list(zip(outputs(checkpoint.network, images), outputs(pruned.network, images)))
        assert len(pairs) == 2 + len(pruned.network.auxiliary_weights)
        for expected, found in pairs:
            assert expected.std() > 1e-3, 'it says something'
            assert (found - expected).abs().max() < 1e-9 * expected.abs().max()
    for tensor_name, tensor in checkpoint.network.state_dict().items():
        expected = tensor
        for dimension in range(tensor.ndim):
            if (tensor_name, dimension) in left:
                expected = expected.index_select(dimension, left[tensor_name, dimension])
        assert torch.equal(pruned.network.state_dict()[tensor_name], expected), tensor_name


class Tiny(SegmentationNetwork):
    """
    Two convolutions that are summed, a depthwise one with two filters per channel, a lone one.

    :param width: factor of the widths: 4 channels of the sum, 3 of the lone convolution.
    """

    auxiliary_weights = ()

    def __init__(self, num_classes: int, width: float = 1) -> None:
        super().__init__()
        self.num_classes = num_classes
        c, lone = round(4 * width), round(3 * width)
        self.first = nn.Conv2d(3, c, 1)
        self.second = nn.Conv2d(c, c, 1, bias=False)
        self.twice = nn.Conv2d(c, 2 * c, 1, groups=c)
        self.lone = nn.Conv2d(2 * c + 3, lone, 1)
        self.head = nn.Conv2d(lone + c, num_classes, 1)

    def coarse_logits(self, images: Tensor) -> Tensor:
        x = self.first(images)
        x = torch.relu_(x + self.second(x))
        # Concatenate along rows, which changes no channels.
        x = torch.cat([x, x[:, :, :1]], dim=2)[:, :, 1:]
        lone = self.lone(torch.cat([self.twice(x), images], 1))
        return self.head(torch.cat((lone.sigmoid(), x), -3))

    def forward_train(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.coarse_logits(images), []


def tiny(**norms: list[float]) -> Checkpoint:
    """Make one whose filters have the given L1 norms, spread unevenly and of either sign."""
    torch.manual_seed(4)
    spec = {'name': 'tiny', 'num_classes': CLASSES}
    network = Tiny(CLASSES)
    for name, values in norms.items():
        weight = network.get_submodule(name).weight.data
        weight /= weight.abs().sum((1, 2, 3), keepdim=True)
        weight *= torch.tensor(values)[:, None, None, None]
    return checkpoint_of(network, spec)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, 'tiny', Tiny)


@pytest.mark.usefixtures('known')
def test_the_filters_of_largest_norm_stay() -> None:
    # Of the sum, as shares of 20, 80 and 8: .40 .15 .25 .20, and .05 .40 .225 .325, and 0 0,
    # .125 .125, .25 .25, .125 .125; together .45 .80 .975 .775. Norms alone add up to 12 37 27 32.
    wide = tiny(
        first=[8, 3, 5, 4],
        second=[4, 32, 18, 26],
        twice=[0, 0, 1, 1, 2, 2, 1, 1],
        lone=[1, 3, 2],
    )
    # By any other norm, its one large weight would win.
    wide.network.lone.weight.data[0] = 0
    wide.network.lone.weight.data[0, 4] = -1.9
    narrow = prune(wide, {**wide.architecture, 'width': 0.5})
    old, new = wide.network, narrow.network
    of_sum, of_twice, of_lone = [1, 2], [2, 3, 4, 5], [1, 2]
    for name, rows, columns in (
        ('first', of_sum, [0, 1, 2]),
        ('second', of_sum, of_sum),
        ('twice', of_twice, [0]),
        ('lone', of_lone, [*of_twice, 8, 9, 10]),
        ('head', range(CLASSES), [1, 2, *(3 + i for i in of_sum)]),
    ):
        was, found = old.get_submodule(name), new.get_submodule(name)
        assert torch.equal(found.weight, was.weight[list(rows)][:, columns]), name
        if was.bias is not None:
            assert torch.equal(found.bias, was.bias[list(rows)])
    assert wide.network.first.weight.shape[0] == 4, 'the wide one is as it was'
    assert narrow.training['compressed'][0]['ranking'].startswith('L1 norm')


@pytest.mark.usefixtures('known')
def test_of_equal_filters_the_first_stay() -> None:
    wide = tiny(lone=[1, 1, 1], first=[1] * 4, second=[1] * 4, twice=[1] * 8)
    for name in ('lone', 'first', 'second', 'twice'):
        wide.network.get_submodule(name).weight.data.copysign_(torch.ones(())).fill_(0.5)
    narrow = prune(wide, {**wide.architecture, 'width': 0.5})
    assert torch.equal(narrow.network.lone.bias, wide.network.lone.bias[:2])
    assert torch.equal(narrow.network.twice.bias, wide.network.twice.bias[:4])


def channels_kept(name: str, keep: float) -> dict[str, list[int]]:
    """Prune a network whose norms' means are the channels' numbers; return those that stay."""
    torch.manual_seed(5)
    spec = {**WIDE[name], 'num_classes': CLASSES}
    network = build_model(spec)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.arange(module.num_features))
    narrow = prune(checkpoint_of(network, spec), narrower(spec, keep)).network
    return {
        name: module.running_mean.int().tolist()
        for name, module in narrow.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }


@pytest.mark.parametrize(
    ('name', 'stages'),
    [
        ('icnet', ['trunk.4', 'trunk.5', 'deep.0', 'deep.1', 'deep.2']),
        ('pspnet50', ['body.4', 'body.5', 'body.6', 'last_stage']),
    ],
)
def test_what_is_added_keeps_the_same_channels(name: str, stages: list[str]) -> None:
    kept = channels_kept(name, 0.5)
    for stage in stages:
        ends = [
            norm for norm in kept
            if re.fullmatch(rf'{re.escape(stage)}\.\d+\.(expand|shortcut)\.1', norm)
        ]  # fmt: skip
        assert len(ends) >= 2
        first, *others = (kept[end] for end in ends)
        assert all(other == first for other in others)
        assert first != list(range(len(first))), 'not merely the first ones'
    # Inside a block, channels are chosen independently of other blocks.
    inside = [tuple(kept[norm]) for norm in kept if norm.endswith(('.reduce.1', '.conv.1'))]
    assert len(set(inside)) > len(inside) // 2


def test_a_wide_depthwise_convolution_keeps_all_six_of_a_channel() -> None:
    kept = channels_kept('bisenetv2', 0.5)
    gathering = [norm.removesuffix('.body.0.1') for norm in kept if norm.endswith('.body.0.1')]
    assert len(gathering) == 8
    for layer in gathering:
        inner = kept[f'{layer}.body.0.1']
        sixfold = [6 * channel + i for channel in inner for i in range(6)]
        assert kept[f'{layer}.body.1.1'] == sixfold
        if f'{layer}.shortcut.0.1' in kept:  # this block halves the size
            assert kept[f'{layer}.body.2.1'] == sixfold
            assert kept[f'{layer}.shortcut.1.1'] == kept[f'{layer}.body.3.1']
        else:
            assert kept[f'{layer}.body.2.1'] == kept[f'{layer.rpartition(".")[0]}.0.body.3.1']


@pytest.mark.parametrize(('name', 'keep', 'parts'), PRUNED[:4])
def test_cost_is_that_of_the_smaller_network(
    name: str, keep: float, parts: tuple[str, ...]
) -> None:
    spec = {**WIDE[name], 'num_classes': CLASSES}
    architecture = narrower(spec, keep, parts)
    pruned = prune(checkpoint_of(build_model(spec), spec), architecture)
    with torch.device('meta'):
        smaller = build_model(architecture).eval()
    assert {n: t.shape for n, t in pruned.network.state_dict().items()} == {
        n: t.shape for n, t in smaller.state_dict().items()
    }
    assert all(p.is_contiguous() for p in pruned.network.parameters())
    with FlopCounterMode(display=False) as counter:
        smaller.coarse_logits(torch.empty(1, 3, 64, 96, device='meta'))
    counted = total(cost_by_branch(pruned.network, (64, 96))).macs
    assert counted == counter.get_total_flops() / 2
    without = [
        p.numel() for n, p in smaller.named_parameters()
        if not any(n.startswith(f'{part}.') for part in smaller.training_only)
    ]  # fmt: skip
    assert parameters(pruned) == sum(without)


def multiply_adds(network: SegmentationNetwork, size: tuple[int, int]) -> dict[str, int]:
    """Count the multiply-adds of each convolution that runs, from its output's shape."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):

            def count(conv: Any, _: Any, output: Tensor, name: str = name) -> None:
                found[name] = output.shape[2] * output.shape[3] * conv.weight.numel()

            module.register_forward_hook(count)
    with torch.no_grad():
        network.coarse_logits(torch.zeros(1, 3, *size))
    return found


def test_cost_falls_as_the_widths_say() -> None:
    spec = {'name': 'icnet', 'num_classes': CLASSES, 'width': 0.5}
    wide = checkpoint_of(build_model(spec), spec)
    narrow = prune(wide, narrower(spec, 0.5 * 1.5))
    before, after = (multiply_adds(c.network, (128, 160)) for c in (wide, narrow))
    # By hand: the maps of 128x160 at 1/32 are 4x5, at 1/16 8x10, at 1/8 16x20.
    assert before['deep.2.1.conv.0'] == 4 * 5 * 9 * 256 * 256
    assert after['deep.2.1.conv.0'] == 4 * 5 * 9 * 192 * 192
    assert before['fusion24.refine.0'] == 8 * 10 * 9 * 256 * 128
    assert after['fusion24.refine.0'] == 8 * 10 * 9 * 192 * 128
    ends = {
        'trunk.4.0.reduce.0',
        'trunk.4.0.shortcut.0',
        'fusion24.refine.0',
        'fusion24.project.0',
    }
    for name, macs in before.items():
        inside = name.startswith(('trunk.4', 'trunk.5', 'deep', 'squeeze')) and name not in ends
        share = 0.75 if name in ends else 0.75**2 if inside else 1
        assert after[name] == share * macs, name
    assert len(before) == 64, 'as many as the official list has'
    # If only the head is pruned, BiSeNetV2's cost falls by half of the head's.
    spec = {**WIDE['bisenetv2'], 'num_classes': CLASSES}
    wide = checkpoint_of(build_model(spec), spec)
    costs = [
        cost_by_branch(c.network, (64, 96))
        for c in (wide, prune(wide, narrower(spec, 0.5, ['head'])))
    ]
    assert 2 * costs[1]['head'].macs == costs[0]['head'].macs
    for branch in ('detail', 'semantic', 'aggregation'):
        assert costs[1][branch] == costs[0][branch]


# What cannot be


def test_widths_are_rounded_as_the_network_rounds_them() -> None:
    assert narrower({'name': 'icnet', 'num_classes': 9}, 0.7) == {
        'name': 'icnet', 'num_classes': 9, 'width': 0.7,
    }  # fmt: skip
    spec = {'name': 'bisenetv2', 'num_classes': 9, 'head_width': 25, 'alpha': 0.5}
    assert narrower(spec, 0.7) == {
        **spec, 'head_width': 18, 'booster_width': round(0.7 * 128), 'alpha': 0.35,
    }  # fmt: skip
    assert narrower(spec, 0.7, ['branches']) == {**spec, 'alpha': 0.35}
    architecture = narrower(WIDE['bisenetv2'], 0.7)
    wide = {**WIDE['bisenetv2'], 'num_classes': CLASSES}
    pruned = prune(
        checkpoint_of(build_model(wide), wide), {**architecture, 'num_classes': CLASSES}
    )
    assert pruned.network.detail[0][0].out_channels == round(64 * 0.35)


def test_a_quarter_of_icnet_projects_as_the_whole_does() -> None:
    """With this width, the first block has as many output channels as input channels."""
    spec = {'name': 'icnet', 'width': 0.5, 'num_classes': CLASSES}
    pruned = prune(checkpoint_of(build_model(spec), spec), {**spec, 'width': 0.25})
    assert pruned.network.state_dict()['trunk.4.0.shortcut.0.weight'].shape == (64, 64, 1, 1)


@pytest.mark.parametrize(
    ('name', 'changes', 'message'),
    [
        ('icnet', {}, 'smaller network; found .* as large'),
        ('icnet', {'width': 0.1875}, r'smaller network; found .* would be \(12, .* from \(8, '),
        ('bisenetv2', {'aggregation': 'sum'}, 'same structure; found .* tensors: aggregation'),
        ('icnet', {'num_classes': 4}, 'of the same num_classes; found'),
        ('bisenetv2', {'head_width': 0}, 'at least one channel of each layer'),
        ('bisenetv2_large', {'depth': 1}, 'same structure; found .* differs in .*body'),
        ('icnet', {'name': 'pspnet50'}, 'of the same name; found'),
        ('bisenetv2', {'alpha': 0.25, 'head_width': 99}, 'smaller network; found .*head'),
    ],
    ids=str,
)
@pytest.mark.filterwarnings('ignore:Initializing zero-element tensors')
def test_what_pruning_cannot_make_is_named(
    name: str, changes: dict[str, Any], message: str
) -> None:
    spec = {**WIDE[name], 'num_classes': CLASSES}
    with pytest.raises(ValueError, match=message):
        prune(checkpoint_of(build_model(spec), spec), {**spec, **changes})


class Mixed(Tiny):
    """Has a softmax over channels, so that each channel depends on all."""

    def coarse_logits(self, images: Tensor) -> Tensor:
        x = self.second(self.first(images))
        lone = self.lone(torch.cat([self.twice(x), images], 1))
        return self.head(torch.cat((lone.softmax(1), x), 1))


class Grouped(Tiny):
    """Has a convolution with two groups of several channels each."""

    def __init__(self, num_classes: int, width: float = 1) -> None:
        super().__init__(num_classes, width)
        self.second = nn.Conv2d(round(4 * width), round(4 * width), 1, groups=2)


class Flat(Tiny):
    """Flattens its channels, which can then no longer be traced."""

    def coarse_logits(self, images: Tensor) -> Tensor:
        return self.first(images).flatten(1)


@pytest.mark.parametrize(
    ('network', 'message'),
    [
        (Mixed, 'cannot be followed'),
        (Grouped, 'second.weight: expected 1 group to prune, or as many as channels; found 2'),
        (Flat, 'expected each channel of flatten to depend on one channel, to prune it'),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)
def test_channels_that_cannot_be_followed_are_said(
    network: type[Tiny], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, 'tiny', network)
    spec = {'name': 'tiny', 'num_classes': CLASSES}
    with pytest.raises(ValueError, match=message):
        prune(checkpoint_of(build_model(spec), spec), {**spec, 'width': 0.5})


# The command


@pytest.fixture(scope='module')
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return write_inputs(tmp_path_factory.mktemp('inputs'))


@pytest.mark.parametrize(
    ('more', 'changes', 'message'),
    [
        (['--keep', '1'], {}, 'falling shares between 1 and 0.*found 1'),
        (['--keep', '0.5', '0.75'], {}, 'falling shares between 1 and 0.*found 0.5 0.75'),
        (['--keep', '0.5', '0.5'], {}, 'falling shares'),
        (['--keep', '0.5', '0'], {}, 'falling shares'),
        (['--keep', '0.999'], {}, 'smaller network; found .* as large'),
        (
            ['--parts', 'head'],
            {},
            r'icnet: expected one of its parts to make narrower \(branches\)',
        ),
        (['--parts', 'tail'], {}, "invalid choice: 'tail'"),
        (['--epochs', '0'], {}, 'epochs: expected 1 or more; found 0'),
        (['--precision', 'int8'], {}, 'found int8, which needs ranges'),
        (['--backend', 'tvm'], {}, 'tvm'),
        (['--baseline', 'nowhere'], {}, "found 'nowhere'"),
        ([], {'network': {'name': 'bisenetv2'}}, 'to compress, icnet; found one of bisenetv2'),
        ([], {'splits': ['train', 'nowhere']}, 'nowhere'),
        ([], {'dataset': 'camvid32'}, r'network of the 31 classes of camvid32.*found 11'),
    ],
    ids=str,
)
def test_a_compression_that_cannot_be_says_why(
    more: list[str],
    changes: dict[str, Any],
    message: str,
    inputs: Inputs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, out = inputs._replace(recipe=tmp_path / 'recipe.yaml'), tmp_path / 'out'
    given.recipe.write_text(yaml.safe_dump({**TINY, **changes}))
    if changes.get('dataset') == 'camvid32':
        given = given._replace(root=dataset_layouts.write_camvid32(tmp_path / 'camvid32'))
    try:
        code = main(arguments(given, out, *more))
    except SystemExit as stop:  # argparse's way to report errors
        code = stop.code
    assert code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.glob('out/**/*.safetensors'))


def test_a_corrupt_checkpoint_is_named(
    inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corrupt = tmp_path / 'corrupt.safetensors'
    corrupt.write_bytes(inputs.model.read_bytes()[:9999])
    assert main(arguments(inputs._replace(model=corrupt), tmp_path / 'out')) == 2
    assert f'{corrupt}: expected a checkpoint of seg_ros' in capsys.readouterr().err
