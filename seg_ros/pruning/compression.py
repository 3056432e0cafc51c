# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Filter pruning: a narrower network of the filters with the largest norms (1704.08545, 3.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
import copy
import inspect
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ..inference.checkpoint import Checkpoint
from ..models import build_model, NETWORKS, SegmentationNetwork
from .channels import Axis, Channels, SIZE

RANKING = 'L1 norm of filters, each as a share of its layer'
"""How filters are ranked, as recorded in a checkpoint."""

PARTS = {'head': ('head_width', 'booster_width'), 'branches': ('width', 'alpha')}
"""The parts of networks that can be made narrower, and the arguments that set their widths."""

TOLERANCE = 1e-6
"""
The largest difference of the pruned network's logits, in float64, as a share of the largest one.

One wrong channel makes a far larger difference.
"""


def narrower(
    architecture: Mapping[str, Any], keep: float, parts: Iterable[str] = PARTS
) -> dict[str, Any]:
    """
    Return an architecture that has a share of another one's channels.

    :param architecture: the other architecture.
    :param keep: the share of channels to keep, such as 0.5.
    :param parts: keys of :data:`PARTS`; those that the network does not have are left out.
    :raises ValueError: the network has none of the parts.
    """
    name = architecture['name']
    arguments = inspect.signature(NETWORKS[name]).parameters
    widths = {part: [w for w in PARTS[part] if w in arguments] for part in PARTS}
    chosen = [width for part in parts for width in widths[part]]
    if not chosen:
        known = ', '.join(part for part, found in widths.items() if found)
        raise ValueError(
            f'{name}: expected one of its parts to make narrower ({known or "it has none"}); '
            f'found {", ".join(parts)}'
        )
    found = dict(architecture)
    for width in chosen:
        wide = found.get(width, arguments[width].default)
        # A width is a number of channels, which must be an integer, or a factor.
        counts = arguments[width].annotation in (int, 'int')
        found[width] = round(keep * wide) if counts else keep * wide
    return found


def prune(checkpoint: Checkpoint, architecture: Mapping[str, Any]) -> Checkpoint:
    """
    Make a network narrower by removing channels, and leave all other weights unchanged.

    The channels with the largest scores stay. The score of tied channels (:class:`Channels`) is
    the sum, over the layers that compute them, of the L1 norm of their filters as a share of the
    layer's total. Li et al. (1608.08710) rank filters by their L1 norm, too, but layer by layer;
    shares give all layers of a sum the same influence.

    :param checkpoint: the network to prune, which is not changed.
    :param architecture: architecture of the network to make, of the same name and structure but
        with smaller widths, which decide how many channels stay.
    :returns: a checkpoint without ranges of activations and without scores, which were those of
        the wider network. Its ``training['compressed']`` lists this pruning after earlier ones.
    :raises ValueError: the architecture does not exist, has another structure or is not smaller,
        or channels cannot be traced through the network.
    """
    network = checkpoint.network
    with torch.device('meta'):
        smaller = build_model(architecture).eval()
    tensors = network.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in smaller.state_dict().items()}
    _check_smaller(checkpoint.architecture, architecture, tensors, shapes)
    channels = Channels(network)
    staying = _staying(channels, _scores(channels, tensors), shapes)
    kept = {
        axis: torch.tensor([i for i, c in enumerate(along) if channels.together(c) in staying])
        for axis, along in channels.axes.items()
    }
    pruned = dict(tensors)
    for (name, dimension), indices in kept.items():
        pruned[name] = pruned[name].index_select(dimension, indices)
    for name, tensor in pruned.items():
        if tensor.shape != shapes[name]:
            raise ValueError(
                f'{name}: expected a tensor that the network uses in training; found one that it '
                f'does not use, so that {tuple(tensor.shape)} cannot become {shapes[name]}'
            )
    smaller.load_state_dict({n: t.clone() for n, t in pruned.items()}, assign=True)
    _check_same(network, smaller, kept)
    metadata = {k: v for k, v in checkpoint.training.items() if k not in ('miou', 'iou')}
    step = {
        'architecture': checkpoint.architecture,
        'sha256': checkpoint.sha256,
        'data': checkpoint.training.get('data', ''),
        'terms': checkpoint.training.get('terms', ''),
        'ranking': RANKING,
    }
    return Checkpoint(
        smaller,
        dict(architecture),
        checkpoint.labels,
        checkpoint.input_size,
        checkpoint.preprocessing,
        {**metadata, 'compressed': [*metadata.get('compressed', ()), step]},
    )


