# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Inference: preprocessing, checkpoints, the segmenter, image files and videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from functools import cache
import json
from pathlib import Path
import pickle
import resource

import av
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
import torch
from torch.nn import functional as F

from seg_ros.images.image_file import (
    decode_image,
    encode_image,
    ImageFileError,
    read_image,
    read_labels,
    write_image,
)
from seg_ros.images.labels import CAMVID, CITYSCAPES, LabelSet
from seg_ros.images.overlay import colorize
from seg_ros.images.video_file import read_video, video_rate, VideoWriter
from seg_ros.inference.backends import EngineError
from seg_ros.inference.checkpoint import (
    Checkpoint,
    CheckpointError,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
    shipped_models,
)
from seg_ros.inference.preprocessing import Preprocessing, resize
from seg_ros.inference.segmenter import Segmenter
from seg_ros.models import build_model, SegmentationNetwork

LABELS = LabelSet(
    ('road', 'car', 'sky', 'tree'), ((10, 20, 30), (200, 0, 0), (0, 0, 250), (0, 99, 0))
)
SMALL = {'name': 'bisenetv2', 'num_classes': 4, 'head_width': 8, 'booster_width': 8, 'alpha': 0.25}
SIZE = (48, 64)
TORCH = {'device': 'cpu', 'backend': 'torch', 'precision': 'fp32'}

pytestmark = pytest.mark.usefixtures('one_thread')


@cache
def small_network() -> SegmentationNetwork:
    """Return a small network with random weights that uses all of its classes."""
    torch.manual_seed(3)
    network = build_model(SMALL)
    with torch.no_grad():
        # A few passes in training mode give the norms statistics that fit, as after training.
        network.train()
        for _ in range(20):
            network(torch.randn(2, 3, *SIZE))
    return network.eval()


def small_checkpoint(**changes) -> Checkpoint:
    metadata = {'architecture': dict(SMALL), 'labels': LABELS, 'input_size': SIZE}
    return Checkpoint(network=deepcopy(small_network()), **{**metadata, **changes})


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Return an image of random smooth blobs, in which only neighbouring pixels are alike."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, 6, 8)))
    smooth = F.interpolate(coarse, (height, width), mode='bicubic')[0].permute(1, 2, 0).numpy()
    return (smooth * 255).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'small.safetensors'
    save_checkpoint(path, small_checkpoint())
    return path


@pytest.fixture(scope='module')
def segmenter(checkpoint_path: Path) -> Segmenter:
    return Segmenter(checkpoint_path, **TORCH)


# Preprocessing


def triangle(length: int, target: int) -> np.ndarray:
    """Return the matrix of antialiased bilinear interpolation, (target, length)."""
    scale = length / target
    support = max(1.0, scale)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
@pytest.mark.parametrize('size', [(45, 60), (30, 17), (90, 71)], ids=['own', 'smaller', 'larger'])
def test_preprocessing_is_the_written_formula(order: str, size: tuple[int, int]) -> None:
    mean, std = (100.0, 110.5, 120.25), (50.0, 1.0, 61.5)
    image = np.random.default_rng(1).integers(0, 256, (45, 60, 3), np.uint8)
    resized = resize(torch.from_numpy(image)[None], size)
    assert resized.dtype == torch.uint8 and resized.shape == (1, *size, 3)
    expected = np.einsum(
        'ay,bx,yxc->abc', triangle(45, size[0]), triangle(60, size[1]), image.astype(float)
    )
    # The result is rounded twice, once for each direction.
    np.testing.assert_allclose(resized[0].numpy(), expected, rtol=0, atol=1.01)
    assert np.abs(resized[0].numpy() - expected).mean() < 0.4
    expected = resized[0].numpy().transpose(2, 0, 1).astype(float)
    found = Preprocessing(mean, std, order).normalise(resized.permute(0, 3, 1, 2).float())
    if order == 'bgr':
        expected = expected[::-1]
    expected = (expected - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    'wrong',
    [
        {'channel_order': 'grb'},
        {'mean': (1.0, 2.0)},
        {'std': (1.0, 2.0)},
        {'std': (1.0, 0.0, 1.0)},
        {'mean': (1.0, float('nan'), 1.0)},
        {'std': (1.0, float('inf'), 1.0)},
    ],
    ids=str,
)
def test_wrong_preprocessing_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match='expected'):
        Preprocessing(**wrong)


