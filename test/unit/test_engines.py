# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines: what they compute, which is chosen, and what is kept of them on disk."""

from array import array
from itertools import pairwise
import os
from pathlib import Path
import re
import sys
from threading import Thread
from time import sleep

import numpy as np
import pytest
from std_msgs.msg import Header
import torch
from torch.nn import functional as F

from seg_ros.datasets.sample_drive import SampleDrive
from seg_ros.inference.backends import BACKENDS, cache, choice, EngineError
from seg_ros.inference.backends.openvino_engine import OpenVinoEngine
from seg_ros.inference.backends.torch_engine import TorchEngine
from seg_ros.inference.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.device_pipeline import DevicePipeline
from seg_ros.inference.image_file import new_image
from seg_ros.inference.labelling import label, label_with_confidence
from seg_ros.inference.labels import IGNORE, LabelSet
from seg_ros.inference.overlay import colorize, overlay
from seg_ros.inference.preprocessing import resize
from seg_ros.inference.segmentation import Paint
from seg_ros.inference.segmenter import Segmenter
from seg_ros.models import build_model
from seg_ros.nodes.image_message import to_message

SHIPPED = ('bisenetv2_camvid', 'icnet_camvid')
LABELS = LabelSet(('a', 'b', 'c'), ((1, 2, 3), (40, 50, 60), (250, 240, 230)))
AGREEMENT = {'fp32': 0.999, 'bf16': 0.99, 'fp16': 0.99}
NETWORKS = [
    {'name': 'bisenetv2', 'head_width': 16},
    {'name': 'icnet', 'width': 0.5},
    {'name': 'icnet', 'width': 0.5, 'exit': 'sub4'},
    {'name': 'icnet', 'width': 0.5, 'exit': 'sub24'},
    {'name': 'pspnet50', 'width': 0.25},
]


def small_checkpoint(seed=0, size=(64, 96), **architecture) -> Checkpoint:
    """Return a network of random weights, batch norms' statistics among them."""
    torch.manual_seed(seed)
    architecture = {'name': 'bisenetv2', 'head_width': 16, 'num_classes': 3, **architecture}
    if architecture['name'] != 'bisenetv2':
        del architecture['head_width']
    network = build_model(architecture).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return Checkpoint(network, architecture, LABELS, size)


@pytest.fixture(scope='module')
def frames() -> list[np.ndarray]:
    drive = SampleDrive(seed=3, frames=8, size=(480, 360))
    return [drive[i][0] for i in (0, 7)]


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv('SEG_ROS_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


# What is computed


@pytest.mark.parametrize('architecture', NETWORKS, ids=str)
def test_a_deployed_network_computes_what_the_checkpoint_does(architecture: dict) -> None:
    checkpoint = small_checkpoint(**architecture)
    checkpoint.network.double()
    pixels = torch.randint(0, 256, (1, 65, 97, 3), dtype=torch.uint8)
    x = checkpoint.preprocessing.normalise(pixels.permute(0, 3, 1, 2).float())
    deployed = Deployed(checkpoint)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in _behind_convolutions(deployed))
    assert not any('booster' in n or 'auxiliary' in n for n, _ in deployed.named_modules())
    with torch.no_grad():
        expected = checkpoint.network.coarse_logits(x.double()).float()
        assert (deployed(pixels) - expected).norm() < 1e-4 * expected.norm()


def _behind_convolutions(network: torch.nn.Module) -> list[torch.nn.Module]:
    sequences = [m for m in network.modules() if isinstance(m, torch.nn.Sequential)]
    return [
        after
        for sequence in sequences
        for before, after in pairwise(sequence)
        if isinstance(before, torch.nn.Conv2d)
    ]


@pytest.mark.parametrize('model', SHIPPED)
@pytest.mark.parametrize(
    ('backend', 'precision'),
    [('torch', 'bf16'), ('torch', 'fp16'), ('openvino', 'fp32'), ('openvino', 'auto')],
)
def test_labels_are_those_of_plain_pytorch(frames, model, backend, precision) -> None:
    if backend == 'openvino':
        pytest.importorskip('openvino')
    reference = plain(model)
    segmenter = Segmenter(model, device='cpu', backend=backend, precision=precision)
    assert segmenter.backend == backend
    for frame in frames:
        for image in (frame, frame[:200, 17:319], frame[:, :, ::-1]):
            equal = (segmenter.predict(image).labels == reference(image)).mean()
            assert equal >= AGREEMENT[segmenter.precision]


