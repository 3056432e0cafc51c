# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""8-bit networks: their ranges, rounding and accuracy, and the command that calibrates them."""

from __future__ import annotations

import json
from pathlib import Path
import re

import numpy as np
import pytest
from quantization_fixtures import calibrated, check_rounding, same_labels
from safetensors import safe_open
from safetensors.torch import load_file, save_file
import torch
from torch import nn, Tensor

from seg_ros.__main__ import main
from seg_ros.commands.sample_drive import write_drive
from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.images.image_file import write_image
from seg_ros.images.labels import LabelSet
from seg_ros.inference.checkpoint import (
    add_ranges,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.preprocessing import Preprocessing
from seg_ros.inference.quantization import calibrate, quantize, QuantizedConv
from seg_ros.models import build_model, SegmentationNetwork

LABELS = LabelSet(('road', 'car'), ((10, 20, 30), (200, 0, 0)))
SPEC = {'name': 'bisenetv2', 'num_classes': 2, 'head_width': 8, 'booster_width': 8, 'alpha': 0.25}
SIZE = (48, 64)

pytestmark = pytest.mark.usefixtures('one_thread')


class Sum(SegmentationNetwork):
    """A network of r - g and b - g, and then of twice the first and the difference of the two."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 1, bias=False)
        self.second = nn.Conv2d(2, 2, 1, bias=False)
        self.unused = nn.Conv2d(2, 2, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1, -1, 0], [0, -1, 1]])[:, :, None, None])
            self.second.weight.copy_(torch.tensor([[2, 0], [1, -1]])[:, :, None, None])

    def coarse_logits(self, images: Tensor) -> Tensor:
        return self.second(self.first(images))


def pixels(*colours: tuple[int, int, int]) -> Tensor:
    """Return an image with one row of these colours, (1, 1, W, 3)."""
    return torch.tensor([[colours]], dtype=torch.uint8)


@pytest.fixture(scope='module')
def by_hand() -> Checkpoint:
    plain = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Checkpoint(Sum().eval(), {}, LABELS, (1, 3), plain)


@pytest.fixture(scope='module')
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a small untrained network without ranges."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('weights') / 'small.safetensors'
    checkpoint = Checkpoint(build_model(SPEC).eval(), SPEC, LABELS, SIZE)
    save_checkpoint(path, checkpoint, torch.float16)
    return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('images')
    drive = SampleDrive(seed=2, frames=7, size=(64, 48))
    for i in range(len(drive)):
        write_image(path / f'{i}.png', drive[i][0])
    return path


def run(*arguments: object) -> int:
    return main(['calibrate', *map(str, arguments)])


# Ranges


def test_ranges_are_the_mean_of_each_images_extremes(by_hand: Checkpoint) -> None:
    """Only convolutions that run, and not on the image itself, have a range."""
    batches = [
        # The second convolution gets (10, 0), (-30, -20) and (0, 0) from the first of these
        # images, and (200, 0), (-10, -10) and (0, 0) from the second.
        pixels((10, 0, 0), (0, 30, 10), (5, 5, 5)),
        pixels((200, 0, 0), (0, 10, 0), (1, 1, 1)),
    ]
    assert calibrate(by_hand, batches) == {'second': (-20.0, 105.0)}


def test_no_images_give_no_ranges(by_hand: Checkpoint) -> None:
    with pytest.raises(ValueError, match='expected images to calibrate with; found none'):
        calibrate(by_hand, [])


def test_every_convolution_of_a_network_behind_the_image_has_a_range(file: Path) -> None:
    checkpoint = load_checkpoint(file)
    ranges = calibrate(checkpoint, [torch.randint(0, 256, (2, *SIZE, 3), dtype=torch.uint8)])
    convolutions = {
        name
        for name, module in Deployed(checkpoint).network.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels != 3
    }
    assert ranges.keys() == convolutions
    assert ranges['detail.1.0'][0] == 0  # behind a ReLU
    assert all(low < high for low, high in ranges.values())


# Rounding


@pytest.mark.parametrize(
    ('symmetric', 'expected'),
    [
        # Steps of 0.01 from -0.5 to 2.05, of which 2.3 is beyond.
        (False, [-0.5, -0.5, 0.01, 0.0, 1.0, 2.05]),
        # Steps of 2.05 / 127 from -2.066 to 2.05.
        (True, [n * 2.05 / 127 for n in (-62, -31, 1, 0, 62, 127)]),
    ],
)
def test_inputs_are_rounded_to_256_levels(symmetric: bool, expected: list[float]) -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(conv.weight)
    x = torch.tensor([-1.0, -0.5, 0.012, 0.004, 1.0, 2.3])
    found = QuantizedConv(conv, -0.5, 2.05, symmetric)(x.reshape(1, 1, 1, 6))
    np.testing.assert_allclose(found.detach().flatten(), expected, atol=1e-6)


def test_weights_are_rounded_per_output_channel() -> None:
    conv = nn.Conv2d(3, 3, 1)
    weight = [[1.27, -0.011, 0.004], [-127.0, 0.6, 63.3], [0.0, 0.0, 0.0]]
    with torch.no_grad():
        conv.weight.copy_(torch.tensor(weight)[:, :, None, None])
        conv.bias.copy_(torch.tensor([0.123, 0.0, 5.5]))
    quantized = QuantizedConv(conv, 0, 255, False)
    found = quantized(torch.eye(3).reshape(3, 3, 1, 1)).detach()[:, :, 0, 0].T
    rounded = [[1.27, -0.01, 0.0], [-127.0, 1.0, 63.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(found - conv.bias.detach()[:, None], rounded, atol=1e-6)


def test_quantizing_leaves_the_network_alone(by_hand: Checkpoint) -> None:
    deployed = Deployed(by_hand)
    image = pixels((9, 0, 0), (77, 0, 1), (0, 0, 3))
    before = deployed(image)
    quantized = quantize(deployed, {'second': (-85.0, 170.0)})
    assert torch.equal(deployed(image), before)
    assert isinstance(quantized.network.second, QuantizedConv)
    assert type(quantized.network.first) is nn.Conv2d
    # Steps of 1, and weights of 127 and 64 of 127 parts: exact but for those.
    np.testing.assert_allclose(quantized(image), before, rtol=0.01)


def test_without_ranges_the_message_names_the_remedy(by_hand: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match=r'int8: expected .* seg_ros calibrate CHECKPOINT'):
        quantize(Deployed(by_hand), {})


# Trained networks


def test_rounding_keeps_the_labels() -> None:
    check_rounding(calibrated('bisenetv2_camvid', (120, 160)))


# In a checkpoint


def test_ranges_are_added_to_a_file_and_nothing_else_changes(file: Path, tmp_path: Path) -> None:
    ranges = {'detail.1.0': (0.0, 3.25), 'head.1': (-0.5, 0.125)}
    target = tmp_path / 'new.safetensors'
    add_ranges(file, target, ranges)
    found = load_checkpoint(target)
    assert found.activation_ranges == ranges
    assert load_checkpoint(file).activation_ranges == {}
    before, after = load_file(file), load_file(target)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype and torch.equal(after[name], tensor)
    # They are still there after the checkpoint is saved again.
    save_checkpoint(target, found)
    assert load_checkpoint(target).activation_ranges == ranges


def test_a_file_from_before_there_were_ranges_loads(file: Path, tmp_path: Path) -> None:
    with safe_open(str(file), framework='pt') as opened:
        metadata = opened.metadata()
    del metadata['activation_ranges']
    save_file(load_file(file), tmp_path / 'old.safetensors', metadata)
    assert load_checkpoint(tmp_path / 'old.safetensors').activation_ranges == {}


@pytest.mark.parametrize(
    ('ranges', 'message'),
    [
        ('{"detail.99.0": [0, 1]}', r"'detail.99.0', which does not exist.* seg_ros calibrate"),
        ('{"detail.0.1": [0, 1]}', r"'detail.0.1', which is a BatchNorm2d"),
        ('{"head.1": [1, 0]}', r'goes into head.1; found 1.0 and 0.0'),
        ('{"head.1": [0, NaN]}', r'goes into head.1; found 0.0 and nan'),
        ('{"head.1": [0, Infinity]}', r'goes into head.1; found 0.0 and inf'),
        ('{"head.1": [0, 1, 2]}', 'does not describe a network'),
        ('{"head.1": "ab"}', 'does not describe a network'),
        ('[1, 2]', 'does not describe a network'),
        ('{"head.1": [0,', 'does not describe a network'),
    ],
)
def test_ranges_that_do_not_fit_are_named(
    file: Path, tmp_path: Path, ranges: str, message: str
) -> None:
    with safe_open(str(file), framework='pt') as opened:
        metadata = opened.metadata() | {'activation_ranges': ranges}
    damaged = tmp_path / 'damaged.safetensors'
    save_file(load_file(file), damaged, metadata)
    with pytest.raises(CheckpointError, match=f'damaged.safetensors: .*{message}'):
        load_checkpoint(damaged)


# The command


def test_the_command_writes_ranges_and_says_what_they_cost(
    file: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / 'new.safetensors'
    assert run(file, folder, '--out', target, '--json', tmp_path / 'result.json') == 0
    result = json.loads((tmp_path / 'result.json').read_text())
    # The second and the seventh of the seven images are held out.
    assert (result['images'], result['held_out']) == (5, 2)
    found = load_checkpoint(target).activation_ranges
    assert found == {name: tuple(pair) for name, pair in result['activation_ranges'].items()}
    drive = SampleDrive(seed=2, frames=7, size=(64, 48))
    images = [torch.from_numpy(drive[i][0]).unsqueeze(0) for i in range(7)]
    checkpoint = load_checkpoint(file)
    assert found == calibrate(checkpoint, [images[i] for i in (0, 2, 3, 4, 5)])
    deployed = Deployed(checkpoint)
    both = [[n(images[i]) for i in (1, 6)] for n in (deployed, quantize(deployed, found))]
    logits = [torch.cat(of_one) for of_one in both]
    labels = [checkpoint.network.upsample(x, SIZE) for x in logits]
    assert result['same_labels'] == pytest.approx(same_labels(*labels), abs=1e-6)
    confidence = [float(x.softmax(1).max(1).values.mean()) for x in logits]
    assert list(result['mean_confidence'].values()) == pytest.approx(confidence, abs=1e-6)
    assert f'on 2 others {result["same_labels"]:.2%} of the pixels' in capsys.readouterr().out


def test_the_command_reads_bags_and_spreads_what_it_uses(
    file: Path, folder: Path, tmp_path: Path
) -> None:
    write_drive(tmp_path / 'drive', seed=2, frames=7, size=(64, 48))
    results = []
    for name, inputs in {
        'bag': [tmp_path / 'drive'],
        'folder': [folder],
        'files': sorted(folder.iterdir()),
    }.items():
        target, result = tmp_path / f'{name}.safetensors', tmp_path / f'{name}.json'
        assert run(file, *inputs, '--images', 3, '--out', target, '--json', result) == 0
        results.append(json.loads(result.read_text())['activation_ranges'])
    drive = SampleDrive(seed=2, frames=7, size=(64, 48))
    # The second of the frames 0, 2 and 4 is held out.
    images = [torch.from_numpy(drive[i][0]).unsqueeze(0) for i in (0, 4)]
    expected = calibrate(load_checkpoint(file), images)
    assert [{k: tuple(v) for k, v in ranges.items()} for ranges in results] == [expected] * 3


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{file}', '{folder}', '--out', '{file}'], 'another file than the checkpoint itself'),
        (['{file}', '{folder}', '--out', '{folder}'], '--out: expected a file to write'),
        (['{file}', '{folder}', '--out', 'ranges.json'], '--out: expected a file to write'),
        (['{file}', '{folder}/none.png', '--out', '{new}'], 'none.png: .* does not exist'),
        (['{file}', '{folder}/0.png', '--out', '{new}'], 'two images or more.* found 1'),
        (['{file}', '{file}', '--out', '{new}'], 'small.safetensors: expected a rosbag2'),
        (['{file}', '{folder}', '--images', '1', '--out', '{new}'], '--images: expected 2'),
        (['{folder}', '{folder}', '--out', '{new}'], 'model: expected a shipped network'),
    ],
)
def test_the_command_refuses_what_cannot_work(
    file: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    before, new = file.read_bytes(), tmp_path / 'new.safetensors'
    assert run(*(a.format(file=file, folder=folder, new=new) for a in arguments)) == 2
    assert re.search(message, capsys.readouterr().err)
    assert file.read_bytes() == before
    assert not new.exists()