# Classes


def test_label_sets() -> None:
    assert (len(CAMVID), len(CITYSCAPES)) == (11, 19)
    assert len(set(CAMVID.palette)) == 11
    assert len(set(CITYSCAPES.palette)) == 19
    # The official train ids and colours.
    assert [CITYSCAPES.names.index(n) for n in ('road', 'sky', 'rider', 'bicycle')] == [
        0,
        10,
        12,
        18,
    ]
    assert CITYSCAPES.palette[13] == (0, 0, 142)
    for names, palette in (
        (('a', 'b'), ((0, 0, 0),)),
        (('a', 'a'), ((0, 0, 0), (1, 1, 1))),
        ((), ()),
        (tuple(map(str, range(256))), ((0, 0, 0),) * 256),
    ):
        with pytest.raises(ValueError, match='expected'):
            LabelSet(names, palette)


# Segmenter


def probabilities(path: Path, image: np.ndarray) -> np.ndarray:
    """Return the softmax of the network's own logits, float32, (C, H, W), without resizing."""
    checkpoint = load_checkpoint(path)
    mean, std = (
        torch.tensor(v).view(3, 1, 1)
        for v in (checkpoint.preprocessing.mean, checkpoint.preprocessing.std)
    )
    x = (torch.from_numpy(image).permute(2, 0, 1).float() - mean) / std
    with torch.no_grad():
        return checkpoint.network(x.unsqueeze(0)).softmax(1)[0].numpy()


def assert_labels(labels: np.ndarray, expected: np.ndarray) -> None:
    """Check that labels have the largest probability, except for ties within rounding."""
    assert labels.dtype == np.uint8
    assert labels.shape == expected.shape[1:]
    chosen = np.take_along_axis(expected, labels[None].astype(int), 0)[0]
    assert (expected.max(0) - chosen).max() < 1e-5
    assert (labels == expected.argmax(0)).mean() > 0.999
    assert len(np.unique(labels)) >= 3, 'the test image shows too little'


def test_labels_are_the_argmax_of_the_plain_network(
    segmenter: Segmenter, checkpoint_path: Path
) -> None:
    image = picture(0, *SIZE)
    result = segmenter.predict(image)
    assert result.confidence is None
    assert_labels(result.labels, probabilities(checkpoint_path, image))


@pytest.mark.parametrize('size', [(48, 64), (97, 51), (33, 131), (1, 1), (480, 640)], ids=str)
def test_labels_have_the_images_own_size(
    segmenter: Segmenter, checkpoint_path: Path, size: tuple[int, int]
) -> None:
    image = picture(1, *size)
    checkpoint = load_checkpoint(checkpoint_path)
    with torch.no_grad():
        seen = resize(torch.from_numpy(image)[None], SIZE).permute(0, 3, 1, 2).float()
        x = checkpoint.preprocessing.normalise(seen)
        # From the network's stride to the image in one step.
        logits = F.interpolate(checkpoint.network.coarse_logits(x), size, mode='bilinear')
    labels = segmenter.predict(image).labels
    assert labels.shape == size
    assert (labels == logits.argmax(1)[0].numpy()).mean() > 0.999


def test_input_size_can_be_chosen(checkpoint_path: Path) -> None:
    image = picture(2, 80, 96)
    chosen = Segmenter(checkpoint_path, input_height=80, input_width=96, **TORCH)
    assert chosen.input_size == (80, 96)
    assert_labels(chosen.predict(image).labels, probabilities(checkpoint_path, image))
    assert Segmenter(checkpoint_path, input_width=80, **TORCH).input_size == (48, 80)
    with pytest.raises(ValueError, match=r'expected.*found'):
        Segmenter(checkpoint_path, input_height=-1, **TORCH)


