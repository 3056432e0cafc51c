# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Import of other projects' BiSeNetV2: each network gives the logits of the original."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from import_fixtures import assert_logits_agree, load_pair, make_weights, Pair, Size
from imported_networks import bisenetv2_logits, BISENETV2S, import_bisenetv2
import numpy as np
import pytest
import torch
from torch import nn

from seg_ros.inference.checkpoint import Checkpoint
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.quantization import calibrate, quantize
from seg_ros.interop.importers import UnsupportedError
from seg_ros.interop.importers.bisenetv2 import IMPORTERS

pytestmark = pytest.mark.usefixtures('one_thread')

CLASSES = 19


class Stored(NamedTuple):
    project: str
    pair: Pair
    checkpoint: Checkpoint


@pytest.fixture(scope='module', params=BISENETV2S)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Import weights for which the original's logits are stored."""
    pair = load_pair(f'{request.param}_bisenetv2')
    arrays = make_weights(pair.shapes)
    folder = tmp_path_factory.mktemp(request.param)
    return Stored(request.param, pair, import_bisenetv2(request.param, arrays, folder))


def test_logits_are_those_that_the_original_gave(stored: Stored) -> None:
    assert list(stored.pair.logits) == BISENETV2S[stored.project]
    for size, logits in stored.pair.logits.items():
        found = bisenetv2_logits(stored.checkpoint, size)
        assert len(found) == len(logits) == 5
        for ours, expected in zip(found, logits):
            assert_logits_agree(ours, expected, stored=True)


def test_what_else_a_project_says_is_taken_over(stored: Stored) -> None:
    head_width, mean, std = {
        'coincheung': (1024, (83.0535, 94.095, 82.1865), (53.856, 54.774, 53.9325)),
        'mmsegmentation': (1024, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        'paddleseg': (128, (127.5,) * 3, (127.5,) * 3),
    }[stored.project]
    checkpoint = stored.checkpoint
    assert checkpoint.architecture == {
        'name': 'bisenetv2',
        'variant': stored.project,
        'num_classes': CLASSES,
        'head_width': head_width,
    }
    assert checkpoint.input_size == (1024, 2048)
    assert checkpoint.preprocessing.channel_order == 'rgb'
    assert checkpoint.preprocessing.mean == pytest.approx(mean)
    assert checkpoint.preprocessing.std == pytest.approx(std)


@pytest.mark.parametrize('size', [(64, 96), (61, 91)], ids=str)
def test_an_imported_network_is_deployed_like_any(stored: Stored, size: Size) -> None:
    """Folding norms does not change the logits, and 8 or 16 bits change them little."""
    pixels = torch.from_numpy(np.random.RandomState(2).randint(0, 256, (2, *size, 3), np.uint8))
    images = pixels.permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected = stored.checkpoint.network.coarse_logits(
            stored.checkpoint.preprocessing.normalise(images)
        )
        deployed = Deployed(stored.checkpoint)
        left = [name for name, m in deployed.named_modules() if isinstance(m, nn.BatchNorm2d)]
        assert left == ['network.context.norm'], 'behind a mean, not a convolution'
        found = deployed(pixels)
        quantized = quantize(deployed, calibrate(stored.checkpoint, [pixels]))(pixels)
        deployed.network.to(torch.bfloat16, memory_format=torch.channels_last)
        halved = deployed(pixels)
    assert (found - expected).abs().max() < 1e-4
    for rounded, bound in ((halved, 0.05), (quantized, 0.1)):
        assert (rounded - expected).std() < bound * expected.std()
        assert not torch.equal(rounded, expected)


def test_a_head_of_another_form_or_width_is_told(tmp_path: Path) -> None:
    arrays = make_weights(load_pair('coincheung_bisenetv2').shapes)
    old = {name.replace('head.conv_out.1.', 'head.conv_out.'): a for name, a in arrays.items()}
    with pytest.raises(UnsupportedError, match='named head.conv_out.1.weight; found none'):
        import_bisenetv2('coincheung', old, tmp_path)
    stem = 'segment.S1S2.conv.conv.weight'
    with pytest.raises(UnsupportedError, match=f'starts with 16 channels; found 8 in {stem}'):
        import_bisenetv2('coincheung', {**arrays, stem: arrays[stem][:8]}, tmp_path)
    narrow = {
        name: array[:64] if name.startswith('head.conv.') and array.ndim else array
        for name, array in arrays.items()
    }
    narrow['head.conv_out.1.weight'] = arrays['head.conv_out.1.weight'][:, :64]
    assert import_bisenetv2('coincheung', narrow, tmp_path).architecture['head_width'] == 64


@pytest.mark.parametrize(
    ('classes', 'red', 'size'), [(150, 125.825, (640, 640)), (171, 119.754, (640, 640))]
)
def test_other_data_sets_of_coincheung_have_means_of_their_own(
    classes: int, red: float, size: Size
) -> None:
    shapes = load_pair('coincheung_bisenetv2').shapes
    with torch.device('meta'):
        weights = {name: torch.empty(shape) for name, shape in shapes.items()}
        weights['head.conv_out.1.weight'] = torch.empty(classes, 1024, 1, 1)
    conversion = IMPORTERS[0].convert(weights)
    assert conversion.architecture['num_classes'] == classes
    assert conversion.preprocessing.mean[0] == pytest.approx(red, abs=1e-3)
    assert conversion.input_size == size
