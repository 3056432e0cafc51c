# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pixels of recorded image messages, raw or compressed, as rosbags deserialises them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ..inference import encodings
from ..inference.image_file import decode_image, Image, ImageFileError

# How files of these kinds begin.
_JPEG, _PNG = b'\xff\xd8\xff', b'\x89PNG\r\n'


def to_rgb(message: Any) -> Image:
    """
    Return the pixels of an Image or CompressedImage as RGB, (H, W, 3).

    :raises ValueError: they cannot be decoded.
    """
    if hasattr(message, 'encoding'):
        return encodings.to_rgb(message)
    content = message.data.tobytes()
    # Before release 5, OpenCV makes up what is missing of a JPEG, and not the same each time.
    end, last_scan = content.rfind(b'\xff\xd9'), content.rfind(b'\xff\xda')
    try:
        if not content.startswith(_JPEG) or end > last_scan:
            return decode_image(content)
    except (ImageFileError, cv2.error):
        pass
    raise ValueError(
        'expected a whole JPEG, PNG or other image that OpenCV decodes; found '
        f'{len(content)} bytes of format {message.format!r} that are none, or cut short. Record '
        'JPEG, PNG or the raw images'
    )


def to_labels(message: Any) -> Image:
    """
    Return the class ids of an Image, or of a CompressedImage that keeps them, uint8 (H, W).

    :raises ValueError: they are not of one 8-bit channel, or compressed to something else.
    """
    if hasattr(message, 'encoding'):
        if message.encoding not in ('mono8', '8UC1'):
            raise ValueError(f'expected class ids as mono8; found {message.encoding}')
        return encodings.to_array(message)
    content = message.data.tobytes()
    found = f'{len(content)} bytes of format {message.format!r}'
    if content.startswith(_JPEG):
        found += ', a JPEG, which changes ids'
    if content.startswith(_PNG):
        ids = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if ids is not None and ids.ndim == 2 and ids.dtype == np.uint8:
            return ids
        found += ', damaged' if ids is None else f', shape {ids.shape} of {ids.dtype}'
    raise ValueError(
        f'expected class ids as PNG of one 8-bit channel; found {found}. Record them so, or as '
        'raw mono8'
    )
