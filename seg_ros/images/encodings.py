# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Pixels of image messages, whether they come over DDS or from a bag.

This module calls OpenCV directly. cv_bridge and rosbags-image wrap the same OpenCV conversions,
but they round 16-bit values differently and only one of them respects ``step``. A mask must not
depend on which of the two is installed.
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
    """The fields of sensor_msgs/Image that are used here; ROS's class and rosbags' both fit."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class ImageError(ValueError):
    """An image message cannot be used; the error says what was expected and what was found."""


class _Encoding(NamedTuple):
    """How an encoding stores a pixel, and OpenCV's conversion to RGB (None: it is RGB already)."""

    channels: int
    to_rgb: int | None
    dtype: type[np.uint8] | type[np.uint16] = np.uint8


# OpenCV names a Bayer pattern by the second and third pixel of the second row, ROS by the first
# two pixels of the first two rows.
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
# Newer distributions have new names for the YUV encodings. Some drivers send the names of OpenCV's
# types; cv_bridge reads those in the same way.
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
    Return an image message's pixels in its own encoding and in native byte order.

    :returns: (H, W) or (H, W, C), uint8 or uint16. 8-bit pixels are a view of the message's data,
        even if its rows are padded.
    :raises ImageError: the encoding is unknown, height, width, step and data do not fit together,
        or the image is too large.
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
        # OpenCV 5 refuses an odd width; older releases read beyond the end of the row.
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
        # The rows are packed first: a row of an odd number of bytes has no view of 16-bit values.
        pixels = np.ascontiguousarray(pixels).view(np.uint16)
        if bool(message.is_bigendian) != (sys.byteorder == 'big'):
            pixels = pixels.byteswap()
    return pixels if encoding.channels == 1 else pixels.reshape(height, width, encoding.channels)


def view_rgb(message: ImageMessage) -> Image:
    """
    Return the same as :func:`to_rgb`, but for bgr8 a view with reversed channels, not a copy.

    The segmenter and :func:`seg_ros.images.overlay.draw` recognise such views and reverse the
    channels later, of smaller images. Most functions of OpenCV and NumPy are slow on them.

    :raises ImageError: as :func:`to_rgb`.
    """
    if _ENCODINGS.get(message.encoding) is _ENCODINGS['bgr8']:
        return to_array(message)[:, :, ::-1]
    return to_rgb(message)


def to_rgb(message: ImageMessage) -> Image:
    """
    Return an image message's pixels as uint8 RGB, (H, W, 3).

    For rgb8 the result is a view of the message. All other encodings take one conversion by
    OpenCV, which is several times faster than NumPy's copy of a view with reversed channels.
    16-bit values are scaled from their full range and rounded to the nearest, so that 65535
    becomes 255; images of a camera that leaves the upper bits unused are therefore dark.

    :raises ImageError: as :func:`to_array`; also, the encoding does not allow the image's size.
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
