# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Imported ICNets give the logits of mmsegmentation's and liminn's own, in every branch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from import_fixtures import (
    Arrays,
    assert_logits_agree,
    load_pair,
    make_image,
    make_weights,
    mmsegmentation_network,
    original,
    Pair,
    Size,
    STORE,
    store_pair,
)
from numpy.typing import NDArray
import pytest
from safetensors.torch import save_file
import torch
from torch import nn, Tensor

from seg_ros.inference.checkpoint import Checkpoint
from seg_ros.inference.importers import UnsupportedError
from seg_ros.inference.importers.choice import import_network
from seg_ros.inference.labels import CITYSCAPES
from seg_ros.inference.preprocessing import Preprocessing
from seg_ros.models.cascade import EXITS

pytestmark = pytest.mark.usefixtures('one_thread')


class Case(NamedTuple):
    """
    A network of another project.

    :param sizes: of images whose logits the original gives at the image's size.
    :param damped: as :func:`import_fixtures.make_weights` takes it.
    :param left_out: the file's tensors that are not taken over.
    """

    project: str
    depth: int
    sizes: list[Size]
    damped: tuple[str, ...]
    left_out: tuple[str, ...] = ()


# Odd maps, and maps whose halves are rounded; large enough for the dilation of 4 to reach beyond
# its own pixel. liminn's output has the size of its input where that is a multiple of 8.
ANY = [(160, 224), (131, 197)]
EIGHTHS = [(160, 224), (136, 200)]
CASES = {
    'mmsegmentation_icnet18': Case('mmsegmentation', 18, ANY, ('bn2.weight', 'convs.0.bn.weight')),
    'mmsegmentation_icnet50': Case('mmsegmentation', 50, ANY, ('bn3.weight', 'convs.0.bn.weight')),
    'mmsegmentation_icnet101': Case(
        'mmsegmentation', 101, ANY, ('bn3.weight', 'convs.0.bn.weight')
    ),
    'liminn_icnet50': Case(
        'liminn',
        50,
        EIGHTHS,
        ('bn3.weight', 'conv_low.1.weight', 'conv_high.1.weight'),
        ('pretrained.fc.weight', 'pretrained.fc.bias'),
    ),
}


Run = Callable[[Tensor], list[Tensor]]


def mmsegmentation(depth: int, patch: pytest.MonkeyPatch) -> tuple[nn.Module, Run]:
    """Return the network of the project's own config, and how it gives all its logits."""
    config = f'icnet/icnet_r{depth}-d8_4xb2-160k_cityscapes-832x832.py'
    network: Any = mmsegmentation_network(config, patch)

    def run(image: Tensor) -> list[Tensor]:
        features = network.extract_feat(image)
        facts = [{'img_shape': tuple(image.shape[2:])}]
        main = network.decode_head.predict(features, facts, network.test_cfg)
        return [*(head(features) for head in network.auxiliary_head), main]

    return network, run


def liminn(depth: int, patch: pytest.MonkeyPatch) -> tuple[nn.Module, Run]:
    """Return the project's network, and how it gives all its logits."""
    folder = original('ICNet-pytorch')
    pytest.importorskip('torchsummary')
    patch.syspath_prepend(folder)
    from models import ICNet

    network = ICNet(19, f'resnet{depth}', pretrained_base=False)

    def run(image: Tensor) -> list[Tensor]:
        whole, _, sub24, sub4 = network(image)
        return [sub4, sub24, whole]

    return network, run


ORIGINALS = {'mmsegmentation': mmsegmentation, 'liminn': liminn}


def imported(weights: Arrays, folder: Path) -> tuple[Checkpoint, dict[str, str]]:
    """Import weights from a file, as users do; the file does not stay."""
    path = folder / 'theirs.safetensors'
    save_file({name: torch.from_numpy(array) for name, array in weights.items()}, path)
    found = import_network(path)
    path.unlink()
    return found.checkpoint, found.left_out


def logits_of(checkpoint: Checkpoint, size: Size) -> list[NDArray]:
    """Return the logits of sub4 and sub24 at their own size, and of sub124 at the image's."""
    network: Any = checkpoint.network
    image = torch.from_numpy(make_image(size))
    with torch.inference_mode():
        early = [network.ending(name).coarse_logits(image).numpy() for name in EXITS[:2]]
        return [*early, network(image).numpy()]


@pytest.mark.parametrize('name', CASES)
def test_logits_are_the_originals_own(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    network, run = ORIGINALS[case.project](case.depth, monkeypatch)
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    weights = make_weights(shapes, case.damped)
    network.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
    network.eval()
    checkpoint, _ = imported(weights, tmp_path)
    answers = {}
    for size in case.sizes:
        with torch.inference_mode():
            answers[size] = [x.numpy() for x in run(torch.from_numpy(make_image(size)))]
        for found, expected in zip(logits_of(checkpoint, size), answers[size], strict=True):
            assert_logits_agree(found, expected)
    if STORE:
        store_pair(name, Pair(shapes, answers))


@pytest.mark.parametrize('name', CASES)
def test_logits_are_those_the_original_gave(name: str, tmp_path: Path) -> None:
    case, pair = CASES[name], load_pair(name)
    checkpoint, left_out = imported(make_weights(pair.shapes, case.damped), tmp_path)
    assert checkpoint.architecture['depth'] == case.depth
    assert checkpoint.labels == CITYSCAPES
    assert checkpoint.preprocessing == Preprocessing(
        (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 'rgb'
    )
    assert checkpoint.input_size == (1024, 2048)
    assert tuple(left_out) == case.left_out
    assert list(pair.logits) == case.sizes
    for size in case.sizes:
        for found, expected in zip(logits_of(checkpoint, size), pair.logits[size], strict=True):
            assert_logits_agree(found, expected, stored=True)


@pytest.mark.parametrize('name', ['mmsegmentation_icnet18', 'liminn_icnet50'])
def test_an_unknown_backbone_is_named(name: str, tmp_path: Path) -> None:
    # What decides is in the names; the tensors could be of any shape.
    weights = make_weights(dict.fromkeys(load_pair(name).shapes, (19,)))
    changed = {key: a for key, a in weights.items() if '.layer3.1.' not in key}
    blocks = '3, 4, 5, 3 blocks of three' if '50' in name else '2, 2, 1, 2 blocks of two'
    with pytest.raises(UnsupportedError, match=f'theirs.*depth 18, 34, 50.*stages of {blocks}'):
        imported(changed, tmp_path)


def test_what_has_no_place_is_named(tmp_path: Path) -> None:
    name = 'mmsegmentation_icnet18'
    shapes = {**load_pair(name).shapes, 'decode_head.conv_cat.conv.weight': (1,)}
    with pytest.raises(UnsupportedError, match='no place for decode_head.conv_cat.conv.weight'):
        imported(make_weights(shapes), tmp_path)
