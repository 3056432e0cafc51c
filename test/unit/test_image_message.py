# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image messages against values worked out by hand, and by another implementation."""

from array import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from seg_ros.images.encodings import ImageError, to_array, to_rgb
from seg_ros.node.image_message import decode, encode, to_message

RGB = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
GRAY = RGB[..., 0]
PADDINGS = pytest.mark.parametrize('padding', [0, 1, 5])


def message(pixels, encoding, width=None, padding=0, is_bigendian=False):
    """Build a message from rows, with ``padding`` bytes of rubbish after each."""
    height = len(pixels)
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    rows = np.hstack([rows, np.full((height, padding), 0xA5, np.uint8)])
    return Image(
        height=height,
        width=width or pixels.shape[1],
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=rows.shape[1],
        data=array('B', rows.tobytes()),
    )


def gray_to_rgb(gray):
    return np.dstack([gray] * 3)


@PADDINGS
@pytest.mark.parametrize(
    ('encoding', 'pixels', 'expected'),
    [
        ('rgb8', RGB, RGB),
        ('bgr8', RGB[..., ::-1], RGB),
        ('8UC3', RGB[..., ::-1], RGB),
        ('rgba8', np.dstack([RGB, GRAY]), RGB),
        ('bgra8', np.dstack([RGB[..., ::-1], GRAY]), RGB),
        ('8UC4', np.dstack([RGB[..., ::-1], GRAY]), RGB),
        ('mono8', GRAY, gray_to_rgb(GRAY)),
        ('8UC1', GRAY, gray_to_rgb(GRAY)),
    ],
)
def test_eight_bits(encoding, pixels, expected, padding):
    np.testing.assert_array_equal(to_rgb(message(pixels, encoding, padding=padding)), expected)


def test_rgb8_is_a_view_of_the_message():
    padded = message(RGB, 'rgb8', padding=3)
    image = to_rgb(padded)
    padded.data[0] ^= 0xFF
    assert image[0, 0, 0] == RGB[0, 0, 0] ^ 0xFF


@PADDINGS
@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
def test_sixteen_bits_are_scaled_over_their_full_range(encoding, order, padding):
    values = np.array([[0, 128, 129, 257, 514], [32767, 32768, 65406, 65407, 65535]])
    expected = np.array([[0, 0, 1, 1, 2], [127, 128, 254, 255, 255]])  # round(value / 257)
    image = to_rgb(message(values.astype(f'{order}u2'), encoding, 5, padding, order == '>'))
    np.testing.assert_array_equal(image, gray_to_rgb(expected))


def yuv_to_rgb(y, u, v):
    """ITU-R BT.601, limited range, as video defines it."""
    y, u, v = 1.164 * (y - 16.0), u - 128.0, v - 128.0
    rgb = [y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u]
    return np.clip(np.dstack(rgb), 0, 255)


@PADDINGS
@pytest.mark.parametrize(
    ('encoding', 'layout'),
    [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('yuyv', 'yuyv')],
)
def test_yuv(encoding, layout, padding):
    random = np.random.default_rng(2)
    y = random.integers(60, 190, (4, 6))
    u, v = random.integers(100, 156, (2, 4, 3))
    pairs = {'u': u, 'v': v}
    planes = [y[:, 0::2], y[:, 1::2]]
    stored = [planes.pop(0) if name == 'y' else pairs[name] for name in layout]
    rows = np.stack(stored, axis=2).reshape(4, 12).astype(np.uint8)
    expected = yuv_to_rgb(y, np.repeat(u, 2, axis=1), np.repeat(v, 2, axis=1))
    image = to_rgb(message(rows, encoding, 6, padding))
    np.testing.assert_allclose(image, expected, atol=1.5)


@PADDINGS
@pytest.mark.parametrize('order', ['', '<', '>'])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer(pattern, order, padding):
    """A scene of one colour comes out in that colour, whatever the interpolation."""
    color = {'r': 200, 'g': 120, 'b': 40}
    tile = np.array([color[name] for name in pattern]).reshape(2, 2)
    mosaic = np.tile(tile, (4, 5))
    if order:
        encoding, mosaic = f'bayer_{pattern}16', (mosaic * 257).astype(f'{order}u2')
    else:
        encoding, mosaic = f'bayer_{pattern}8', mosaic.astype(np.uint8)
    image = to_rgb(message(mosaic, encoding, 10, padding, order == '>'))
    np.testing.assert_array_equal(image, np.broadcast_to([200, 120, 40], (8, 10, 3)))


