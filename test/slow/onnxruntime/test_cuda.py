# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every way through a CUDA device, against plain float32 PyTorch; skipped where there is none."""

from concurrent.futures import ThreadPoolExecutor
import gc

import cv2
import numpy as np
import pytest
import torch

from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.images.labels import IGNORE
from seg_ros.images.overlay import colorize, overlay, Paint
from seg_ros.inference.backends import BACKENDS, EngineError
from seg_ros.inference.checkpoint import find_checkpoint, load_checkpoint
from seg_ros.inference.segmenter import Segmenter

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='PyTorch sees no CUDA device'
)

MODELS = ('bisenetv2_camvid', 'icnet_camvid')
INPUT = (480, 640)
CAMERA = (360, 640)
AGREE = {'fp32': 0.999, 'fp16': 0.99, 'bf16': 0.99, 'int8': 0.98}
"""The share of pixels that must have the label of float32."""

SAME = 0.999
"""Likewise of what a program that was set up once more has computed."""

CONFIDENCE = {'fp32': 2, 'fp16': 6, 'bf16': 30}
"""Of 255, by how much a confidence may differ in 99 % of pixels."""


@pytest.fixture(scope='module')
def frames():
    """Return six images of a drive, (H, W, 3)."""
    drive = SampleDrive(seed=5, frames=6, size=CAMERA[::-1])
    return [drive[i][0] for i in range(len(drive))]


@pytest.fixture(scope='module', params=MODELS)
def reference(request, frames):
    """Return a network's name, and what float32 PyTorch on a CPU makes of the images."""
    return request.param, plain(request.param).predict(frames, confidence=True)


def plain(model, **more):
    """Return the network in float32 PyTorch on a CPU."""
    return Segmenter(
        model, input_height=INPUT[0], input_width=INPUT[1], device='cpu', backend='torch',
        precision='fp32', **more,
    )  # fmt: skip


def on_gpu(model, precision='fp16', backend='torch', **more):
    height, width = INPUT
    return Segmenter(
        model, input_height=height, input_width=width, device='cuda', backend=backend,
        precision=precision, **more,
    )  # fmt: skip


def agreement(found, expected):
    """Return the share of pixels with the same label, of all images together."""
    pairs = list(zip(found, expected))
    assert len(pairs) == len(found) == len(expected)
    return float(np.mean([(f.labels == e.labels).mean() for f, e in pairs]))


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'bf16'])
@pytest.mark.parametrize(
    ('backend', 'graphs'),
    [('torch', False), *((name, True) for name in BACKENDS if name != 'auto')],
)
def test_labels_are_those_of_float32(backend, graphs, precision, reference, frames):
    model, expected = reference
    try:
        segmenter = on_gpu(model, precision, backend, graphs=graphs)
    except EngineError as error:
        if backend == 'torch':
            raise
        pytest.skip(str(error))
    assert segmenter.backend == backend
    assert segmenter.precision == precision
    found = [segmenter.predict(image) for image in frames]
    assert found[0].labels.dtype == np.uint8 and found[0].labels.shape == CAMERA
    assert agreement(found, expected) >= AGREE[precision]


@pytest.mark.parametrize('backend', ['torch', 'onnxruntime:cuda', 'onnxruntime:tensorrt'])
def test_eight_bits_where_the_weights_are_calibrated(backend, reference, frames):
    model, expected = reference
    if not load_checkpoint(find_checkpoint(model)).activation_ranges:
        pytest.skip(f'{model} is not calibrated')
    try:
        segmenter = on_gpu(model, 'int8', backend)
    except EngineError as error:
        pytest.skip(str(error))
    assert agreement([segmenter.predict(image) for image in frames], expected) >= AGREE['int8']


