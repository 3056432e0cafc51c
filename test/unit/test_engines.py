# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Engines: their results, the choice among them, and their cache on disk.

These tests use small networks, PyTorch and OpenVINO only; test/slow has the shipped networks and
all engines.
"""

from array import array
import os
from pathlib import Path
import re
import shutil
import sys
from threading import Event, Thread

from engine_fixtures import (
    Broken,
    check_damage,
    check_deployed,
    check_labels,
    check_pipeline,
    compiled,
    NotANumber,
    simple_checkpoint,
    Slow,
    two_frames,
    Wrong,
)
import numpy as np
import pytest
from std_msgs.msg import Header
import torch
from torch.nn import functional as F

from seg_ros.images.image_file import new_image
from seg_ros.images.labels import IGNORE
from seg_ros.images.overlay import colorize, overlay, Paint
from seg_ros.inference.backends import BACKENDS, cache, engine_choice, EngineError, openvino_engine
from seg_ros.inference.backends.openvino_engine import OpenVinoEngine
from seg_ros.inference.backends.torch_engine import TorchEngine
from seg_ros.inference.device_pipeline import DevicePipeline
from seg_ros.inference.labelling import label, label_with_confidence
from seg_ros.inference.segmenter import Segmenter
from seg_ros.node.image_message import to_message

SIZE = (96, 128)
SPEED = {'openvino': 1.0, 'wrong': 1.0, 'torch': 2.0, 'slow': 10.0}
"""The milliseconds that engines are taken to need, as a busy machine cannot measure them."""


@pytest.fixture(autouse=True)
def two_engines(monkeypatch) -> None:
    """
    Limit the choice to two engines, with fixed times.

    ONNX Runtime must not be loaded into a process with OpenVINO.
    """
    monkeypatch.setattr(engine_choice, 'ENGINES', (OpenVinoEngine, TorchEngine))
    monkeypatch.setattr(
        engine_choice, '_times', lambda engines, pixels: [SPEED[e.backend] / 1e3 for e in engines]
    )


@pytest.fixture(scope='module')
def frames() -> list[np.ndarray]:
    return two_frames()


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv('SEG_ROS_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the engine of the small network."""
    folder = tmp_path_factory.mktemp('built')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('SEG_ROS_CACHE', str(folder))
        compiled()
    return folder


@pytest.fixture
def kept(cache_folder: Path, built: Path) -> Path:
    """Return the only file of a cache, an engine."""
    shutil.copytree(built, cache_folder)
    (path,) = cache_folder.iterdir()
    return path


# Results


@pytest.mark.parametrize(
    'architecture',
    [
        {'name': 'bisenetv2', 'head_width': 16, 'alpha': 0.5},
        {'name': 'icnet', 'width': 0.25},
        {'name': 'icnet', 'width': 0.25, 'exit': 'sub4'},
        {'name': 'pspnet50', 'width': 0.125},
    ],
    ids=str,
)
def test_a_deployed_network_computes_what_the_checkpoint_does(architecture: dict) -> None:
    check_deployed(**architecture)


@pytest.mark.parametrize(('backend', 'precision'), [('torch', 'bf16'), ('openvino', 'fp32')])
def test_labels_are_those_of_plain_pytorch(backend, precision) -> None:
    check_labels('bisenetv2_camvid', backend, precision, SIZE)


def test_engines_answer_several_threads(frames) -> None:
    segmenter, _ = compiled()
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
    # If two classes are almost equal, rounding may choose either.
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
        message.data[0] = 77  # a copy would not change the image
        assert image.flat[0] == 77
    assert new_image((2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_the_devices_pipeline_computes_what_the_cpu_does() -> None:
    """The pipeline runs on the CPU in this test; test_cuda.py runs it on CUDA."""
    check_pipeline('bisenetv2_camvid', SIZE)


@pytest.mark.parametrize('backwards', [False, True], ids=['rgb', 'bgr seen as rgb'])
def test_pictures_are_those_of_the_overlay_module(frames, backwards) -> None:
    segmenter = Segmenter(device='cpu', backend='torch', input_height=96, input_width=128)
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
    first = Segmenter(simple_checkpoint(), device='cpu', report=said.append)
    assert first.backend == 'openvino'
    (why,) = [line for line in said if line.startswith('openvino')]
    assert f'{first.precision} takes' in why and 'torch' in why
    again: list[str] = []
    second = Segmenter(simple_checkpoint(), device='cpu', report=again.append)
    assert (second.backend, second.precision) == (first.backend, first.precision)
    assert again == [why], 'measured or built anew'


def test_auto_passes_over_what_is_wrong_broken_or_slow(cache_folder: Path, monkeypatch) -> None:
    pytest.importorskip('openvino')
    said: list[str] = []
    monkeypatch.setattr(engine_choice, 'ENGINES', (Wrong, NotANumber, Broken, Slow, TorchEngine))
    chosen = Segmenter(simple_checkpoint(), device='cpu', report=said.append)
    assert chosen.backend == 'torch'
    for remark in (
        r'wrong \w+ is wrong, its logits are off by 200%',
        r'nan \w+ is wrong, its logits are off by nan%',
        r'broken \w+ fails: its library says no',
        r'slow \w+ takes',
    ):
        assert any(re.search(remark, line) for line in said), remark
    monkeypatch.setattr(engine_choice, 'ENGINES', (Wrong, OpenVinoEngine, TorchEngine))
    assert Segmenter(simple_checkpoint(), device='cpu').backend == 'openvino'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'backend': 'tensorrt'}, "backend: expected one of auto, .*torch.*; found 'tensorrt'"),
        ({'precision': 'int4'}, "precision: expected one of auto, .*int8; found 'int4'"),
        ({'backend': 'torch', 'precision': 'int8'}, "torch .*fp32.*; found 'int8'"),
        ({'precision': 'int8'}, 'seg_ros calibrate'),
    ],
)
def test_what_cannot_be_had_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Segmenter(simple_checkpoint(), device='cpu', **options)


