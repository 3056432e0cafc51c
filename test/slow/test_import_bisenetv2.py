# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Other projects' BiSeNetV2: imported, each gives the logits of its own project, run beside it."""

from __future__ import annotations

from collections.abc import Callable
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

from import_fixtures import (
    Arrays,
    assert_logits_agree,
    make_image,
    make_weights,
    mmsegmentation_network,
    original,
    Pair,
    Shapes,
    STORE,
    store_pair,
)
from imported_networks import bisenetv2_logits, BISENETV2S, import_bisenetv2, tensors
import numpy as np
from numpy.typing import NDArray
import pytest
import torch

from seg_ros.interop.importers.import_file import import_network

pytestmark = pytest.mark.usefixtures('one_thread')

CLASSES = 19


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


PROJECTS = {'coincheung': coincheung, 'mmsegmentation': mmsegmentation, 'paddleseg': paddleseg}


@pytest.mark.parametrize('project', PROJECTS)
def test_logits_are_those_of_the_original(
    project: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = PROJECTS[project](monkeypatch, tmp_path)
    arrays = make_weights(theirs.shapes)
    theirs.load(arrays)
    path = tmp_path / ('model.pdparams' if project == 'paddleseg' else 'model.pth')
    theirs.save(path)
    checkpoint = import_network(path).checkpoint
    logits = {}
    with torch.no_grad():
        for size in BISENETV2S[project]:
            logits[size] = theirs.run(make_image(size))
            found = bisenetv2_logits(checkpoint, size)
            assert len(found) == len(logits[size]) == 5
            for ours, expected in zip(found, logits[size]):
                assert_logits_agree(ours, expected)
    if STORE:
        store_pair(f'{project}_bisenetv2', Pair(theirs.shapes, logits))


@pytest.mark.parametrize('project', PROJECTS)
def test_an_image_is_normalised_as_by_the_original(
    project: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = PROJECTS[project](monkeypatch, tmp_path)
    checkpoint = import_bisenetv2(project, make_weights(theirs.shapes), tmp_path)
    rgb = np.random.RandomState(1).randint(0, 256, (32, 64, 3), np.uint8)
    expected = theirs.normalise(np.ascontiguousarray(rgb[:, :, ::-1]))
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    found = checkpoint.preprocessing.normalise(pixels)
    assert np.abs(found.numpy() - expected).max() < 1e-5
