# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The only place where images and videos are decoded and encoded, so that all agree."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, ExitStack
from fractions import Fraction
import math
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from .files import read_regular, replacing, unwritable, write_atomically
from .image_header import MAX_PIXELS, read_header

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm')
TICK = Fraction(1, 90000)
"""Seconds: the clock of MPEG, in which the usual rates come out whole."""

FORMATS = ('JPEG', 'PNG', 'WebP', 'BMP', 'TIFF', 'PNM')
"""What image files may be."""

SENT = FORMATS[:3]
"""What images in messages may be: anybody sends those, and cameras send no others."""

JPEG = b'\xff\xd8\xff'
"""How a JPEG begins."""

VIDEO_SUFFIXES = ('.mp4', '.mkv', '.avi', '.mov', '.webm', '.m4v')


class ImageFileError(ValueError):
    """A file that is not the image it should be; the message names it."""


def decode_image(
    content: bytes | memoryview | Image, name: str = 'image', formats: Sequence[str] = SENT
) -> Image:
    """
    Decode a compressed image to RGB, (H, W, 3).

    :param name: what to call the image in an error.
    :param formats: what it may be, of :data:`FORMATS`.
    :raises ImageFileError: it is none of these, has more than :data:`MAX_PIXELS`, is damaged, or
        cut short.
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
        of the labels, say), or has more than :data:`MAX_PIXELS`.
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
    if header.width * header.height > MAX_PIXELS:
        raise ImageFileError(
            f'{name}: expected {MAX_PIXELS} pixels at most; found a {header.format} of '
            f'{header.width}x{header.height}. Make it smaller'
        )
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


def read_video(path: str | Path) -> Iterator[Image]:
    """
    Yield a video's frames as RGB, (H, W, 3).

    :raises ImageFileError: there is no video stream in it, or it breaks off.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ImageFileError(f'{path}: expected a video; found no video stream in it')
            promised = container.streams.video[0].frames  # 0 where the file does not say
            found = 0
            for frame in container.decode(video=0):
                found += 1
                yield frame.to_ndarray(format='rgb24')
            if found < max(1, promised):
                raise ImageFileError(
                    f'{path}: expected a video of {promised} frames; it breaks off after {found}'
                )
    except av.FFmpegError as error:
        raise ImageFileError(f'{path}: expected a video; decoding failed: {error}') from error


def video_rate(path: str | Path) -> float:
    """Return a video's frames a second; 10 where it does not say."""
    try:
        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate if container.streams.video else None
    except av.FFmpegError as error:
        raise ImageFileError(f'{path}: expected a video; found none: {error}') from error
    return float(rate) if rate else 10.0


class VideoWriter:
    """
    Writes H.264 in an MP4 that browsers play.

    A context manager: the video appears under its name when the block ends, whole, and not at all
    when the block raises or writes no frame.

    :param path: a name that ends in .mp4; folders on the way to it are made.
    :param rate: frames a second, where frames come without their times.
    :raises ValueError: the name ends otherwise.
    """

    def __init__(self, path: str | Path, rate: float = 10.0) -> None:
        self._path = Path(path)
        if self._path.suffix.lower() != '.mp4':
            raise ValueError(
                f'{path}: expected a name that ends in .mp4, as this is what is written; found '
                f'{self._path.suffix!r}. Rename it'
            )
        self._rate = max(Fraction(rate).limit_denominator(1000), Fraction(1, 1000))
        self._shape: tuple[int, ...] = ()
        self._stack = ExitStack()
        self._frames, self._last = 0, -1

    def write(self, image: Image, seconds: float | None = None) -> None:
        """
        Add one frame, RGB (H, W, 3), 2 pixels or more each way; an odd side loses one.

        :param seconds: when it is shown, after the first; at the rate by default.
        :raises ValueError: it is smaller or not of the first one's size, or PyAV has no encoder.
        :raises OSError: the file cannot be written, a full disk included; the old one is whole.
        """
        if not self._shape:
            self._begin(image.shape)
        if image.shape != self._shape:
            raise ValueError(
                f"{self._path}: expected frames of the first one's size, {_size(self._shape)}; "
                f'found {_size(image.shape)}. Write frames of another size to another video'
            )
        # H.264 with 4:2:0 colour has even sides only. FFmpeg converts: OpenCV is faster, but gives
        # four pixels the colour of one, which thin classes and edges do not survive.
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='rgb24')
        moment = self._frames / self._rate if seconds is None else seconds
        frame.time_base = TICK
        frame.pts = self._last = max(round(moment / TICK), self._last + 1)
        self._frames += 1
        self._container.mux(self._stream.encode(frame))

    def _begin(self, shape: tuple[int, ...]) -> None:
        if min(shape[:2]) < 2:
            raise ValueError(
                f'{self._path}: expected frames of 2x2 pixels or more; found {_size(shape)}'
            )
        temporary = self._stack.enter_context(replacing(self._path))
        self._stack.enter_context(_encoding(self._path))
        self._container = self._stack.enter_context(
            av.open(str(temporary), 'w', format='mp4', options={'movflags': 'faststart'})
        )
        self._stream = self._container.add_stream('libx264', rate=self._rate)
        self._stream.height, self._stream.width = (side // 2 * 2 for side in shape[:2])
        self._stream.codec_context.time_base = TICK
        self._stream.pix_fmt = 'yuv420p'
        # Slower presets halve the file, and cost three times the work.
        self._stream.options = {'crf': '23', 'preset': 'ultrafast'}
        self._stack.push(self._flush)
        self._shape = shape

    def _flush(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._container.mux(self._stream.encode())

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)


@contextmanager
def _encoding(path: Path) -> Iterator[None]:
    """Let FFmpeg's errors name the video, and say what to do."""
    try:
        yield
    except av.codec.codec.UnknownCodecError as error:
        raise ValueError(
            f'{path}: expected a PyAV that encodes H.264 with libx264; found one that does not. '
            'Install the one of PyPI: pip install av'
        ) from error
    except av.FFmpegError as error:
        with unwritable(path):
            raise OSError(error.errno, error.strerror) from error


def _size(shape: tuple[int, ...]) -> str:
    return f'{shape[1]}x{shape[0]}'
