# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Making image messages from arrays, and decoding compressed image messages."""

from __future__ import annotations

from array import array
from reprlib import repr as shortened

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ..images.encodings import ImageError
from ..images.image_file import decode_image, encode_image, ImageFileError, to_bgr
from ..images.image_file import Image as Array
from ..images.labels import LabelSet
from ..images.run_length import autoware_mask

_CHECKED = {'check_fields': True} if '_check_fields' in Image.__slots__ else {}
"""
The arguments that make Image check its fields, which since Jazzy it does only when asked.

An Image that checks its fields uses an array as it is; one that does not check copies it.
"""


def decode(message: CompressedImage) -> Array:
    """
    Return a compressed image message as uint8 RGB, (H, W, 3).

    :raises ImageError: the message holds no image that can be decoded, or one that is too large.
    """
    try:
        return decode_image(message.data, shortened(message.format))
    except ImageFileError as error:
        raise ImageError(str(error)) from error


def to_message(header: Header, pixels: Array) -> Image:
    """
    Return an image message without padding of rows.

    :param pixels: uint8 RGB (H, W, 3), which becomes bgr8; or labels (H, W), which become mono8.
        If their memory is an array('B'), the message uses it without a copy.
    """
    height, width = pixels.shape[:2]
    if pixels.ndim == 3:
        pixels = to_bgr(pixels)
    message = Image(**_CHECKED)
    message.header = header
    message.height, message.width, message.step = height, width, pixels.nbytes // height
    message.encoding = 'bgr8' if pixels.ndim == 3 else 'mono8'
    message.data = _to_array(pixels)  # the constructor would copy it
    return message


def to_runs(header: Header, mask: Array, labels: LabelSet) -> Image:
    """
    Return a mask in Autoware's form: a mono8 image of its size whose data are runs of ids.

    :param mask: class ids, (H, W).
    :param labels: the classes of these ids.
    """
    message = to_message(header, mask)
    message.data = _to_array(autoware_mask(mask, labels))
    return message


def encode(header: Header, pixels: Array, suffix: str) -> CompressedImage:
    """
    Return a compressed image message with the format string of image_transport.

    :param pixels: uint8 RGB (H, W, 3), or labels (H, W).
    :param suffix: ``.jpg`` or ``.png``; labels must be PNG, as JPEG changes ids.
    """
    codec = {'.jpg': 'jpeg', '.png': 'png'}[suffix]
    colors = 'bgr8' if pixels.ndim == 3 else ''
    return CompressedImage(
        header=header,
        format=f'{colors or "mono8"}; {codec} compressed {colors}',
        data=_copied(encode_image(pixels, suffix)),
    )


def _to_array(pixels: Array) -> array[int]:
    """Return an array('B'), the only type that the setter of ``data`` takes without a check."""
    owner = pixels.base
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if isinstance(owner, array) and len(owner) == pixels.nbytes and pixels.flags.c_contiguous:
        return owner
    return _copied(np.ascontiguousarray(pixels).data)


def _copied(content: bytes | memoryview) -> array[int]:
    data = array('B')
    data.frombytes(content)
    return data
