# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding the pixels of image messages, raw or compressed, that rosbags has deserialised."""

from __future__ import annotations

from reprlib import repr as shortened
from typing import Any

from ..images import encodings
from ..images.image_file import decode_image, decode_labels, Image


def to_rgb(message: Any) -> Image:
    """
    Return the pixels of an Image or CompressedImage as RGB, (H, W, 3).

    :raises ValueError: the pixels cannot be decoded.
    """
    if hasattr(message, 'encoding'):
        return encodings.to_rgb(message)
    return decode_image(message.data, f'format {shortened(message.format)}')


def to_labels(message: Any) -> Image:
    """
    Return the class ids of an Image or a losslessly CompressedImage, uint8 (H, W).

    :raises ValueError: the image has not one 8-bit channel, or its compression changes ids.
    """
    if not hasattr(message, 'encoding'):
        return decode_labels(message.data, f'format {shortened(message.format)}')
    if message.encoding not in ('mono8', '8UC1'):
        raise ValueError(f'expected class ids as mono8; found {message.encoding}')
    return encodings.to_array(message)
