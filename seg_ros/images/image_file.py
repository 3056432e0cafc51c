# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The only place where images are decoded and encoded, so that all agree."""

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
"""What image files may be."""

SENT = FORMATS[:3]
"""What images in messages may be: anybody sends those, and cameras send no others."""

JPEG = b'\xff\xd8\xff'
"""How a JPEG begins."""


class ImageFileError(ValueError):
    """A file that is not the image it should be; the message names it."""


def decode_image(
    content: bytes | memoryview | Image, name: str = 'image', formats: Sequence[str] = SENT
) -> Image:
    """
    Decode a compressed image to RGB, (H, W, 3).

    :param name: what to call the image in an error.
    :param formats: what it may be, of :data:`FORMATS`.
    :raises ImageFileError: it is none of these, is too large (:mod:`.image_header` says what
        is), damaged, or cut short.
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

    :param name: what to call it in an error.
    :param bits: 8, or 16 for ids of objects.
    :param formats: what it may be, of :data:`FORMATS`; never a JPEG, which changes ids.
    :raises ImageFileError: it is not an image of one channel of so many bits (a coloured drawing
        of the labels, say), or is too large.
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
    Return what OpenCV makes of it; None if nothing.

    :raises ImageFileError: it would make too much of it.
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
    Tell whether a JPEG's last scan does not end.

    Before release 5 OpenCV makes up what is missing, and not the same each time.
    """
    return content.startswith(JPEG) and content.rfind(b'\xff\xd9') < content.rfind(b'\xff\xda')


def read_image(path: str | Path) -> Image:
    """Read an image file as RGB, (H, W, 3). Errors as :func:`decode_image`'s, and OSError."""
    return decode_image(read_regular(path), str(path), FORMATS)


def read_channels(path: str | Path) -> NDArray[Any]:
    """
    Read an image file's channels as they are stored: (H, W), or (H, W, C) as BGR or BGRA.

    :raises ImageFileError: it is no image, a JPEG, which changes values, or too large.
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
    Return a folder's image files, by name.

    :raises ImageFileError: there are none.
    """
    paths = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ImageFileError(
            f'{folder}: expected images ({", ".join(IMAGE_SUFFIXES)}) in it; found none'
        )
    return paths


def read_labels(path: str | Path, bits: int = 8) -> NDArray[Any]:
    """Read a label image as ids, (H, W). Errors as :func:`decode_labels`'s, and OSError."""
    return decode_labels(read_regular(path), str(path), bits, FORMATS)


def write_image(path: str | Path, image: Image) -> None:
    """
    Write RGB (H, W, 3) or labels (H, W) in the format that the path's ending names.

    :raises ValueError: there is no such format.
    :raises OSError: the file cannot be written.
    """
    write_atomically(path, encode_image(image, Path(path).suffix))


def new_image(shape: tuple[int, ...]) -> Image:
    """Return a black image whose memory is an array('B'): what a message takes without copying."""
    return np.frombuffer(array('B', [0]) * math.prod(shape), np.uint8).reshape(shape)


def to_bgr(image: Image) -> Image:
    """Return RGB, (H, W, 3), as BGR, contiguous; without copying if it is BGR seen as RGB."""
    if image.strides[2] < 0:
        return np.ascontiguousarray(image[:, :, ::-1])
    return cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=new_image(image.shape))


def encode_image(image: Image, suffix: str, quality: int = 90) -> bytes:
    """
    Encode RGB (H, W, 3) or labels (H, W) as ``suffix`` (``.png``, ``.jpg``) says.

    :param quality: of a JPEG, 1 to 100.
    :raises ValueError: there is no such format.
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