def test_several_images_equal_one_by_one(segmenter: Segmenter) -> None:
    images = [picture(i, *size) for i, size in enumerate([(48, 64), (31, 77), (120, 50)])]
    together = segmenter.predict(images, confidence=True, confidence_threshold=0.4)
    assert isinstance(together, list)
    for image, result in zip(images, together):
        alone = segmenter.predict(image, confidence=True, confidence_threshold=0.4)
        np.testing.assert_array_equal(result.labels, alone.labels)
        np.testing.assert_array_equal(result.confidence, alone.confidence)
    assert segmenter.predict([]) == []


def test_confidence_is_the_largest_probability(
    segmenter: Segmenter, checkpoint_path: Path
) -> None:
    image = picture(3, *SIZE)
    result = segmenter.predict(image, confidence=True)
    assert result.confidence.dtype == np.uint8
    expected = 255 * probabilities(checkpoint_path, image).max(0)
    # Rounded to the nearest.
    assert np.abs(result.confidence - expected).max() < 0.5 + 1e-3
    assert result.confidence.std() > 1
    np.testing.assert_array_equal(result.labels, segmenter.predict(image).labels)


def test_low_confidence_is_the_share_of_pixels_below_a_half(segmenter: Segmenter) -> None:
    image = picture(5, *SIZE)
    best = segmenter.logits([image])[0].softmax(1).amax(1)
    result = segmenter.predict(image)
    assert result.low_confidence == (best < 0.5).sum() / best.numel()
    assert 0 < result.low_confidence < 1, 'the test image shows too little'
    assert result.mean_confidence == pytest.approx(best.mean().item(), abs=1e-6)


def test_threshold_leaves_the_unsure_unlabeled(
    segmenter: Segmenter, checkpoint_path: Path
) -> None:
    image = picture(4, *SIZE)
    best = probabilities(checkpoint_path, image).max(0)
    threshold = float(np.median(best))
    clear = np.abs(best - threshold) > 1e-5
    every = segmenter.predict(image).labels
    for confidence in (False, True):
        result = segmenter.predict(image, confidence=confidence, confidence_threshold=threshold)
        expected = np.where(best < threshold, 255, every)
        np.testing.assert_array_equal(result.labels[clear], expected[clear])
        assert 0.4 < (result.labels == 255).mean() < 0.6
    # The confidence of pixels below the threshold is still returned.
    np.testing.assert_array_equal(
        result.confidence, segmenter.predict(image, confidence=True).confidence
    )
    assert (segmenter.predict(image, confidence_threshold=1.01).labels == 255).all()


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.int8),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
    ids=lambda image: f'{image.dtype}{image.shape}',
)
def test_other_images_are_refused(segmenter: Segmenter, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'expected images of uint8 RGB.*found') as error:
        segmenter.predict([np.zeros((8, 8, 3), np.uint8), image])
    assert str(image.shape) in str(error.value)
    with pytest.raises(ValueError, match='expected images of uint8 RGB'):
        segmenter.predict(image)


@pytest.mark.filterwarnings('error')
def test_any_memory_layout_will_do(segmenter: Segmenter) -> None:
    image = picture(5, 40, 60)
    expected = segmenter.predict(image).labels
    read_only = np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)
    bgr = np.ascontiguousarray(image[..., ::-1])
    wide = np.zeros((40, 99, 3), np.uint8)
    wide[:, 7:67] = image
    layouts = {
        'read only': read_only,
        'BGR seen as RGB': bgr[..., ::-1],
        'a part of a row': wide[:, 7:67],
        'upside down': np.ascontiguousarray(image[::-1])[::-1],
        'columns first': np.asfortranarray(image),
    }
    for name, view in layouts.items():
        before = view.tobytes()
        np.testing.assert_array_equal(segmenter.predict(view).labels, expected, err_msg=name)
        assert view.tobytes() == before, f'{name}: the image was written to'


