# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Other projects' BiSeNetV2: imported, each gives the logits that its own project gives."""

from __future__ import annotations

from collections.abc import Callable
import importlib.util
from pathlib import Path
import pickle
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
    Shapes,
    Size,
    STORE,
    store_pair,
)
import numpy as np
from numpy.typing import NDArray
import pytest
import torch
from torch import nn, Tensor

from seg_ros.inference.checkpoint import Checkpoint
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.importers import UnsupportedError
from seg_ros.inference.importers.bisenetv2 import IMPORTERS
from seg_ros.inference.importers.choice import import_network
from seg_ros.inference.quantization import calibrate, quantize

pytestmark = pytest.mark.usefixtures('one_thread')

CLASSES = 19
MULTIPLES_OF_32 = [(64, 96), (96, 64)]
ANY = [(64, 96), (61, 91), (39, 48)]


class Original(NamedTuple):
    """
    A project's own network, in evaluation mode.

    :param load: gives it weights.
    :param save: writes them to a file, as the project does.
    :param run: returns its main and auxiliary logits for an image, all at the image's size.
    :param normalise: does what the project does to an image, (H, W, 3), uint8, BGR, before its
        network sees it as (1, 3, H, W).
    """

    shapes: Shapes
    load: Callable[[Arrays], Any]
    save: Callable[[Path], Any]
    run: Callable[[NDArray], list[NDArray]]
    normalise: Callable[[NDArray], NDArray]


