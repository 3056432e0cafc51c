# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The network of doc/new_network.md, taken from there, keeps to all that the page promises."""

from __future__ import annotations

from collections.abc import Iterator

from network_contract import check_any_size, check_learning
from new_network_page import (
    check_engine,
    ENTRY,
    FILE,
    make_checkpoint,
    NAME,
    noise,
    registered,
    SIZE,
    SPEC,
)
import pytest
import torch
from torch import nn

from seg_ros import models
from seg_ros.inference.backends.engine import Engine
from seg_ros.inference.backends.openvino_engine import OpenVinoEngine
from seg_ros.inference.backends.torch_engine import TorchEngine
from seg_ros.inference.checkpoint import Checkpoint
from seg_ros.inference.deployed import Deployed
from seg_ros.models import build_model
from seg_ros.models.cascade import EXITS
from seg_ros.pruning.compression import prune

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module', autouse=True)
def network_of_the_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with registered(tmp_path_factory.mktemp('models')):
        yield


@pytest.fixture(scope='module')
def checkpoint() -> Checkpoint:
    return make_checkpoint()


def test_the_page_holds_one_file_and_one_entry() -> None:
    assert len(FILE.splitlines()) <= 120 and len(ENTRY.splitlines()) == 1
    assert set(models.NETWORKS) > {NAME, 'icnet', 'bisenetv2'}


def test_it_has_the_layers_of_vgg16() -> None:
    """Thirteen 3x3 convolutions of VGG16's widths, and a 2x2 pooling after each early block."""
    network = build_model({'name': NAME, 'num_classes': 17})
    layers = [*network.trunk.modules(), *network.deep.modules()]
    widths = [m.out_channels for m in layers if isinstance(m, nn.Conv2d)]
    assert widths == [64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    pools = [m for m in layers if isinstance(m, nn.MaxPool2d)]
    assert [(p.kernel_size, p.stride) for p in pools] == [(2, 2)] * 3


@pytest.mark.parametrize('size', [(360, 480), (212, 87), (33, 47), (1, 1)], ids=str)
def test_any_size_of_image(size: tuple[int, int]) -> None:
    check_any_size({'name': NAME, 'width': 0.25}, (4, 16, 8), size, classes=17)


def test_every_parameter_learns() -> None:
    check_learning({'name': NAME, 'width': 0.25})


@pytest.mark.parametrize('last', EXITS)
def test_the_exits_are_those_that_were_trained(checkpoint: Checkpoint, last: str) -> None:
    network = checkpoint.network.ending(last)
    images = torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        main_logits, (sub4, sub24) = network.forward_train(images)
        expected = {'sub4': sub4, 'sub24': sub24, 'sub124': main_logits}[last]
        torch.testing.assert_close(network.coarse_logits(images), expected)
        whole = network.upsample(expected, SIZE)
        torch.testing.assert_close(network(images), whole)


@pytest.mark.parametrize('last', EXITS)
def test_deployed_it_computes_the_same_without_its_batch_norms(
    checkpoint: Checkpoint, last: str
) -> None:
    network = checkpoint.network.ending(last)
    short = Checkpoint(network, checkpoint.architecture, checkpoint.labels, SIZE)
    deployed = Deployed(short)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in deployed.modules())
    pixels = noise()
    images = checkpoint.preprocessing.normalise(pixels.permute(0, 3, 1, 2).float())
    with torch.inference_mode():
        expected = network.coarse_logits(images)
        assert (deployed(pixels) - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize('engine', [TorchEngine, OpenVinoEngine])
def test_every_engine_runs_it(checkpoint: Checkpoint, engine: type[Engine]) -> None:
    check_engine(checkpoint, engine)


def test_it_is_pruned_along_its_own_graph(checkpoint: Checkpoint) -> None:
    smaller = prune(checkpoint, {**SPEC, 'width': SPEC['width'] / 2})
    assert smaller.network.trunk[0][0][0].out_channels == 2
    pixels = noise()
    with torch.inference_mode():
        assert Deployed(smaller)(pixels).shape == Deployed(checkpoint)(pixels).shape