def test_the_choice_of_auto_is_right(reference, frames):
    model, expected = reference
    said = []
    segmenter = on_gpu(model, 'auto', 'auto', report=said.append)
    assert segmenter.device.startswith('cuda') and segmenter.precision != 'fp32'
    assert agreement([segmenter.predict(image) for image in frames], expected) >= 0.98


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'bf16'])
def test_a_graph_computes_what_eager_code_does(precision, reference, frames):
    model, _ = reference
    graph, eager = (on_gpu(model, precision, graphs=graphs) for graphs in (True, False))
    for image in frames:
        one, other = (s.predict(image, confidence=True) for s in (graph, eager))
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.confidence, other.confidence)
        assert one.mean_confidence == pytest.approx(other.mean_confidence, abs=1e-6)


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
@pytest.mark.parametrize('count', [1, 6])
def test_a_batch_is_its_images(count, precision, reference, frames):
    """Each at its own place; another batch size may take other kernels, which round elsewhere."""
    model, expected = reference
    segmenter = on_gpu(model, precision)
    assert agreement(segmenter.predict(frames[:count]), expected[:count]) >= AGREE[precision]
    turned = segmenter.predict(frames[:count][::-1])[::-1]
    assert agreement(turned, expected[:count]) >= AGREE[precision]


@pytest.mark.parametrize('size', [(240, 320), (361, 641), (720, 1280), (1024, 2048)])
def test_cameras_larger_and_smaller_than_the_network(size, frames):
    image = cv2.resize(frames[0], size[::-1])
    expected = plain(MODELS[0]).predict(image)
    found = on_gpu(MODELS[0], 'fp32').predict(image)
    assert found.labels.shape == size
    assert agreement([found], [expected]) >= AGREE['fp32']
    assert agreement([on_gpu(MODELS[0]).predict(image)], [expected]) >= AGREE['fp16']


def test_images_that_are_no_plain_arrays(frames):
    """BGR seen as RGB, part of a larger image, a read-only message."""
    segmenter = on_gpu(MODELS[0])
    image = frames[0]
    expected = segmenter.predict(image).labels
    reversed_view = np.ascontiguousarray(image[..., ::-1])[..., ::-1]
    padded = np.zeros((CAMERA[0] + 8, CAMERA[1] + 8, 3), np.uint8)
    padded[4:-4, 4:-4] = image
    fixed = np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)
    for view in (reversed_view, padded[4:-4, 4:-4], fixed):
        np.testing.assert_array_equal(segmenter.predict(view).labels, expected)


def test_sizes_that_change_between_frames(frames):
    segmenter = on_gpu(MODELS[0], 'fp32')
    sizes = [CAMERA, (240, 320), CAMERA, (480, 640), (100, 80), (240, 320), *((s, 64) for s in
             range(64, 74)), CAMERA]  # fmt: skip
    first = segmenter.predict(frames[0]).labels
    for size in sizes:
        image = frames[0] if size == CAMERA else cv2.resize(frames[0], size[::-1])
        assert segmenter.predict(image).labels.shape == size
    assert (segmenter.predict(frames[0]).labels == first).mean() >= SAME
    mixed = segmenter.predict([frames[0], cv2.resize(frames[1], (320, 240)), frames[2]])
    assert [result.labels.shape for result in mixed] == [CAMERA, (240, 320), CAMERA]
    assert (mixed[0].labels == first).mean() >= AGREE['fp32']


@pytest.mark.parametrize('precision', list(CONFIDENCE))
def test_confidence_is_that_of_float32(precision, reference, frames):
    model, expected = reference
    segmenter = on_gpu(model, precision)
    for image, right in zip(frames, expected):
        found = segmenter.predict(image, confidence=True)
        off = np.abs(found.confidence.astype(int) - right.confidence)
        assert np.quantile(off, 0.99) <= CONFIDENCE[precision]
        assert found.mean_confidence == pytest.approx(right.mean_confidence, abs=0.02)


@pytest.mark.parametrize('threshold', [0.3, 0.7, 1.1])
def test_what_is_not_confident_enough_is_unlabeled(threshold, frames):
    """Also when the threshold changes from one frame to the next."""
    segmenter = on_gpu(MODELS[0], 'fp32')
    segmenter.predict(frames[0], confidence_threshold=0.5)
    sure = segmenter.predict(frames[0], confidence=True)
    found = segmenter.predict(frames[0], confidence_threshold=threshold)
    assert found.confidence is None
    unlabeled = found.labels == IGNORE
    clear = np.abs(sure.confidence / 255 - threshold) > 1 / 255
    below = sure.confidence / 255 < threshold
    np.testing.assert_array_equal(unlabeled[clear], below[clear])
    np.testing.assert_array_equal(found.labels[~unlabeled], sure.labels[~unlabeled])