def test_channel_order_of_the_network_is_kept(tmp_path: Path) -> None:
    rgb = small_checkpoint(preprocessing=Preprocessing((90, 100, 110), (50, 60, 70), 'rgb'))
    bgr = small_checkpoint(preprocessing=Preprocessing((110, 100, 90), (70, 60, 50), 'bgr'))
    with torch.no_grad():
        first = bgr.network.state_dict()
        for name in ('detail.0.0.weight', 'semantic.0.conv.0.weight'):
            first[name].copy_(first[name].flip(1))
    save_checkpoint(tmp_path / 'bgr.safetensors', bgr)
    image = picture(6, *SIZE)
    expected = Segmenter(rgb, **TORCH).predict(image).labels
    found = Segmenter(tmp_path / 'bgr.safetensors', **TORCH).predict(image).labels
    assert (found == expected).mean() > 0.999


def test_half_precision_agrees_on_most_pixels(segmenter: Segmenter, checkpoint_path: Path) -> None:
    half = Segmenter(checkpoint_path, **{**TORCH, 'precision': 'bf16'})
    image = picture(7, 96, 128)
    expected = segmenter.predict(image, confidence=True)
    found = half.predict(image, confidence=True)
    assert half.precision == 'bf16'
    assert (found.labels == expected.labels).mean() > 0.93
    difference = np.abs(found.confidence.astype(int) - expected.confidence)
    assert 0 < difference.mean() < 10, 'the same to the bit: was it computed in float32?'


def test_attributes_say_what_runs(checkpoint_path: Path) -> None:
    chosen = Segmenter(str(checkpoint_path), device='auto', backend='torch', precision='auto')
    assert chosen.device == ('cuda' if torch.cuda.is_available() else 'cpu')
    assert chosen.precision in ('fp32', 'bf16', 'fp16')
    assert chosen.labels == LABELS
    assert chosen.input_size == SIZE
    assert chosen.model == str(checkpoint_path)
    chosen.warm_up()
    chosen.warm_up([(31, 40), (30, 50)])


@pytest.mark.parametrize(
    'options',
    [{'device': 'cuda:99'}, {'device': 'tpu'}, {'device': ''}, {'precision': 'int3'}],
    ids=str,
)
def test_a_missing_device_is_named(checkpoint_path: Path, options: dict) -> None:
    (value,) = options.values()
    with pytest.raises(EngineError, match=f'expected .*auto.*found {value!r}'):
        Segmenter(checkpoint_path, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_cuda_is_an_error_not_a_fallback(checkpoint_path: Path) -> None:
    with pytest.raises(EngineError, match=r"found 'cuda'.*nvidia-smi"):
        Segmenter(checkpoint_path, device='cuda')


def test_a_checkpoint_in_memory_stays_as_it_is() -> None:
    checkpoint = small_checkpoint()
    before = {name: t.clone() for name, t in checkpoint.network.state_dict().items()}
    Segmenter(checkpoint, **{**TORCH, 'precision': 'bf16'})
    for name, tensor in checkpoint.network.state_dict().items():
        assert tensor.dtype == before[name].dtype, f'{name} became {tensor.dtype}'
        assert torch.equal(tensor, before[name]), name


# Checkpoints


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    saved = small_checkpoint(
        preprocessing=Preprocessing((1.5, 2.5, 3.5), (4.0, 5.0, 6.0), 'bgr'),
        training={'data': 'CamVid', 'terms': 'research only', 'miou': {'val': 0.5}},
    )
    path = tmp_path / 'deep' / 'er' / 'net.safetensors'
    save_checkpoint(path, saved)
    loaded = load_checkpoint(str(path))
    assert loaded.architecture == saved.architecture
    assert loaded.labels == saved.labels
    assert loaded.preprocessing == saved.preprocessing
    assert loaded.input_size == saved.input_size
    assert loaded.training == saved.training
    assert not loaded.network.training
    expected, found = saved.network.state_dict(), loaded.network.state_dict()
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_checkpoint_in_half_precision(tmp_path: Path) -> None:
    saved = small_checkpoint()
    path, half_path = tmp_path / 'net.safetensors', tmp_path / 'half.safetensors'
    save_checkpoint(path, saved)
    save_checkpoint(half_path, saved, torch.float16)
    stored = load_file(half_path)
    assert {t.dtype for t in stored.values()} == {torch.float16, torch.int64}
    assert half_path.stat().st_size < 0.7 * path.stat().st_size
    found = load_checkpoint(half_path).network.state_dict()
    for name, tensor in saved.network.state_dict().items():
        assert found[name].dtype == tensor.dtype
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(found[name], expected), name
    # Saving does not change the network.
    assert {p.dtype for p in saved.network.parameters()} == {torch.float32}


def rewrite(path: Path, target: Path, change) -> Path:
    """Write a copy of a checkpoint with tensors and metadata altered by ``change``."""
    tensors = load_file(path)
    with safe_open(str(path), framework='pt') as file:
        metadata = file.metadata()
    change(tensors, metadata)
    save_file(tensors, target, metadata)
    return target


def drop(tensors, metadata):
    del tensors['head.1.bias']


def add(tensors, metadata):
    tensors['head.2.bias'] = torch.zeros(3)


def reshape(tensors, metadata):
    tensors['head.1.weight'] = torch.zeros(5, 8, 1, 1)


def flatten(tensors, metadata):
    tensors['head.1.weight'] = tensors['head.1.weight'].flatten()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (drop, r'missing head\.1\.bias'),
        (add, r"unexpected 'head\.2\.bias'"),
        (reshape, r'head\.1\.weight is \(5, 8, 1, 1\), expected \(4, 8, 1, 1\)'),
        (flatten, r'head\.1\.weight is \(32,\), expected \(4, 8, 1, 1\)'),
    ],
)
def test_tensors_are_exactly_the_networks(
    checkpoint_path: Path, tmp_path: Path, change, message: str
) -> None:
    path = rewrite(checkpoint_path, tmp_path / 'changed.safetensors', change)
    with pytest.raises(CheckpointError, match=message) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)


