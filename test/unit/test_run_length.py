# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run-length encoded masks: the exact bytes that Autoware reads, and Autoware's ids."""

import struct

import numpy as np
import pytest

from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.images.labels import CAMVID, CAMVID32, CITYSCAPES, COCO_STUFF, IGNORE, LabelSet
from seg_ros.images.run_length import (
    AUTOWARE,
    AUTOWARE_IDS,
    autoware_mask,
    decode,
    encode,
    RunLengthError,
)  # fmt: skip


def read_as_autoware_does(data: bytes, height: int, width: int) -> np.ndarray:
    """Decode run by run: a byte for the label, and a native int for its number of pixels."""
    mask = np.full((height, width), 77, np.uint8)
    place = 0
    for i in range(0, len(data), 5):
        label = data[i]
        (length,) = struct.unpack('=i', data[i + 1 : i + 5])
        for _ in range(length):
            mask[place // width, place % width] = label
            place += 1
    assert place == height * width
    return mask


def masks():
    rng = np.random.default_rng(5)
    yield 'one pixel', np.array([[7]], np.uint8)
    yield 'one label', np.full((30, 40), 255, np.uint8)
    yield 'noise', rng.integers(0, 256, (33, 47), dtype=np.uint8)
    yield 'noise of two labels', rng.integers(0, 2, (64, 16), dtype=np.uint8)
    yield 'columns', np.tile(np.arange(13, dtype=np.uint8), (9, 1))
    yield 'rows, which go on in the next', np.repeat(np.arange(9, dtype=np.uint8), 22)[:, None]
    yield 'a view of every other column', rng.integers(0, 3, (20, 30), dtype=np.uint8)[:, ::2]
    for seed in range(20):
        height, width = rng.integers(1, 40, 2)
        small = rng.integers(0, 5, (height, width), dtype=np.uint8)
        yield f'blocks {seed}', np.kron(small, np.ones((3, 5), np.uint8))
    yield 'drive', SampleDrive(seed=3, frames=1, size=(160, 120))[0][1]


MASKS = dict(masks())


@pytest.mark.parametrize('name', MASKS)
def test_a_mask_comes_back(name):
    mask = MASKS[name]
    runs = encode(mask)
    assert runs.dtype == np.uint8
    np.testing.assert_array_equal(read_as_autoware_does(runs.tobytes(), *mask.shape), mask)
    np.testing.assert_array_equal(decode(runs, *mask.shape), mask)
    np.testing.assert_array_equal(decode(runs.tobytes(), *mask.shape), mask)
    labels = runs.reshape(-1, 5)[:, 0].astype(int)
    assert (np.diff(labels) != 0).all()  # no run could be longer


def test_the_bytes():
    mask = np.array([[3, 3, 3], [3, 9, 9]], np.uint8)
    assert encode(mask).tobytes() == struct.pack('=BiBi', 3, 4, 9, 2)


def test_large_masks():
    """The worst case has five bytes for each pixel; a drawn street has much less."""
    noise = np.tile(np.arange(256, dtype=np.uint8), (1024, 8))
    runs = encode(noise)
    assert runs.size == 5 * noise.size
    np.testing.assert_array_equal(decode(runs, 1024, 2048), noise)
    drawn = SampleDrive(seed=3, frames=1, size=(640, 320))[0][1]
    runs = encode(drawn)
    assert runs.size < drawn.size / 3
    np.testing.assert_array_equal(decode(runs, 320, 640), drawn)


GOOD = encode(np.array([[1, 1], [2, 3]], np.uint8)).tobytes()


@pytest.mark.parametrize(
    ('data', 'size', 'expected'),
    [
        (GOOD[:-1], (2, 2), 'expected runs of 5 bytes each; found 14 bytes'),
        (GOOD, (2, 3), 'expected runs of 6 pixels, for 3x2; found 4'),
        (GOOD[5:], (2, 2), 'expected runs of 4 pixels, for 2x2; found 2'),
        (b'', (2, 2), 'expected runs of 4 pixels, for 2x2; found 0'),
        (struct.pack('=BiBi', 1, 6, 2, -2), (2, 2), 'found -2 in run 1'),
        (struct.pack('=BiBi', 1, 4, 2, 0), (2, 2), 'found 0 in run 1'),
        (struct.pack('=BiBi', 1, 2**31 - 1, 2, 2**31 - 1), (2, 2), 'found 4294967294'),
        (struct.pack('>Bi', 1, 4), (2, 2), 'found 67108864'),
    ],
)
def test_damaged_data(data, size, expected):
    with pytest.raises(RunLengthError, match=expected):
        decode(data, *size)


@pytest.mark.parametrize(
    'mask', [np.zeros((2, 2), np.int32), np.zeros((2, 2, 1), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_what_is_no_mask(mask):
    with pytest.raises(RunLengthError, match='expected a mask of uint8'):
        encode(mask)


# Autoware's ids.


@pytest.mark.parametrize(
    ('labels', 'expected'),
    [
        (CAMVID, [15, 1, 3, 9, 10, 14, 5, 3, 7, 6, 8]),
        (CITYSCAPES, [9, 10, 1, 2, 3, 3, 4, 5, 14, 14, 15, 6, 6, 7, 7, 7, 7, 8, 8]),
    ],
    ids=['CamVid', 'Cityscapes'],
)
def test_ids_of_autoware(labels, expected):
    mask = np.array([[*range(len(labels)), IGNORE, len(labels)]], np.uint8)
    got = decode(autoware_mask(mask, labels), *mask.shape)
    assert got.tolist() == [[*expected, 0, 0]]


def test_each_name_is_one_of_a_data_set_and_each_id_one_of_autoware():
    names = {n.lower() for s in (CAMVID, CAMVID32, CITYSCAPES, COCO_STUFF) for n in s.names}
    assert set(AUTOWARE_IDS) <= names
    assert set(AUTOWARE_IDS.values()) < set(AUTOWARE)
    # Only text, which can be on any object, has no counterpart.
    assert {n for n in CAMVID32.names if n.lower() not in AUTOWARE_IDS} == {'Misc_Text'}


def test_a_class_without_a_counterpart_is_unknown():
    labels = LabelSet(('road', 'teapot'), ((0, 0, 0), (1, 1, 1)))
    mask = np.array([[0, 1, 0]], np.uint8)
    assert decode(autoware_mask(mask, labels), 1, 3).tolist() == [[9, 0, 9]]