@pytest.mark.parametrize('reversed_channels', [False, True], ids=['rgb', 'bgr seen as rgb'])
@pytest.mark.parametrize('opacity', [0.0, 0.35, 0.5, 1.0])
def test_pictures_are_opencvs_within_rounding(opacity, reversed_channels, frames):
    segmenter = on_gpu(MODELS[0])
    paint = Paint(segmenter.labels.palette, opacity, color=True, overlay=True)
    for image in frames[:2]:
        if reversed_channels:
            image = np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1]
        found = segmenter.predict(image, paint=paint, confidence_threshold=0.6)
        # Recorded for another size, without pictures: it takes nothing from the first.
        segmenter.predict(image[:96, :128])
        found = segmenter.predict(image, paint=paint, confidence_threshold=0.6)
        assert (found.labels == IGNORE).any() and (found.labels != IGNORE).any()
        expected = colorize(found.labels, paint.palette)
        np.testing.assert_array_equal(found.color, expected)
        blended = overlay(image, found.labels, paint.palette, opacity)
        assert np.abs(found.overlay.astype(int) - blended).max() <= 1
    only = segmenter.predict(frames[0], paint=Paint(paint.palette, opacity, overlay=True))
    assert only.color is None and only.overlay is not None


def test_results_at_another_size(frames):
    found = on_gpu(MODELS[0], 'fp32').predict(frames[0], output_size=(120, 160), confidence=True)
    expected = plain(MODELS[0]).predict(frames[0], output_size=(120, 160))
    assert found.labels.shape == found.confidence.shape == (120, 160)
    assert agreement([found], [expected]) >= AGREE['fp32']


def test_results_stay_what_they_were(frames):
    """Later calls take no memory that a caller still holds."""
    segmenter = on_gpu(MODELS[0])
    first = segmenter.predict(frames[0], confidence=True)
    kept = first.labels.copy(), first.confidence.copy()
    for image in frames[1:] * 3:
        segmenter.predict(image, confidence=True)
    np.testing.assert_array_equal(first.labels, kept[0])
    np.testing.assert_array_equal(first.confidence, kept[1])


def test_threads_that_share_a_segmenter(frames):
    segmenter = on_gpu(MODELS[0])
    expected = [segmenter.predict(image).labels for image in frames]
    work = list(range(len(frames))) * 10
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda i: segmenter.predict(frames[i]).labels, work))
    for i, labels in zip(work, found):
        assert (labels == expected[i]).mean() >= SAME


def test_two_segmenters_at_once(frames):
    segmenters = [on_gpu(MODELS[0]), on_gpu(MODELS[1], 'bf16')]
    expected = [[s.predict(image).labels for image in frames] for s in segmenters]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(5):
            running = [
                threads.submit(lambda s=s: [s.predict(image).labels for image in frames])
                for s in segmenters
            ]
            for thread, right in zip(running, expected):
                assert np.mean(np.array(thread.result()) == np.array(right)) >= SAME


def test_warming_up_finds_out_whether_a_batch_is_faster(frames):
    segmenter = on_gpu(MODELS[0])
    segmenter.warm_up([CAMERA] * 6)
    assert segmenter.batched in (True, False)
    expected = [segmenter.predict(image) for image in frames]
    assert agreement(segmenter.predict(frames), expected) >= AGREE['fp16']


def test_a_segmenter_that_is_gone_leaves_its_memory(frames):
    segmenter = on_gpu(MODELS[0])
    segmenter.predict(frames[0])
    del segmenter
    before = reserved()
    for _ in range(6):
        on_gpu(MODELS[0]).predict(frames[0])
    # Libraries may keep some megabytes for each stream that they have seen.
    assert reserved() - before < 200e6


def reserved():
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved()