def plain(model: str):
    """Return float32 PyTorch as one would write it down: no engine, no tiles."""
    checkpoint = load_checkpoint(find_checkpoint(model))

    def predict(image: np.ndarray) -> np.ndarray:
        pixels = resize(torch.from_numpy(image.copy())[None], checkpoint.input_size)
        x = checkpoint.preprocessing.normalise(pixels.permute(0, 3, 1, 2).float())
        with torch.no_grad():
            logits = checkpoint.network.coarse_logits(x)
            return checkpoint.network.upsample(logits, image.shape[:2]).argmax(1)[0].numpy()

    return predict


def test_engines_answer_several_threads(frames) -> None:
    pytest.importorskip('openvino')
    segmenter = Segmenter(device='cpu', backend='openvino')
    expected = [segmenter.predict(frame).labels for frame in frames]
    wrong = []

    def work(i: int) -> None:
        for _ in range(5):
            if (segmenter.predict(frames[i]).labels != expected[i]).any():
                wrong.append(i)

    threads = [Thread(target=work, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# From logits to labels


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(
    ('coarse', 'size'),
    [
        ((8, 16), (64, 128)), ((45, 60), (360, 480)), ((45, 60), (317, 501)), ((9, 7), (300, 700)),
        ((40, 50), (20, 17)), ((1, 9), (5, 90)), ((6, 1), (70, 3)), ((1, 1), (4, 4)),
        ((12, 13), (12, 13)), ((5, 6), (1, 1)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize('smooth', [False, True], ids=['noise', 'smooth'])
def test_labels_and_confidence_are_those_of_interpolation(coarse, size, align_corners, smooth):
    random = torch.Generator().manual_seed(5)
    logits = 3 * torch.randn(1, 11, *coarse, generator=random)
    if smooth:  # large regions of one class, where whole tiles have a single winner
        small = F.interpolate(logits, scale_factor=0.2, mode='area') if min(coarse) > 5 else logits
        logits = 4 * F.interpolate(small, coarse, mode='bilinear')
    expected = F.interpolate(logits, size, mode='bilinear', align_corners=align_corners)[0]
    probability, classes = expected.softmax(0).max(0)
    found = label(logits[0].numpy(), size, align_corners)
    assert found.shape == size and found.dtype == np.uint8
    # Where two classes are as good as equal, rounding may choose either.
    best, second = expected.topk(2, dim=0).values
    clear = (best - second > 1e-4).numpy()
    assert clear.mean() > 0.99 or clear.size < 10
    np.testing.assert_array_equal(found[clear], classes.numpy()[clear])
    labels, confidence = label_with_confidence(logits[0].numpy(), size, align_corners, 0.6)
    sure = (probability >= 0.6).numpy()
    near = (probability - 0.6).abs().numpy() < 1e-3
    np.testing.assert_array_equal(labels[sure & ~near], found[sure & ~near])
    assert (labels[~sure & ~near] == IGNORE).all()
    difference = confidence.astype(float) - 255 * probability.numpy()
    assert np.abs(difference).max() <= 0.51


def test_labels_are_made_in_the_memory_that_a_message_takes() -> None:
    found = label(np.ones((2, 3, 4), np.float32), (10, 20), False)
    _, confidence = label_with_confidence(np.ones((2, 3, 4), np.float32), (10, 20), False)
    color = colorize(found, ((1, 2, 3), (4, 5, 6)))
    for image in (found, confidence, color, overlay(color, found, ((1, 2, 3), (4, 5, 6)))):
        message = to_message(Header(), image[:, :, ::-1] if image.ndim == 3 else image)
        assert isinstance(message.data, array) and message.data.typecode == 'B'
        message.data[0] = 77  # whoever copied does not see this
        assert image.flat[0] == 77
    assert new_image((2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize('model', SHIPPED)
def test_the_devices_pipeline_computes_what_the_cpu_does(frames, model) -> None:
    """On the CPU, which is where it runs here; test_cuda.py has it on the device it is for."""
    segmenter = Segmenter(model, device='cpu', backend='torch', precision='fp32')
    pipeline = DevicePipeline(
        segmenter.engine, segmenter.input_size, segmenter.checkpoint.network.align_corners, True
    )
    paint = Paint(segmenter.labels.palette, 0.3, color=True, overlay=True)
    small = frames[0][:100, :150].copy()
    with torch.inference_mode():
        for size in (None, (120, 200)):
            images = [frames[0], small, np.ascontiguousarray(frames[1][:, :, ::-1])[:, :, ::-1]]
            for image, found in zip(images, pipeline(images, True, 0.5, size, paint)):
                expected = segmenter.predict(
                    image, confidence=True, confidence_threshold=0.5, output_size=size, paint=paint
                )
                assert (found.labels == expected.labels).mean() > 0.9999
                assert found.mean_confidence == pytest.approx(expected.mean_confidence, abs=1e-4)
                assert found.low_confidence == pytest.approx(expected.low_confidence, abs=1e-3)
                assert found.low_confidence > 0
                near = np.abs(found.confidence.astype(int) - expected.confidence) <= 1
                assert near.mean() > 0.9999
                assert (found.color == expected.color).mean() > 0.9999
                assert np.abs(found.overlay.astype(int) - expected.overlay).mean() < 1.5
                if size is None:
                    same = (found.labels == expected.labels)[:, :, None]
                    off = np.abs(found.overlay.astype(int) - expected.overlay) * same
                    assert off.max() <= 1
        plain = pipeline([frames[0]], False, 0, None, None)[0]
    assert plain.confidence is plain.color is plain.overlay is None


@pytest.mark.parametrize('backwards', [False, True], ids=['rgb', 'bgr seen as rgb'])
def test_pictures_are_those_of_the_overlay_module(frames, backwards) -> None:
    segmenter = Segmenter(device='cpu', backend='torch')
    image = frames[0]
    if backwards:
        image = np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1]
    paint = Paint(segmenter.labels.palette, 0.25, color=True, overlay=True)
    found = segmenter.predict(image, paint=paint)
    np.testing.assert_array_equal(found.labels, segmenter.predict(frames[0]).labels)
    np.testing.assert_array_equal(found.color, colorize(found.labels, paint.palette))
    np.testing.assert_array_equal(
        found.overlay, overlay(frames[0], found.labels, paint.palette, 0.25)
    )


# The choice


def test_auto_takes_openvino_and_says_why(cache_folder: Path) -> None:
    pytest.importorskip('openvino')
    said: list[str] = []
    first = Segmenter(small_checkpoint(), device='cpu', report=said.append)
    assert first.backend == 'openvino'
    (why,) = [line for line in said if line.startswith('openvino')]
    assert f'{first.precision} takes' in why and 'torch' in why
    again: list[str] = []
    second = Segmenter(small_checkpoint(), device='cpu', report=again.append)
    assert (second.backend, second.precision) == (first.backend, first.precision)
    assert again == [why], 'measured or built anew'


class Wrong(OpenVinoEngine):
    backend = 'wrong'

    def logits(self, pixels):
        return -super().logits(pixels)


class NotANumber(TorchEngine):
    backend = 'nan'

    def logits(self, pixels):
        return super().logits(pixels) * float('nan')


class Broken(TorchEngine):
    backend = 'broken'

    def __init__(self, *arguments):
        raise RuntimeError('its library says no')


class Slow(TorchEngine):
    backend = 'slow'

    def logits(self, pixels):
        for _ in range(4):
            super().logits(pixels)
        return super().logits(pixels)


def test_auto_passes_over_what_is_wrong_broken_or_slow(cache_folder: Path, monkeypatch) -> None:
    pytest.importorskip('openvino')
    said: list[str] = []
    monkeypatch.setattr(choice, 'ENGINES', (Wrong, NotANumber, Broken, Slow, TorchEngine))
    chosen = Segmenter(small_checkpoint(), device='cpu', report=said.append)
    assert chosen.backend == 'torch'
    for remark in (
        r'wrong \w+ is wrong, its logits are off by 200%',
        r'nan \w+ is wrong, its logits are off by nan%',
        r'broken \w+ fails: its library says no',
        r'slow \w+ takes',
    ):
        assert any(re.search(remark, line) for line in said), remark
    monkeypatch.setattr(choice, 'ENGINES', (Wrong, OpenVinoEngine, TorchEngine))
    assert Segmenter(small_checkpoint(), device='cpu').backend == 'openvino'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'backend': 'tensorrt'}, "backend: expected one of auto, .*torch.*; found 'tensorrt'"),
        ({'precision': 'int4'}, "precision: expected one of auto, .*int8; found 'int4'"),
        ({'backend': 'torch', 'precision': 'int8'}, "torch .*fp32.*; found 'int8'"),
        ({'precision': 'int8'}, 'seg_ros calibrate'),
        ({'backend': 'onnxruntime:tensorrt'}, "found 'tensorrt'.*onnxruntime-gpu"),
    ],
)
def test_what_cannot_be_had_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Segmenter(small_checkpoint(), device='cpu', **options)


def test_auto_does_without_what_cannot_even_be_imported(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / 'openvino.py').write_text("raise ImportError('numpy ABI of another time')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'openvino', raising=False)
    said: list[str] = []
    chosen = Segmenter(small_checkpoint(seed=9), device='cpu', report=said.append)
    assert chosen.backend != 'openvino'
    assert 'openvino cannot be loaded: numpy ABI of another time' in said
    with pytest.raises(EngineError, match='numpy ABI'):
        Segmenter(small_checkpoint(), device='cpu', backend='openvino')


def test_a_failure_that_may_pass_is_not_remembered(cache_folder: Path, monkeypatch) -> None:
    pytest.importorskip('openvino')
    with monkeypatch.context() as patch:
        patch.setattr(OpenVinoEngine, 'logits', lambda self, pixels: 1 / 0)
        patch.setattr(choice, 'ENGINES', (OpenVinoEngine, TorchEngine))
        assert Segmenter(small_checkpoint(), device='cpu').backend == 'torch'
    monkeypatch.setattr(choice, 'ENGINES', (OpenVinoEngine, TorchEngine))
    assert Segmenter(small_checkpoint(), device='cpu').backend == 'openvino'


def test_a_choice_that_cannot_be_had_any_more_is_made_anew(cache_folder: Path, monkeypatch):
    pytest.importorskip('openvino')
    monkeypatch.setattr(choice, 'ENGINES', (OpenVinoEngine, TorchEngine))
    assert Segmenter(small_checkpoint(), device='cpu').backend == 'openvino'
    monkeypatch.setattr(OpenVinoEngine, '__init__', Broken.__init__)
    assert Segmenter(small_checkpoint(), device='cpu').backend == 'torch'


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_network_that_overflows_says_so_and_gives_no_labels(value: float) -> None:
    checkpoint = small_checkpoint()
    checkpoint.network.head[1].bias.data[1] = value
    segmenter = Segmenter(checkpoint, device='cpu', backend='torch', precision='fp32')
    with pytest.raises(ValueError, match='expected finite logits; found .*fp32'):
        segmenter.predict(np.zeros((64, 96, 3), np.uint8))
    pipeline = DevicePipeline(segmenter.engine, segmenter.input_size, False, True)
    with pytest.raises(ValueError, match='expected finite logits'), torch.inference_mode():
        pipeline([np.zeros((64, 96, 3), np.uint8)], False, 0, None, None)


def test_pictures_are_painted_in_the_palette_they_were_asked_in(frames) -> None:
    """What a recorded program reads must outlive the recording of others."""
    segmenter = Segmenter(device='cpu', backend='torch', precision='fp32')
    pipeline = DevicePipeline(segmenter.engine, segmenter.input_size, False, True)
    grey = Paint(((7, 7, 7),) * len(segmenter.labels), color=True)
    own = Paint(segmenter.labels.palette, color=True)
    image, small = frames[0][:96, :128].copy(), frames[0][:64, :64].copy()
    with torch.inference_mode():
        for _ in range(2):
            for paint in (own, None, grey):
                for picture in (image, small):
                    (found,) = pipeline([picture], False, 0, None, paint)
                    if paint is not None:
                        np.testing.assert_array_equal(
                            found.color, colorize(found.labels, paint.palette)
                        )


def test_a_backend_that_is_not_installed_is_named(monkeypatch) -> None:
    monkeypatch.setattr(OpenVinoEngine, 'packages', ('openvino', 'no_such_package'))
    with pytest.raises(EngineError, match=r"found 'openvino'.*pip install 'seg_ros\[openvino\]'"):
        Segmenter(small_checkpoint(), device='cpu', backend='openvino')
    assert Segmenter(small_checkpoint(), device='cpu').backend != 'openvino'


def test_backends_are_named_after_their_engines() -> None:
    names = {name.partition(':')[0] for name in BACKENDS}
    assert names == {'auto', 'torch', 'openvino', 'onnxruntime'}
    assert 'onnxruntime:tensorrt' in BACKENDS


# The cache


def engine(**options):
    said: list[str] = []
    pytest.importorskip('openvino')
    made = Segmenter(
        small_checkpoint(**options), device='cpu', backend='openvino', report=said.append
    )
    return made, said


def test_an_engine_is_built_once(cache_folder: Path) -> None:
    first, said = engine()
    assert any('building OpenVINO engine, 96x64' in line for line in said)
    assert any('built OpenVINO engine' in line for line in said)
    second, said = engine()
    assert not said
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    np.testing.assert_array_equal(first.predict(image).labels, second.predict(image).labels)
    assert len(list(cache_folder.iterdir())) == 1
    for other in ({'seed': 1}, {'size': (32, 96)}, {'head_width': 8}):
        assert engine(**other)[1], f'the engine of another network was taken: {other}'
    assert len(list(cache_folder.iterdir())) == 4


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'empty', 'other'])
def test_a_damaged_engine_is_built_anew(cache_folder: Path, damage: str) -> None:
    good, _ = engine()
    (path,) = cache_folder.iterdir()
    content = path.read_bytes()
    if damage == 'cut':
        path.write_bytes(content[: len(content) // 2])
    elif damage == 'flipped':
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == 'empty':
        path.write_bytes(b'')
    else:  # whole, but not what OpenVINO wrote
        cache.store(path.stem, b'no engine at all', lambda line: None)
    found, said = engine()
    assert any('building anew' in line for line in said)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    np.testing.assert_array_equal(found.predict(image).labels, good.predict(image).labels)
    assert path.read_bytes()[32:] and not engine()[1], 'not kept again'


@pytest.mark.skipif(os.getuid() != 0, reason='gives a file to another user, as root alone may')
def test_another_users_engine_is_not_trusted(cache_folder: Path) -> None:
    engine()
    (path,) = cache_folder.iterdir()
    os.chown(path, 12_345, -1)
    _, said = engine()
    assert any('belongs to another user (id 12345)' in line for line in said)
    assert path.stat().st_uid == os.getuid()
    assert not engine()[1], 'not kept again'


def test_without_a_place_to_keep_it_an_engine_runs_all_the_same(tmp_path: Path, monkeypatch):
    file = tmp_path / 'file'
    file.write_text('in the way')
    monkeypatch.setenv('SEG_ROS_CACHE', str(file / 'below'))
    made, said = engine()
    assert made.backend == 'openvino'
    assert any('cannot keep the engine' in line and 'SEG_ROS_CACHE' in line for line in said)


def test_where_the_cache_is(monkeypatch) -> None:
    monkeypatch.delenv('SEG_ROS_CACHE')
    monkeypatch.setenv('XDG_CACHE_HOME', '/somewhere')
    assert cache.folder() == Path('/somewhere/seg_ros')
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert cache.folder() == Path(os.path.expanduser('~/.cache/seg_ros'))


def test_who_waits_is_told_so(monkeypatch) -> None:
    monkeypatch.setattr(cache, 'PROGRESS_SECONDS', 0.05)
    said: list[str] = []
    with cache.building('a castle', said.append):
        sleep(0.2)
    assert said[0] == 'building a castle'
    assert said[1] == 'still building a castle: 0 s'
    assert said[-1].startswith('built a castle in ')