def facts(**changes):
    """Return a function that changes a checkpoint's metadata; None removes an entry."""

    def change(tensors, metadata):
        for key, value in changes.items():
            if value is None:
                del metadata[key]
            else:
                metadata[key] = value

    return change


THREE = {'names': ['a', 'b', 'c'], 'palette': [[0, 0, 0], [1, 1, 1], [2, 2, 2]]}


@pytest.mark.parametrize(
    'change',
    [
        facts(format='another project'),
        facts(format=None),
        facts(architecture=None),
        facts(labels=None),
        facts(preprocessing=None),
        facts(input_size=None),
        facts(training=None),
        facts(architecture='{not json'),
        facts(architecture='[]'),
        facts(architecture=json.dumps({'name': 'unet', 'num_classes': 4})),
        facts(architecture=json.dumps({**SMALL, 'widht': 1})),
        facts(architecture=json.dumps({'name': 'bisenetv2'})),
        facts(architecture=json.dumps({**SMALL, 'head_width': 'wide'})),
        facts(architecture=json.dumps({**SMALL, 'head_width': -8})),
        facts(labels=json.dumps(THREE)),
        facts(labels=json.dumps({**THREE, 'names': ['a', 'b']})),
        facts(preprocessing=json.dumps({'mean': [1, 2, 3], 'std': [1, 1, 1]})),
        facts(
            preprocessing=json.dumps({'mean': [1, 2, 3], 'std': [0, 1, 1], 'channel_order': 'rgb'})
        ),
        facts(input_size='[48]'),
        facts(input_size='["a", "b"]'),
    ],
)
def test_metadata_must_describe_the_network(checkpoint_path: Path, tmp_path: Path, change) -> None:
    path = rewrite(checkpoint_path, tmp_path / 'changed.safetensors', change)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)


def test_class_names_match_the_outputs(checkpoint_path: Path, tmp_path: Path) -> None:
    change = facts(labels=json.dumps(THREE))
    path = rewrite(checkpoint_path, tmp_path / 'three.safetensors', change)
    with pytest.raises(CheckpointError, match='found 3 names and 4 outputs'):
        load_checkpoint(path)