def shapes_of(state: Any) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def coincheung(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Original:
    folder = original('BiSeNet')
    monkeypatch.syspath_prepend(str(folder))
    from lib.data import cityscapes_cv2

    # By itself, as the network beside it needs torchvision.
    spec = importlib.util.spec_from_file_location('original', folder / 'lib/models/bisenetv2.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.BiSeNetV2.load_pretrain = lambda _: None  # which downloads
    network = module.BiSeNetV2(CLASSES, aux_mode='train').eval()

    def run(image: NDArray) -> list[NDArray]:
        return [logits.numpy() for logits in network(torch.from_numpy(image))]

    (tmp_path / 'none.txt').touch()
    monkeypatch.setattr(cityscapes_cv2, 'labels_info', [])  # an id of -1, which NumPy 2 refuses
    data = cityscapes_cv2.CityScapes('', str(tmp_path / 'none.txt'))

    def normalise(bgr: NDArray) -> NDArray:
        return data.to_tensor({'im': bgr[:, :, ::-1], 'lb': None})['im'][None].numpy()

    def load(arrays: Arrays) -> None:
        network.load_state_dict(tensors(arrays))

    def save(path: Path) -> None:
        torch.save(network.state_dict(), path)

    return Original(shapes_of(network.state_dict()), load, save, run, normalise)


def mmsegmentation(monkeypatch: pytest.MonkeyPatch, _: Path) -> Original:
    network = mmsegmentation_network(
        'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py', monkeypatch
    )

    def run(image: NDArray) -> list[NDArray]:
        features = network.extract_feat(torch.from_numpy(image))
        facts = [{'img_shape': image.shape[-2:]}]
        heads = [network.decode_head, *network.auxiliary_head]
        return [head.predict(features, facts, network.test_cfg).numpy() for head in heads]

    def normalise(bgr: NDArray) -> NDArray:
        images = {'inputs': [torch.from_numpy(bgr).permute(2, 0, 1)], 'data_samples': None}
        return network.data_preprocessor(images, training=False)['inputs'].numpy()

    def load(arrays: Arrays) -> None:
        network.load_state_dict(tensors(arrays))

    def save(path: Path) -> None:
        torch.save({'meta': {}, 'state_dict': network.state_dict()}, path)

    return Original(shapes_of(network.state_dict()), load, save, run, normalise)


def paddleseg(monkeypatch: pytest.MonkeyPatch, _: Path) -> Original:
    folder = original('PaddleSeg')
    monkeypatch.syspath_prepend(str(folder))
    import paddle
    from paddleseg.models import BiSeNetV2
    from paddleseg.transforms import Compose, Normalize

    network = BiSeNetV2(CLASSES)
    network.eval()
    network.training = True  # the network alone, not its layers: it returns the boosters' too

    def run(image: NDArray) -> list[NDArray]:
        with paddle.no_grad():
            return [logits.numpy() for logits in network(paddle.to_tensor(image))]

    def normalise(bgr: NDArray) -> NDArray:
        return Compose([Normalize()])({'img': bgr})['img'][None]

    def save(path: Path) -> None:
        paddle.save(network.state_dict(), str(path))

    shapes = shapes_of(network.state_dict())
    return Original(shapes, network.set_state_dict, save, run, normalise)


PROJECTS = {
    'coincheung': (coincheung, MULTIPLES_OF_32),
    'mmsegmentation': (mmsegmentation, ANY),
    'paddleseg': (paddleseg, ANY),
}


def imported(project: str, arrays: Arrays, folder: Path) -> Checkpoint:
    """Write the weights as the project does, and import them."""
    if project == 'paddleseg':
        path = folder / 'model.pdparams'
        path.write_bytes(pickle.dumps(arrays, 2))
    else:
        path = folder / 'model.pth'
        torch.save(tensors(arrays), path)
    result = import_network(path)
    assert (result.importer.project, result.importer.network) == (project, 'BiSeNetV2')
    assert result.left_out == {}
    return result.checkpoint


def outputs(checkpoint: Checkpoint, size: Size) -> list[Tensor]:
    """Return the main and the auxiliary logits for an image, all at its size."""
    image = torch.from_numpy(make_image(size))
    with torch.no_grad():
        main, auxiliary = checkpoint.network.forward_train(image)
        assert torch.equal(main, checkpoint.network(image))
        return [checkpoint.network.upsample(logits, size) for logits in (main, *auxiliary)]


@pytest.mark.parametrize('project', PROJECTS)
def test_logits_are_those_of_the_original(
    project: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build, sizes = PROJECTS[project]
    theirs = build(monkeypatch, tmp_path)
    arrays = make_weights(theirs.shapes)
    theirs.load(arrays)
    path = tmp_path / ('model.pdparams' if project == 'paddleseg' else 'model.pth')
    theirs.save(path)
    checkpoint = import_network(path).checkpoint
    logits = {}
    with torch.no_grad():
        for size in sizes:
            logits[size] = theirs.run(make_image(size))
            found = outputs(checkpoint, size)
            assert len(found) == len(logits[size]) == 5
            for ours, expected in zip(found, logits[size]):
                assert_logits_agree(ours, expected)
    if STORE:
        store_pair(f'{project}_bisenetv2', Pair(theirs.shapes, logits))


@pytest.mark.parametrize('project', PROJECTS)
def test_an_image_is_normalised_as_by_the_original(
    project: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = PROJECTS[project][0](monkeypatch, tmp_path)
    checkpoint = imported(project, make_weights(theirs.shapes), tmp_path)
    rgb = np.random.RandomState(1).randint(0, 256, (32, 64, 3), np.uint8)
    expected = theirs.normalise(np.ascontiguousarray(rgb[:, :, ::-1]))
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    found = checkpoint.preprocessing.normalise(pixels)
    assert np.abs(found.numpy() - expected).max() < 1e-5


class Stored(NamedTuple):
    project: str
    pair: Pair
    checkpoint: Checkpoint


@pytest.fixture(scope='module', params=PROJECTS)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Import weights whose logits the original has given before."""
    pair = load_pair(f'{request.param}_bisenetv2')
    arrays = make_weights(pair.shapes)
    folder = tmp_path_factory.mktemp(request.param)
    return Stored(request.param, pair, imported(request.param, arrays, folder))


def test_logits_are_those_that_the_original_gave(stored: Stored) -> None:
    assert list(stored.pair.logits) == PROJECTS[stored.project][1]
    for size, logits in stored.pair.logits.items():
        found = outputs(stored.checkpoint, size)
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
    """Folding norms changes nothing, and 8 or 16 bits little, at an odd size too."""
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
        imported('coincheung', old, tmp_path)
    stem = 'segment.S1S2.conv.conv.weight'
    with pytest.raises(UnsupportedError, match=f'starts with 16 channels; found 8 in {stem}'):
        imported('coincheung', {**arrays, stem: arrays[stem][:8]}, tmp_path)
    narrow = {
        name: array[:64] if name.startswith('head.conv.') and array.ndim else array
        for name, array in arrays.items()
    }
    narrow['head.conv_out.1.weight'] = arrays['head.conv_out.1.weight'][:, :64]
    assert imported('coincheung', narrow, tmp_path).architecture['head_width'] == 64


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
