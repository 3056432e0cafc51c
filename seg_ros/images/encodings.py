# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The pixels of image messages, whether they come over DDS or from a bag.

OpenCV is asked directly. cv_bridge and rosbags-image wrap the very same conversions, but round
16-bit values differently from each other, and only one of them honours ``step``; a mask shall not
depend on which of them a machine has.
"""

from __future__ import annotations

from reprlib import repr as shortened
import sys
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from .image_file import Image
from .image_header import refusal


class ImageMessage(Protocol):
    """The fields of sensor_msgs/Image, of ROS's own class or of rosbags'."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class ImageError(ValueError):
    """An image message that cannot be used; the message says what was expected and found."""


class _Encoding(NamedTuple):
    """How an encoding stores a pixel, and OpenCV's code that makes it RGB (None: it is)."""

    channels: int
    to_rgb: int | None
    dtype: type[np.uint8] | type[np.uint16] = np.uint8


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row.
_BAYER = {
    'bayer_rggb': cv2.COLOR_BayerBG2RGB,
    'bayer_bggr': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg': cv2.COLOR_BayerGR2RGB,
    'bayer_grbg': cv2.COLOR_BayerGB2RGB,
}

_ENCODINGS = {
    'rgb8': _Encoding(3, None),
    'bgr8': _Encoding(3, cv2.COLOR_BGR2RGB),
    'rgba8': _Encoding(4, cv2.COLOR_RGBA2RGB),
    'bgra8': _Encoding(4, cv2.COLOR_BGRA2RGB),
    'mono8': _Encoding(1, cv2.COLOR_GRAY2RGB),
    'mono16': _Encoding(1, cv2.COLOR_GRAY2RGB, np.uint16),
    'yuv422': _Encoding(2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': _Encoding(2, cv2.COLOR_YUV2RGB_YUY2),
    **{f'{name}8': _Encoding(1, code) for name, code in _BAYER.items()},
    **{f'{name}16': _Encoding(1, code, np.uint16) for name, code in _BAYER.items()},
}
# The names that newer distributions gave to the YUV forms, and what drivers that think in OpenCV's
# types mean by them (cv_bridge reads them so, too).
_ENCODINGS |= {
    alias: _ENCODINGS[name]
    for alias, name in {
        'uyvy': 'yuv422',
        'yuyv': 'yuv422_yuy2',
        '8UC1': 'mono8',
        '8UC3': 'bgr8',
        '8UC4': 'bgra8',
        '16UC1': 'mono16',
    }.items()
}


def to_array(message: ImageMessage) -> np.ndarray:
    """
    Return an image message's pixels as its encoding has them, in native byte order.

    :returns: (H, W) or (H, W, C), uint8 or uint16; of 8 bits a view of the message, padded or not.
    :raises ImageError: the encoding is unknown, its sizes do not fit each other or the data, or
        it is too large.
    """
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ImageError(
            f'expected an encoding of {", ".join(_ENCODINGS)}; found '
            f'{shortened(message.encoding)}. Let the driver, or image_proc, publish one of these'
        )
    height, width, step = message.height, message.width, message.step
    row = width * encoding.channels * np.dtype(encoding.dtype).itemsize
    data = np.frombuffer(message.data, np.uint8)
    if not height or not width:
        raise ImageError(f'expected an image with pixels; found {width}x{height}')
    if encoding.channels == 2 and width % 2:
        # OpenCV 5 says so itself, older ones read beyond the row.
        raise ImageError(
            f'expected an even width, as {message.encoding} pairs the pixels of a row; found '
            f'{width}x{height}'
        )
    if step < row:
        raise ImageError(
            f'expected a step of at least {row} bytes for {width} pixels of {message.encoding}; '
            f'found {step}'
        )
    if data.size != step * height:
        raise ImageError(
            f'expected {step * height} bytes of data ({height} rows of {step}); found {data.size}'
        )
    if refused := refusal(width, height):
        raise ImageError(f'{refused}. Let the driver, or image_proc, make it smaller')
    pixels = data.reshape(height, step)[:, :row]
    if encoding.dtype == np.uint16:
        # Packed first: rows of an odd number of bytes cannot be viewed as 16-bit values.
        pixels = np.ascontiguousarray(pixels).view(np.uint16)
        if bool(message.is_bigendian) != (sys.byteorder == 'big'):
            pixels = pixels.byteswap()
    return pixels if encoding.channels == 1 else pixels.reshape(height, width, encoding.channels)


def view_rgb(message: ImageMessage) -> Image:
    """
    Return what :func:`to_rgb` does, of bgr8 too as a view: its channels run backwards.

    The segmenter and :func:`seg_ros.images.overlay.draw` know such views and turn less than the
    whole image. For most of OpenCV and NumPy they are slow.

    :raises ImageError: as :func:`to_rgb`.
    """
    if _ENCODINGS.get(message.encoding) is _ENCODINGS['bgr8']:
        return to_array(message)[:, :, ::-1]
    return to_rgb(message)


def to_rgb(message: ImageMessage) -> Image:
    """
    Return an image message's pixels as uint8 RGB, (H, W, 3).

    For rgb8 that is a view of the message; for the others it is one pass of OpenCV, which is
    several times faster than NumPy's copy of a view with reversed channels. 16 bits are taken over
    their full range, 65535 becoming 255, to the nearest: a camera that leaves its upper bits
    unused gives dark images.

    :raises ImageError: as :func:`to_array`; or the size is not one that the encoding can have.
    """
    pixels = to_array(message)
    conversion = _ENCODINGS[message.encoding].to_rgb
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    if conversion is None:
        return pixels
    try:
        return cv2.cvtColor(pixels, conversion)
    except cv2.error as error:
        raise ImageError(
            f'expected a size that {message.encoding} can have; found '
            f'{message.width}x{message.height}: {error.err}'
        ) from error
