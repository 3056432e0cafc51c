# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding and encoding of image files. All code uses this module, so that results agree."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .files import read_regular, write_atomically
from .image_header import read_header, refusal

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm')
FORMATS = ('JPEG', 'PNG', 'WebP', 'BMP', 'TIFF', 'PNM')
"""The formats that image files may have."""

SENT = FORMATS[:3]
"""The formats that images in messages may have: the ones that cameras send. Anybody can send a
message, so no other decoder is reachable from the network."""

JPEG = b'\xff\xd8\xff'
"""The first bytes of every JPEG."""


class ImageFileError(ValueError):
    """A file is not the image that was expected; the error names the file."""


def decode_image(
    content: bytes | memoryview | Image, name: str = 'image', formats: Sequence[str] = SENT
) -> Image:
    """
    Decode a compressed image to RGB, (H, W, 3).

    :param name: the image's name in error messages.
    :param formats: the formats to accept, out of :data:`FORMATS`.
    :raises ImageFileError: the image has another format, is larger than :mod:`.image_header`
        allows, is damaged, or is cut short.
    """
    content = bytes(content)
    image = None if _is_cut_jpeg(content) else _decode(content, name, formats, cv2.IMREAD_COLOR)
    if image is None:
        raise ImageFileError(
            f'{name}: expected a {_listed(formats)}; found {len(content)} bytes that are none, or '
            'damaged. Store it as JPEG or PNG'
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_labels(
    content: bytes | memoryview | Image,
    name: str = 'labels',
    bits: int = 8,
    formats: Sequence[str] = SENT,
) -> NDArray[Any]:
    """
    Decode a label image to ids, (H, W).

    :param name: the image's name in error messages.
    :param bits: bits of an id: 8, or 16 for ids of objects.
    :param formats: the formats to accept, out of :data:`FORMATS`. JPEG is always refused, as it
        changes ids.
    :raises ImageFileError: the image has not one channel of that many bits (it may show colours
        instead of ids), or is too large.
    """
    content = bytes(content)
    found, labels = 'a JPEG, which changes ids', None
    if not content.startswith(JPEG):
        labels = _decode(content, name, formats, cv2.IMREAD_UNCHANGED)
        found = 'no image' if labels is None else f'shape {labels.shape} of {labels.dtype}'
    if labels is None or labels.ndim != 2 or labels.dtype != f'uint{bits}':
        raise ImageFileError(
            f'{name}: expected a label image of one {bits}-bit channel that holds ids; found '
            f'{found}. Convert colours to ids, and store them as PNG'
        )
    return labels


def _decode(content: bytes, name: str, formats: Sequence[str], mode: int) -> NDArray[Any] | None:
    """
    Decode an image with OpenCV; return None if it has another format or is damaged.

    :raises ImageFileError: the image is too large; it is not decoded then.
    """
    header = read_header(content)
    if header is None or header.format not in formats:
        return None
    if refused := refusal(header.width, header.height):
        raise ImageFileError(f'{name}: {refused}, as {header.format}. Make it smaller')
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), mode)
    except cv2.error:
        return None


def _listed(formats: Sequence[str]) -> str:
    return ' or '.join(filter(None, (', '.join(formats[:-1]), formats[-1])))


def _is_cut_jpeg(content: bytes) -> bool:
    """
    Tell whether a JPEG is cut off in its last scan.

    Before release 5, OpenCV fills in the missing pixels, and differently each time.
    """
    return content.startswith(JPEG) and content.rfind(b'\xff\xd9') < content.rfind(b'\xff\xda')


def read_image(path: str | Path) -> Image:
    """
    Read an image file as RGB, (H, W, 3).

    :raises ImageFileError: as :func:`decode_image`.
    :raises OSError: the file cannot be read.
    """
    return decode_image(read_regular(path), str(path), FORMATS)


def read_channels(path: str | Path) -> NDArray[Any]:
    """
    Read an image file's channels as they are stored: (H, W), or (H, W, C) as BGR or BGRA.

    :raises ImageFileError: the file is not an image, is a JPEG (which changes values), or is too
        large.
    :raises OSError: the file cannot be read.
    """
    content = read_regular(path)
    found, channels = 'a JPEG, which changes values', None
    if not content.startswith(JPEG):
        found, channels = 'none', _decode(content, str(path), FORMATS, cv2.IMREAD_UNCHANGED)
    if channels is None:
        raise ImageFileError(
            f'{path}: expected a PNG or another image that keeps its values; found {found}. '
            'Store it as PNG'
        )
    return channels


def images_in(folder: str | Path) -> list[Path]:
    """
    Return a folder's image files, sorted by name.

    :raises ImageFileError: the folder has no image files.
    """
    paths = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ImageFileError(
            f'{folder}: expected images ({", ".join(IMAGE_SUFFIXES)}) in it; found none'
        )
    return paths


def read_labels(path: str | Path, bits: int = 8) -> NDArray[Any]:
    """
    Read a label image as ids, (H, W).

    :raises ImageFileError: as :func:`decode_labels`.
    :raises OSError: the file cannot be read.
    """
    return decode_labels(read_regular(path), str(path), bits, FORMATS)


def write_image(path: str | Path, image: Image) -> None:
    """
    Write RGB (H, W, 3) or labels (H, W) in the format of the path's suffix.

    :raises ValueError: OpenCV knows no format of that suffix.
    :raises OSError: the file cannot be written.
    """
    write_atomically(path, encode_image(image, Path(path).suffix))


def new_image(shape: tuple[int, ...]) -> Image:
    """Return a black image stored in an array('B'), which a message takes without copying."""
    return np.frombuffer(array('B', [0]) * math.prod(shape), np.uint8).reshape(shape)


def to_bgr(image: Image) -> Image:
    """
    Return RGB, (H, W, 3), as contiguous BGR.

    An image that is a reversed view of BGR (see :func:`.encodings.view_rgb`) is not copied.
    """
    if image.strides[2] < 0:
        return np.ascontiguousarray(image[:, :, ::-1])
    return cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=new_image(image.shape))


def encode_image(image: Image, suffix: str, quality: int = 90) -> bytes:
    """
    Encode RGB (H, W, 3) or labels (H, W) in the format of a suffix such as ``.png`` or ``.jpg``.

    :param quality: the quality of a JPEG, 1 to 100; other formats ignore it.
    :raises ValueError: OpenCV knows no format of that suffix.
    """
    if image.ndim == 3:
        image = to_bgr(image)
    try:
        jpeg = suffix.lower() in ('.jpg', '.jpeg')
        options = [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else []
        _, content = cv2.imencode(suffix, image, options)
    except cv2.error as error:
        raise ValueError(
            f'expected an image ending such as .png or .jpg; found {suffix!r}'
        ) from error
    return content.tobytes()