def _check_smaller(
    wide: Mapping[str, Any],
    narrow: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Raise ValueError unless both networks have the same tensors, and some are now smaller."""
    found = f'{dict(narrow)} to prune {dict(wide)} to'
    for key in ('name', 'num_classes'):
        if narrow.get(key) != wide.get(key):
            raise ValueError(f'expected a network of the same {key}; found {found}')
    if tensors.keys() != shapes.keys():
        other = sorted(tensors.keys() ^ shapes.keys())
        raise ValueError(
            f'expected a network of the same structure; found {found}, which differs in '
            f'{len(other)} tensors: {", ".join(other[:3])}. Change its widths alone'
        )
    for name, shape in shapes.items():
        had = tuple(tensors[name].shape)
        if len(had) != len(shape) or any(not 0 < new <= old for new, old in zip(shape, had)):
            raise ValueError(
                f'expected a smaller network; found {found}, whose {name} would be {shape}, from '
                f'{had}. Keep less than it has, and at least one channel of each layer'
            )
    if all(shapes[name] == tensor.shape for name, tensor in tensors.items()):
        raise ValueError(
            f'expected a smaller network; found {found}, which is as large. Keep less of it'
        )


def _scores(channels: Channels, tensors: Mapping[str, Tensor]) -> Counter[int]:
    """Return the score of tied channels, by the channel that represents them."""
    scores: Counter[int] = Counter()
    for name, dimension in channels.filters:
        weight = tensors[name].double().movedim(dimension, 0).flatten(1)
        norms = weight.abs().sum(1)
        shares = norms / norms.sum().clamp(min=torch.finfo(norms.dtype).tiny)
        for channel, share in zip(channels.axes[name, dimension], shares.tolist()):
            scores[channels.together(channel)] += share
    return scores


def _staying(
    channels: Channels, scores: Mapping[int, float], shapes: Mapping[str, tuple[int, ...]]
) -> set[int]:
    """
    Choose which channels stay, so that every tensor gets its new shape.

    Channels that occur in the same axes compete with each other. The number of them that stay
    follows from an axis that holds no others, or only others whose number is known already.

    :param scores: the score of tied channels, by the channel that represents them.
    :param shapes: the new shape of each tensor.
    :returns: the representatives of the tied channels that stay.
    """
    axes = {axis: [channels.together(c) for c in along] for axis, along in channels.axes.items()}
    places: dict[int, list[Axis]] = {}
    for axis, along in axes.items():
        for shared in along:
            places.setdefault(shared, []).append(axis)
    rivals: dict[tuple[Axis, ...], list[int]] = {}
    for shared, where in places.items():
        rivals.setdefault(tuple(where), []).append(shared)
    counts: dict[tuple[Axis, ...], int] = {}
    open_axes = set(axes)
    while open_axes:
        settled = set()
        for name, dimension in open_axes:
            axis, target = (name, dimension), shapes[name][dimension]
            groups = {tuple(places[shared]) for shared in axes[axis]}
            if target == len(axes[axis]):
                counts.update({group: len(rivals[group]) for group in groups})
            rest = target - sum(g.count(axis) * counts[g] for g in groups if g in counts)
            unknown = groups - counts.keys()
            if len(unknown) > 1:
                continue
            settled.add(axis)
            for group in unknown:
                counts[group], rest = divmod(rest, group.count(axis))
            if rest or any(not 0 <= counts[g] <= len(rivals[g]) for g in groups):
                raise ValueError(
                    f'{name}: expected to keep {target} of {len(axes[axis])} channels in '
                    f'dimension {dimension}; found channels that can only be kept together. '
                    'Choose other widths'
                )
        if not settled:
            raise ValueError(
                f'expected widths that decide how many channels stay; found {len(open_axes)} axes '
                'that share channels with several others, such as an axis of '
                f'{min(open_axes)[0]}'
            )
        open_axes -= settled
    staying: set[int] = set()
    for group, members in rivals.items():
        # The sort is stable: of equal scores, the first channels stay.
        staying.update(sorted(members, key=lambda c: -scores[c])[: counts[group]])
    return staying


def _check_same(
    wide: SegmentationNetwork, narrow: SegmentationNetwork, kept: Mapping[Axis, Tensor]
) -> None:
    """
    Raise ValueError unless the narrow network computes what the wide one does without channels.

    This finds networks that mix channels in a way that :class:`Channels` does not recognise.
    """
    masked = copy.deepcopy(wide).double().eval()
    tensors = masked.state_dict()
    for (name, dimension), indices in kept.items():
        gone = torch.ones(tensors[name].shape[dimension], dtype=torch.bool)
        gone[indices] = False
        tensors[name].movedim(dimension, 0)[gone] = 0
    images = torch.randn(
        1, 3, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        expected = tree_leaves(masked.forward_train(images))
        found = tree_leaves(copy.deepcopy(narrow).double().forward_train(images))
    for one, other in zip(expected, found, strict=True):
        if not (one - other).abs().max() <= TOLERANCE * one.abs().max():
            raise ValueError(
                f'expected {type(wide).__name__} without the pruned channels to compute what the '
                f'smaller one does; found logits up to {one.abs().max():.3g} that differ by '
                f'{(one - other).abs().max():.3g}. Its channels cannot be followed'
            )
