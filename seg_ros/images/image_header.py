# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What an image file says of its size, read before a decoder makes room for it.

A few bytes can promise any size, and a decoder believes them. What is not read here is not
decoded: of the formats that OpenCV knows these are the ones that cameras and data sets use.
"""

from __future__ import annotations

from collections.abc import Callable
import re
import struct
from typing import NamedTuple

PNG = b'\x89PNG\r\n\x1a\n'
"""How a PNG begins."""

MAX_PIXELS = 2**26
"""Of an image, 8192x8192 or as many: a decoder needs up to 12 bytes for each."""

MAX_SIDE = 2**15
"""Of an image: more than any camera's row, and what lies beyond is slow for all that follows."""

MAX_SEGMENTS = 1000
"""Of a JPEG, in front of its pixels: a colour profile has up to 255."""

MAX_SCANS = 32
"""Of a JPEG: each goes over the whole image. Progressive ones have about ten."""

MAX_CHUNKS = 2**16
"""Of a PNG: most of them have 8192 bytes of the image or more."""

MAX_ENTRIES = 1000
"""Of a TIFF's first directory, where 20 are usual."""


class Header(NamedTuple):
    """A format's name, and the most pixels that its decoder would make room for at once."""

    format: str
    width: int
    height: int


def refusal(width: int, height: int) -> str:
    """Return what is wrong with an image's size, nothing if it is fine."""
    if width * height <= MAX_PIXELS and max(width, height) <= MAX_SIDE:
        return ''
    return f'expected {MAX_PIXELS} pixels at most, and {MAX_SIDE} a side; found {width}x{height}'


def read_header(content: bytes) -> Header | None:
    """Return what an encoded image says of itself; None if it is of no known format, or broken."""
    for name, (signature, read) in _FORMATS.items():
        if re.match(signature, content, re.DOTALL):
            try:
                return Header(name, *read(content))
            except (struct.error, OverflowError, ValueError):
                return None
    return None


def _read_jpeg(content: bytes) -> tuple[int, int]:
    if content.count(b'\xff\xda') > MAX_SCANS:  # which within a scan does not occur
        raise ValueError
    position = 2
    for _ in range(MAX_SEGMENTS):
        # As libjpeg does: whatever stands between segments is passed over.
        position = content.index(b'\xff', position)
        while content[position : position + 1] == b'\xff':
            position += 1
        (marker,) = struct.unpack_from('B', content, position)
        position += 1
        if marker in (0x00, 0x01, *range(0xD0, 0xD8)):  # these have no length
            continue
        if marker in (0xD9, 0xDA):  # the pixels, or the end
            break
        length, _, height, width = struct.unpack_from('>HBHH', content, position)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return width, height
        position += length
    raise ValueError


def _read_png(content: bytes) -> tuple[int, int]:
    """
    Return the size of a still image whose chunks are as long as they say.

    OpenCV 5 makes room for a chunk before it looks whether it is there, which costs seconds and
    gigabytes, and crashes on an animation whose first frame is missing.
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
    Return the sides of the image, or of its tiles where those are larger.

    Only what is written as the standard wants it is read, as libtiff accepts more.
    """
    order = '<' if content[:2] == b'II' else '>'
    (version,) = struct.unpack_from(f'{order}H', content, 2)
    # Where the first directory is; how an entry's count and value are written; the value's place.
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
            sides[tag] = max(sides[tag], value)  # the same may come twice
    return max(sides[256], sides[322]), max(sides[257], sides[323])


_TIFF_NUMBERS = {1: 'B', 3: 'H', 4: 'I', 16: 'Q'}
"""Types of whole numbers, and how `struct` reads them."""

_FORMATS: dict[str, tuple[bytes, Callable[[bytes], tuple[int, int]]]] = {
    'JPEG': (rb'\xff\xd8\xff', _read_jpeg),
    'PNG': (re.escape(PNG) + rb'....IHDR', _read_png),
    'WebP': (rb'RIFF....WEBP', _read_webp),
    'BMP': (rb'BM', _read_bmp),
    'TIFF': (rb'II[*+]\0|MM\0[*+]', _read_tiff),
    'PNM': (rb'P[1-6]\s', _read_pnm),
}
"""How a format begins, and what reads its size; the most usual first."""