@pytest.mark.parametrize(
    'encoding',
    ['yuv422', 'yuv422_yuy2', *(f'bayer_{p}8' for p in ('rggb', 'bggr', 'gbrg', 'grbg'))],
)
def test_agrees_with_rosbags_image(encoding):
    rosbags_image = pytest.importorskip('rosbags.image')
    channels = 2 if encoding.startswith('yuv') else 1
    rows = np.random.default_rng(3).integers(0, 256, (8, 10 * channels), dtype=np.uint8)
    image = message(rows, encoding, 10)
    np.testing.assert_array_equal(to_rgb(image), rosbags_image.image_to_cvimage(image, 'rgb8'))


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'encoding': 'jpeg9000'}, r"expected an encoding of rgb8, .*found 'jpeg9000'"),
        ({'encoding': ''}, "found ''"),
        ({'width': 0}, 'expected an image with pixels; found 0x6'),
        ({'height': 0}, 'expected an image with pixels; found 8x0'),
        ({'step': 23}, 'expected a step of at least 24 bytes for 8 pixels of rgb8; found 23'),
        ({'step': 25}, r'expected 150 bytes of data \(6 rows of 25\); found 144'),
        ({'height': 7}, r'expected 168 bytes of data \(7 rows of 24\); found 144'),
        ({'data': array('B')}, 'expected 144 bytes of data .* found 0'),
        ({'width': 2**31, 'step': 2**32 - 1}, 'expected a step of at least 6442450944 bytes'),
        ({'height': 2**32 - 1}, 'found 144'),
    ],
)
def test_errors_say_what_was_expected_and_found(changes, expected):
    image = message(RGB, 'rgb8')
    for name, value in changes.items():
        setattr(image, name, value)
    with pytest.raises(ImageError, match=expected):
        to_rgb(image)


def test_odd_width_of_yuv_is_an_error():
    with pytest.raises(ImageError, match='found 3x4'):
        to_rgb(message(np.zeros((4, 6), np.uint8), 'yuv422', 3))


@pytest.mark.parametrize('pixels', [RGB, GRAY, RGB[:, 1:6], GRAY[:, 1:6]])
def test_messages_are_unpadded_and_read_back(pixels):
    header = Header(frame_id='front')
    header.stamp.sec = 7
    image = to_message(header, pixels)
    assert image.header == header
    assert image.encoding == ('bgr8' if pixels.ndim == 3 else 'mono8')
    assert image.step == pixels[0].size
    assert image.data == array('B', (pixels[..., ::-1] if pixels.ndim == 3 else pixels).tobytes())
    expected = pixels if pixels.ndim == 3 else gray_to_rgb(pixels)
    np.testing.assert_array_equal(to_rgb(image), expected)
    assert to_array(image).shape == pixels.shape


def test_labels_survive_png():
    compressed = encode(Header(frame_id='front'), GRAY, '.png')
    assert compressed.format == 'mono8; png compressed '
    assert compressed.header.frame_id == 'front'
    read = cv2.imdecode(np.frombuffer(compressed.data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, GRAY)


def test_jpeg_keeps_the_order_of_the_colors():
    orange = np.full((16, 16, 3), (250, 120, 10), np.uint8)
    compressed = encode(Header(), orange, '.jpg')
    assert compressed.format == 'bgr8; jpeg compressed bgr8'
    np.testing.assert_allclose(decode(compressed), orange, atol=4)


def test_what_is_no_jpeg_is_an_error():
    with pytest.raises(ImageError, match='expected a JPEG.*found 4 bytes'):
        decode(CompressedImage(format='jpeg', data=array('B', b'junk')))
    with pytest.raises(ImageError, match='found 0 bytes'):
        decode(CompressedImage())