@pytest.mark.parametrize('share', [0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(checkpoint_path: Path, tmp_path: Path, share: float) -> None:
    content = checkpoint_path.read_bytes()
    path = tmp_path / 'cut.safetensors'
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r'cut\.safetensors.*cannot be read'):
        load_checkpoint(path)


@pytest.mark.parametrize(
    'content', [b'junk' * 1000, b'\xff' * 64, b'PK\x03\x04' + b'\0' * 60, b'{"a": 1}'], ids=repr
)
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'garbage.safetensors'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'garbage.*expected a checkpoint of seg_ros'):
        load_checkpoint(path)


def test_a_folder_or_nothing_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / 'none.safetensors'):
        with pytest.raises(CheckpointError, match='cannot be read'):
            load_checkpoint(path)


class Trap:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, 'run')


@pytest.mark.parametrize('write', ['pickle', 'torch', 'torch legacy'])
@pytest.mark.parametrize('name', ['trap.safetensors', 'trap.pth'])
def test_a_pickle_is_refused_and_not_run(tmp_path: Path, write: str, name: str) -> None:
    marker, path = tmp_path / 'marker', tmp_path / name
    if write == 'pickle':
        path.write_bytes(pickle.dumps(Trap(marker)))
    else:
        zipped = write == 'torch'
        torch.save({'state_dict': Trap(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError):
        Segmenter(path)
    assert not marker.exists(), 'code from the file was run'
    if write == 'pickle':
        pickle.loads(path.read_bytes())
        assert marker.read_text() == 'run', 'the trap would not have caught anything'


def test_a_failed_save_leaves_the_old_file(checkpoint_path: Path, tmp_path: Path) -> None:
    path = tmp_path / 'net.safetensors'
    path.write_bytes(checkpoint_path.read_bytes())
    # A limit on file sizes acts like a full disk: the system refuses to write more. Python ignores
    # the signal that it also sends.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match='File too large'):
            save_checkpoint(path, small_checkpoint())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == checkpoint_path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ['net.safetensors']


def test_a_save_shows_only_when_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'net.safetensors'
    path.write_text('old')
    seen = []

    def full(handle: int) -> None:
        seen.append(path.read_text())
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(OSError, match='No space left'):
        save_checkpoint(path, small_checkpoint())
    assert seen == ['old']
    assert path.read_text() == 'old'
    assert [p.name for p in tmp_path.iterdir()] == ['net.safetensors']
    monkeypatch.undo()
    save_checkpoint(path, small_checkpoint())
    assert load_checkpoint(path).labels == LABELS
    assert [p.name for p in tmp_path.iterdir()] == ['net.safetensors']
    # Others may read it, as any other new file.
    (tmp_path / 'other').touch()
    assert path.stat().st_mode == (tmp_path / 'other').stat().st_mode


def test_find_checkpoint(checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkpoint(checkpoint_path) == checkpoint_path
    assert find_checkpoint(str(checkpoint_path)) == checkpoint_path
    monkeypatch.setenv('HOME', str(checkpoint_path.parent))
    assert find_checkpoint('~/small.safetensors') == checkpoint_path
    for wrong in ('no_such_network', '', checkpoint_path.parent, '/none/net.safetensors', '.'):
        with pytest.raises(CheckpointError, match='expected a shipped network') as error:
            find_checkpoint(wrong)
        assert repr(str(wrong)) in str(error.value)
        with pytest.raises(CheckpointError):
            Segmenter(wrong)


@pytest.mark.parametrize('name', shipped_models())
def test_shipped_networks_run_and_say_where_they_are_from(name: str) -> None:
    path = find_checkpoint(name)
    shipped = load_checkpoint(path)
    assert shipped.training['data']
    assert shipped.training['terms']
    assert all(t.isfinite().all() for t in shipped.network.state_dict().values())
    image = picture(8, 120, 160)
    labels = Segmenter(name, input_height=96, input_width=128, **TORCH).predict(image).labels
    assert labels.shape == (120, 160)
    assert labels.max() < len(shipped.labels)


# Files


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif', '.ppm'])
def test_lossless_pictures_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    image = picture(10, 37, 53)
    path = tmp_path / 'made' / f'image{suffix}'
    write_image(path, image)
    np.testing.assert_array_equal(read_image(path), image)


def test_labels_come_back_exactly(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_image(tmp_path / 'labels.png', labels)
    np.testing.assert_array_equal(read_labels(tmp_path / 'labels.png'), labels)
    # Read as an image, the labels are grey.
    grey = read_image(tmp_path / 'labels.png')
    np.testing.assert_array_equal(grey, np.stack([labels] * 3, -1))


def test_jpeg_comes_back_nearly(tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = (200, 40, 10)
    image[:, 30:] = (10, 60, 220)
    write_image(tmp_path / 'image.jpg', image)
    found = read_image(tmp_path / 'image.jpg').astype(int)
    assert np.abs(found[:, :24] - (200, 40, 10)).max() < 8
    assert np.abs(found[:, 36:] - (10, 60, 220)).max() < 8
    rough, fine = (len(encode_image(picture(11, 64, 64), '.jpg', q)) for q in (20, 95))
    assert rough < fine


def test_what_is_no_label_image_is_refused(tmp_path: Path) -> None:
    coloured, deep, text = (tmp_path / name for name in ('c.png', 'd.png', 't.png'))
    write_image(coloured, colorize(np.eye(20, dtype=np.uint8), LABELS.palette))
    deep.write_bytes(encode_image(np.full((20, 20), 3000, np.uint16), '.png'))
    text.write_text('no image')
    for path in (coloured, deep, text):
        with pytest.raises(ImageFileError, match='expected a label image of one 8-bit') as error:
            read_labels(path)
        assert str(path) in str(error.value)
    with pytest.raises(FileNotFoundError):
        read_labels(tmp_path / 'none.png')


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    content = encode_image(picture(12, 60, 80), '.png')
    for damaged in (b'', b'junk', content[: len(content) // 2], content[:20]):
        with pytest.raises(ImageFileError, match=f'camera: expected.*found {len(damaged)} bytes'):
            decode_image(damaged, 'camera')
    path = tmp_path / 'cut.png'
    path.write_bytes(content[: len(content) // 2])
    for read in (read_image, read_labels):
        with pytest.raises(ImageFileError, match=r'cut\.png'):
            read(path)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / 'none.png')


@pytest.mark.parametrize('suffix', ['', '.xyz', 'png'])
def test_an_unknown_format_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match=f'expected an image ending.*found {suffix!r}'):
        encode_image(picture(0, 8, 8), suffix)


def test_writing_pictures_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    for suffix in ('.png', '.jpg'):
        encode_image(picture(0, 8, 8), suffix)
    assert capfd.readouterr() == ('', '')


def moving(frames: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Return the frames of a smooth image whose colour changes."""
    y, x = np.mgrid[:height, :width]
    return [
        np.stack([x * 3, y * 4, np.full_like(x, 20 * i)], -1).astype(np.uint8)
        for i in range(frames)
    ]


def write_video(path: Path, frames: Iterable[np.ndarray], rate: float = 10.0) -> None:
    with VideoWriter(path, rate) as video:
        for frame in frames:
            video.write(frame)


@pytest.fixture(scope='module')
def video_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('video') / 'new' / 'video.mp4'
    write_video(path, moving(9), 12.5)
    return path


def test_video_comes_back_nearly(video_path: Path) -> None:
    found = list(read_video(video_path))
    assert len(found) == 9
    for frame, expected in zip(found, moving(9)):
        assert frame.shape == expected.shape
        assert frame.dtype == np.uint8
        assert np.abs(frame.astype(int) - expected).mean() < 4
    assert video_rate(video_path) == pytest.approx(12.5)


def test_video_is_what_browsers_play(video_path: Path) -> None:
    with av.open(str(video_path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264'
        assert stream.pix_fmt == 'yuv420p'
    content = video_path.read_bytes()
    # The index comes first, so that playing starts before all is loaded.
    assert 0 < content.index(b'moov') < content.index(b'mdat')


def test_video_of_odd_size(tmp_path: Path) -> None:
    write_video(tmp_path / 'odd.mp4', moving(3, 51, 67), 30000 / 1001)
    assert [f.shape for f in read_video(tmp_path / 'odd.mp4')] == [(50, 66, 3)] * 3
    assert video_rate(tmp_path / 'odd.mp4') == pytest.approx(29.97, abs=1e-3)


def test_video_of_two_by_two_pixels_and_of_a_slow_camera(tmp_path: Path) -> None:
    path = tmp_path / 'small.mp4'
    write_video(path, [np.full((3, 2, 3), value, np.uint8) for value in (200, 90)], 1e-5)
    light, dark = read_video(path)
    assert light.shape == (2, 2, 3)
    assert abs(int(light.min()) - 200) < 5
    assert abs(int(dark.max()) - 90) < 5


def broken_off(error: BaseException) -> Iterator[np.ndarray]:
    yield from moving(2)
    raise error


@pytest.mark.parametrize('error', [RuntimeError('half way'), KeyboardInterrupt('half way')])
def test_video_that_breaks_off_leaves_the_old_one(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / 'new' / 'folders' / 'video.mp4'
    with pytest.raises(type(error), match='half way'):
        write_video(path, broken_off(error))
    assert not list(path.parent.iterdir())
    write_video(path, moving(3))
    before = path.read_bytes()
    with pytest.raises(type(error), match='half way'):
        write_video(path, broken_off(error))
    write_video(path, [])  # without frames there is no video
    assert [p.name for p in path.parent.iterdir()] == ['video.mp4']
    assert path.read_bytes() == before
    # Others may read it, as any other new file.
    (tmp_path / 'plain').touch()
    assert path.stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_video_takes_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / 'video.mp4'
    with VideoWriter(path, 10) as video:
        video.write(moving(1)[0])
        assert not path.exists()
    assert len(list(read_video(path))) == 1


def test_what_no_video_can_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'video.mp4'
    with pytest.raises(
        ValueError, match='video.mp4: expected frames of the first.*, 64x48; found 65x48.*another'
    ):
        write_video(path, moving(1) + moving(1, 48, 65))
    with pytest.raises(ValueError, match='video.mp4: expected frames of 2x2 .*; found 1x48'):
        write_video(path, moving(1, 48, 1))
    with pytest.raises(ValueError, match=r"a\.avi: expected a name that ends in \.mp4.*'\.avi'"):
        VideoWriter(tmp_path / 'a.avi', 10)
    assert not list(tmp_path.iterdir())
    path.touch()
    with pytest.raises(OSError, match=r'video\.mp4'):
        write_video(path / 'in_a_file.mp4', moving(1))


@pytest.mark.parametrize(
    ('limit', 'frames'), [(20_000, 60), (300, 1)], ids=['in the midst', 'at the end']
)
def test_video_on_a_full_disk_leaves_the_old_one(tmp_path: Path, limit: int, frames: int) -> None:
    path = tmp_path / 'video.mp4'
    path.write_text('the old one')
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (120, 160, 3)).astype(np.uint8) for _ in range(frames)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match='too large. An older file there is unchanged. Make room') as error:
            write_video(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.filename == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ['video.mp4']
    assert path.read_text() == 'the old one'


def frames_or_error(path: Path) -> int | str:
    """Return the number of frames of a video, or the error if it cannot be read."""
    try:
        return len(list(read_video(path)))
    except ImageFileError as error:
        return str(error)


def test_a_damaged_video_is_refused(video_path: Path, tmp_path: Path) -> None:
    content = video_path.read_bytes()
    path = tmp_path / 'cut.mp4'
    found = []
    for length in range(0, len(content), len(content) // 25):
        path.write_bytes(content[:length])
        found.append(frames_or_error(path))
    # The last few bytes may not be needed, but no frame is lost without an error.
    assert {f for f in found if isinstance(f, int)} <= {9}
    errors = [f for f in found if isinstance(f, str)]
    assert len(errors) > 20
    assert all(error.startswith(f'{path}: expected a video') for error in errors)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'text.mp4'
    path.write_text('no video')
    for wrong in (path, tmp_path / 'none.mp4'):
        with pytest.raises(ImageFileError, match=f'{wrong.name}: expected a video'):
            list(read_video(wrong))
        with pytest.raises(ImageFileError, match=f'{wrong.name}: expected a video'):
            video_rate(wrong)
