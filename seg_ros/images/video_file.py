# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding and encoding of video files. The node does not use this module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from .files import replacing, unwritable
from .image_file import Image, ImageFileError

VIDEO_SUFFIXES = ('.mp4', '.mkv', '.avi', '.mov', '.webm', '.m4v')

TICK = Fraction(1, 90000)
"""The time unit of written videos in seconds: MPEG's clock, in which the duration of a frame is a
whole number at all common rates."""


def read_video(path: str | Path) -> Iterator[Image]:
    """
    Yield a video's frames as RGB, (H, W, 3).

    :raises ImageFileError: the file has no video stream, or ends before its last frame.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ImageFileError(f'{path}: expected a video; found no video stream in it')
            promised = container.streams.video[0].frames  # 0 if the file does not say
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
    """
    Return a video's frames per second, or 10 if the file does not say.

    :raises ImageFileError: the file is not a video.
    """
    try:
        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate if container.streams.video else None
    except av.FFmpegError as error:
        raise ImageFileError(f'{path}: expected a video; found none: {error}') from error
    return float(rate) if rate else 10.0


class VideoWriter:
    """
    A writer of MP4 files with H.264 that browsers play.

    Use it as a context manager. The file appears, complete, when the block ends; if the block
    raises or writes no frame, no file is written.

    :param path: a path that ends in .mp4; missing parent folders are made.
    :param rate: frames per second, for frames that are written without a time.
    :raises ValueError: the path does not end in .mp4.
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
        Add one frame.

        :param image: RGB (H, W, 3), at least 2x2 pixels. An odd height or width loses its last row
            or column.
        :param seconds: when to show the frame, counted from the first; by default it follows the
            frame before at the rate.
        :raises ValueError: the frame is smaller than 2x2 or has another size than the first, or
            PyAV has no encoder for H.264.
        :raises OSError: the file cannot be written, for example because the disk is full; an older
            file of that name is unchanged.
        """
        if not self._shape:
            self._begin(image.shape)
        if image.shape != self._shape:
            raise ValueError(
                f"{self._path}: expected frames of the first one's size, {_size(self._shape)}; "
                f'found {_size(image.shape)}. Write frames of another size to another video'
            )
        # H.264 with 4:2:0 colour needs an even height and width. FFmpeg converts the colours:
        # OpenCV is faster, but gives four pixels the colour of one of them, which destroys thin
        # objects and edges.
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='rgb24')
        shown_at = self._frames / self._rate if seconds is None else seconds
        frame.time_base = TICK
        frame.pts = self._last = max(round(shown_at / TICK), self._last + 1)
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
        # Slower presets halve the file's size, but take three times as long.
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
    """Re-raise FFmpeg's errors with the video's path and a remedy."""
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