def test_auto_does_without_what_cannot_even_be_imported(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / 'openvino.py').write_text("raise ImportError('numpy ABI of another time')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'openvino', raising=False)
    monkeypatch.setattr(openvino_engine, 'core', openvino_engine.core.__wrapped__)
    said: list[str] = []
    chosen = Segmenter(simple_checkpoint(seed=9), device='cpu', report=said.append)
    assert chosen.backend != 'openvino'
    assert 'openvino cannot be loaded: numpy ABI of another time' in said
    with pytest.raises(EngineError, match='numpy ABI'):
        Segmenter(simple_checkpoint(), device='cpu', backend='openvino')


def test_a_failure_that_may_pass_is_not_remembered(cache_folder: Path, monkeypatch) -> None:
    pytest.importorskip('openvino')
    with monkeypatch.context() as patch:
        patch.setattr(OpenVinoEngine, 'logits', lambda self, pixels: 1 / 0)
        patch.setattr(engine_choice, 'ENGINES', (OpenVinoEngine, TorchEngine))
        assert Segmenter(simple_checkpoint(), device='cpu').backend == 'torch'
    monkeypatch.setattr(engine_choice, 'ENGINES', (OpenVinoEngine, TorchEngine))
    assert Segmenter(simple_checkpoint(), device='cpu').backend == 'openvino'


def test_a_choice_that_cannot_be_had_any_more_is_made_anew(cache_folder: Path, monkeypatch):
    pytest.importorskip('openvino')
    monkeypatch.setattr(engine_choice, 'ENGINES', (OpenVinoEngine, TorchEngine))
    assert Segmenter(simple_checkpoint(), device='cpu').backend == 'openvino'
    monkeypatch.setattr(OpenVinoEngine, '__init__', Broken.__init__)
    assert Segmenter(simple_checkpoint(), device='cpu').backend == 'torch'


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_network_that_overflows_says_so_and_gives_no_labels(value: float) -> None:
    checkpoint = simple_checkpoint()
    checkpoint.network.head[1].bias.data[1] = value
    segmenter = Segmenter(checkpoint, device='cpu', backend='torch', precision='fp32')
    with pytest.raises(ValueError, match='expected finite logits; found .*fp32'):
        segmenter.predict(np.zeros((64, 96, 3), np.uint8))
    pipeline = DevicePipeline(segmenter.engine, segmenter.input_size, False, True)
    with pytest.raises(ValueError, match='expected finite logits'), torch.inference_mode():
        pipeline([np.zeros((64, 96, 3), np.uint8)], False, 0, None, None)


def test_pictures_are_painted_in_the_palette_they_were_asked_in(frames) -> None:
    """The tensors that a recorded program reads must stay valid when others are recorded."""
    size = {'input_height': 96, 'input_width': 128}
    segmenter = Segmenter(device='cpu', backend='torch', precision='fp32', **size)
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
        Segmenter(simple_checkpoint(), device='cpu', backend='openvino')
    assert Segmenter(simple_checkpoint(), device='cpu').backend != 'openvino'


def test_backends_are_named_after_their_engines() -> None:
    names = {name.partition(':')[0] for name in BACKENDS}
    assert names == {'auto', 'torch', 'openvino', 'onnxruntime'}
    assert 'onnxruntime:tensorrt' in BACKENDS


# The cache


def test_an_engine_is_built_once(cache_folder: Path) -> None:
    first, said = compiled()
    assert any('building OpenVINO engine, 96x64' in line for line in said)
    assert any('built OpenVINO engine' in line for line in said)
    second, said = compiled()
    assert not said
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    np.testing.assert_array_equal(first.predict(image).labels, second.predict(image).labels)
    assert len(list(cache_folder.iterdir())) == 1
    for other in ({'seed': 1}, {'size': (32, 96)}, {'head_width': 8}):
        assert compiled(**other)[1], f'the engine of another network was taken: {other}'
    assert len(list(cache_folder.iterdir())) == 4


@pytest.mark.parametrize('damage', ['flipped', 'other'])
def test_a_damaged_engine_is_built_anew(kept: Path, damage: str) -> None:
    check_damage(kept, damage)


@pytest.mark.skipif(os.getuid() != 0, reason='gives a file to another user, as root alone may')
def test_another_users_engine_is_not_trusted(kept: Path) -> None:
    os.chown(kept, 12_345, -1)
    _, said = compiled()
    assert any('belongs to another user (id 12345)' in line for line in said)
    assert kept.stat().st_uid == os.getuid()
    assert not compiled()[1], 'not kept again'


def test_without_a_place_to_keep_it_an_engine_runs_all_the_same(tmp_path: Path, monkeypatch):
    file = tmp_path / 'file'
    file.write_text('in the way')
    monkeypatch.setenv('SEG_ROS_CACHE', str(file / 'below'))
    made, said = compiled()
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
    reminded = Event()

    def report(line: str) -> None:
        said.append(line)
        if line.startswith('still'):
            reminded.set()

    with cache.building('a castle', report):
        assert reminded.wait(60)
    assert said[0] == 'building a castle'
    assert re.fullmatch(r'still building a castle: \d+ s', said[1])
    assert said[-1].startswith('built a castle in ')
