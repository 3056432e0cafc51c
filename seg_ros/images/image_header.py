# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The size that an image's header declares, read and limited before a decoder allocates memory.

A file of a few bytes can declare any size, and a decoder allocates memory for it. Formats that are
not read here are not decoded at all: out of those that OpenCV knows, these are the ones that
cameras and data sets use.
"""

from __future__ import annotations

from collections.abc import Callable
import re
import struct
from typing import NamedTuple

PNG = b'\x89PNG\r\n\x1a\n'
"""The first bytes of every PNG."""

MAX_PIXELS = 2**26
"""The most pixels of an image, as many as 8192x8192; a decoder needs up to 12 bytes for each."""

MAX_SIDE = 2**15
"""The most pixels in a row or column of an image. No camera has more, and longer rows would slow
down everything after decoding."""

MAX_SEGMENTS = 1000
"""The most segments before a JPEG's pixels; a colour profile alone has up to 255."""

MAX_SCANS = 32
"""The most scans of a JPEG; each takes a pass over the image. Progressive JPEGs have about ten."""

MAX_CHUNKS = 2**16
"""The most chunks of a PNG; in most files a chunk holds 8192 bytes of the image or more."""

MAX_ENTRIES = 1000
"""The most entries in a TIFF's first directory; 20 are usual."""


class Header(NamedTuple):
    """An image's format, and the largest width and height that its decoder will allocate."""

    format: str
    width: int
    height: int


def refusal(width: int, height: int) -> str:
    """Return what is wrong with an image's size, or an empty string if it is fine."""
    if width * height <= MAX_PIXELS and max(width, height) <= MAX_SIDE:
        return ''
    return f'expected {MAX_PIXELS} pixels at most, and {MAX_SIDE} a side; found {width}x{height}'


def read_header(content: bytes) -> Header | None:
    """Return the header of an encoded image; None if its format is unknown or it is damaged."""
    for name, (signature, read) in _FORMATS.items():
        if re.match(signature, content, re.DOTALL):
            try:
                return Header(name, *read(content))
            except (struct.error, OverflowError, ValueError):
                return None
    return None


def _read_jpeg(content: bytes) -> tuple[int, int]:
    if content.count(b'\xff\xda') > MAX_SCANS:  # the start of a scan; its data cannot contain this
        raise ValueError
    position = 2
    for _ in range(MAX_SEGMENTS):
        # Skip bytes between segments, as libjpeg does.
        position = content.index(b'\xff', position)
        while content[position : position + 1] == b'\xff':
            position += 1
        (marker,) = struct.unpack_from('B', content, position)
        position += 1
        if marker in (0x00, 0x01, *range(0xD0, 0xD8)):  # markers without a length
            continue
        if marker in (0xD9, 0xDA):  # the end of the image, or the start of its pixels
            break
        length, _, height, width = struct.unpack_from('>HBHH', content, position)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return width, height
        position += length
    raise ValueError


def _read_png(content: bytes) -> tuple[int, int]:
    """
    Return the size of a PNG; refuse animations and files that end within a chunk.

    OpenCV 5 allocates memory for a chunk before it checks that the file holds it, which can take
    seconds and gigabytes, and it crashes on an animation whose first frame is missing.
    """
    position = len(PNG)
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack_from('>I4s', content, position)
        position += 12 + length
        if position > len(content) or kind == b'acTL':
            break
        if kind == b'IEND':
            width, height = struct.unpack_from('>II', content, len(PNG) + 8)
            return width, height
    raise ValueError


def _read_webp(content: bytes) -> tuple[int, int]:
    kind = content[12:16]
    if kind == b'VP8X':
        width, height = struct.unpack_from('3s3s', content, 24)
        return int.from_bytes(width, 'little') + 1, int.from_bytes(height, 'little') + 1
    if kind == b'VP8L':
        (bits,) = struct.unpack_from('<I', content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b'VP8 ':
        width, height = struct.unpack_from('<HH', content, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError


def _read_bmp(content: bytes) -> tuple[int, int]:
    (size,) = struct.unpack_from('<I', content, 14)
    width, height = struct.unpack_from('<HH' if size == 12 else '<ii', content, 18)
    return abs(width), abs(height)


def _read_pnm(content: bytes) -> tuple[int, int]:
    gap = rb'(?:\s|#[^\r\n]*[\r\n])+'
    found = re.match(rb'P.%b(\d{1,9})%b(\d{1,9})\s' % (gap, gap), content[:4096])
    if not found:
        raise ValueError
    return int(found[1]), int(found[2])


def _read_tiff(content: bytes) -> tuple[int, int]:
    """
    Return the width and height of the image, or of its tiles where those are larger.

    Only entries that follow the standard are accepted; libtiff accepts more than that.
    """
    order = '<' if content[:2] == b'II' else '>'
    (version,) = struct.unpack_from(f'{order}H', content, 2)
    # The place of the first directory's offset, the format of counts, and a value's place in an
    # entry.
    big = version == 43
    where, counts, place = (8, 'Q', 12) if big else (4, 'I', 8)
    (start,) = struct.unpack_from(order + counts, content, where)
    (entries,) = struct.unpack_from(order + ('Q' if big else 'H'), content, start)
    if entries > MAX_ENTRIES:
        raise ValueError
    sides = dict.fromkeys((256, 257, 322, 323), 0)
    for i in range(entries):
        entry = start + (8 + 20 * i if big else 2 + 12 * i)
        tag, kind, count = struct.unpack_from(f'{order}HH{counts}', content, entry)
        if tag in sides:
            if kind not in _TIFF_NUMBERS or count != 1:
                raise ValueError
            (value,) = struct.unpack_from(order + _TIFF_NUMBERS[kind], content, entry + place)
            sides[tag] = max(sides[tag], value)  # a tag may occur twice
    return max(sides[256], sides[322]), max(sides[257], sides[323])


_TIFF_NUMBERS = {1: 'B', 3: 'H', 4: 'I', 16: 'Q'}
"""TIFF's types of whole numbers, and the format by which `struct` reads each."""

_FORMATS: dict[str, tuple[bytes, Callable[[bytes], tuple[int, int]]]] = {
    'JPEG': (rb'\xff\xd8\xff', _read_jpeg),
    'PNG': (re.escape(PNG) + rb'....IHDR', _read_png),
    'WebP': (rb'RIFF....WEBP', _read_webp),
    'BMP': (rb'BM', _read_bmp),
    'TIFF': (rb'II[*+]\0|MM\0[*+]', _read_tiff),
    'PNM': (rb'P[1-6]\s', _read_pnm),
}
"""Each format's first bytes, as a pattern, and the function that reads its size. The most common
formats come first."""
