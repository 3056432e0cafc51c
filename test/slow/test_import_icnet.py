# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Imported ICNets of every depth, and the originals run beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from import_fixtures import (
    assert_logits_agree,
    make_image,
    make_weights,
    mmsegmentation_network,
    original,
    Pair,
    STORE,
    store_pair,
)
from imported_networks import check_stored_icnet, icnet_logits, ICNETS, import_icnet
import pytest
import torch
from torch import nn, Tensor

pytestmark = pytest.mark.usefixtures('one_thread')

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


@pytest.mark.parametrize('name', ICNETS)
def test_logits_are_the_originals_own(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = ICNETS[name]
    network, run = ORIGINALS[case.project](case.depth, monkeypatch)
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    weights = make_weights(shapes, case.damped)
    network.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
    network.eval()
    checkpoint, _ = import_icnet(weights, tmp_path)
    answers = {}
    for size in case.sizes:
        with torch.inference_mode():
            answers[size] = [x.numpy() for x in run(torch.from_numpy(make_image(size)))]
        for found, expected in zip(icnet_logits(checkpoint, size), answers[size], strict=True):
            assert_logits_agree(found, expected)
    if STORE:
        store_pair(name, Pair(shapes, answers))


@pytest.mark.parametrize('name', ICNETS)
def test_logits_are_those_the_original_gave(name: str, tmp_path: Path) -> None:
    check_stored_icnet(name, tmp_path)
