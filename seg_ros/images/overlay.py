# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drawings of labels: masks in class colours, overlays, a legend, and a panel beside a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .image_file import Image, new_image
from .labels import IGNORE, LabelSet, Palette

THUMBNAIL = 480
"""The width in pixels of a frame's thumbnail."""

MIN_LINE = 16
"""The height in pixels of the smallest readable line of text."""

BLACK, GREY, PALE, WHITE = (0, 0, 0), (160, 160, 160), (232, 232, 232), (255, 255, 255)


@dataclass(frozen=True)
class Paint:
    """
    Which pictures to draw of a mask, and how.

    :param palette: one (red, green, blue) for each class.
    :param opacity: the opacity of the colours in the overlay, 0 to 1.
    :param color: whether to draw the mask in the classes' colours.
    :param overlay: whether to draw these colours over the image.
    """

    palette: Palette
    opacity: float = 0.5
    color: bool = False
    overlay: bool = False


@lru_cache(maxsize=16)
def _table(palette: Palette) -> Image:
    """Return a palette as a look-up table for OpenCV; ids without a colour become black."""
    table = np.zeros((1, 256, 3), np.uint8)
    table[0, : len(palette)] = palette
    return table


def colorize(mask: Image, palette: Palette) -> Image:
    """
    Paint each pixel of a mask in its class's colour.

    :param mask: class ids, (H, W).
    :param palette: one colour for each id; the result has the palette's channel order.
    :returns: uint8, (H, W, 3); unlabeled pixels are black.
    """
    painted = new_image((*mask.shape, 3))
    return cv2.LUT(cv2.merge([mask, mask, mask]), _table(palette), dst=painted)


def overlay(image: Image, mask: Image, palette: Palette, opacity: float = 0.5) -> Image:
    """
    Draw a mask's colours over an image of the same size and channel order.

    :param opacity: the opacity of the colours, 0 to 1; unlabeled pixels show the image alone.
    :returns: uint8, (H, W, 3).
    """
    colors, blended = colorize(mask, palette), new_image(image.shape)
    cv2.addWeighted(colors, opacity, image, 1 - opacity, 0, dst=blended)
    # NumPy compares here, because OpenCV takes a mask of one pixel for a number.
    return cv2.copyTo(image, np.equal(mask, IGNORE).view(np.uint8), blended)


def draw(image: Image, mask: Image, paint: Paint) -> tuple[Image | None, Image | None]:
    """
    Draw the pictures that ``paint`` asks for: the mask in colours, and the overlay.

    :param image: RGB, (H, W, 3); resized if the mask has another size.
    :returns: both as RGB, (h, w, 3), of the mask's size; None for a picture that is not asked for.
        If the image is a reversed view of BGR, so are the pictures, which messages then take
        without copying.
    """
    backwards = image.strides[2] < 0
    order = slice(None, None, -1 if backwards else 1)
    palette = tuple((b, g, r) if backwards else (r, g, b) for r, g, b in paint.palette)
    color = colorize(mask, palette)[:, :, order] if paint.color else None
    if not paint.overlay:
        return color, None
    image = image[:, :, order]
    if image.shape[:2] != mask.shape:
        image = cv2.resize(image, mask.shape[::-1], interpolation=cv2.INTER_AREA)
    return color, overlay(image, mask, palette, paint.opacity)[:, :, order]


def legend(labels: LabelSet, height: int) -> Image:
    """
    Draw the class names beside their colours.

    :param height: the picture's height in pixels. Names that do not fit into one column are drawn
        in several.
    :returns: RGB, (height, W, 3), black letters on white.
    """
    columns = min(-(-len(labels) * MIN_LINE // height), len(labels))
    rows = -(-len(labels) // columns)
    pitch = height / rows
    line = min(int(pitch), 2 * MIN_LINE)
    entries = [_entry(name, color, line) for name, color in zip(labels.names, labels.palette)]
    width = max(entry.shape[1] for entry in entries) + line // 2
    picture = np.full((height, columns * width, 3), WHITE, np.uint8)
    for i, entry in enumerate(entries):
        column, row = divmod(i, rows)
        _paste(picture, entry, column * width, int((row + 0.5) * pitch - line / 2))
    return picture


class Panel:
    """
    The panel beside a video's frames: each class's name, colour, and share of the frame.

    If the classes do not all fit, each frame's panel shows those with the largest shares and the
    sum of the others. Parts that are the same in all frames are drawn once.

    :param height: the height of the frames in pixels; the size of the text grows with it.
    """

    def __init__(self, labels: LabelSet, height: int) -> None:
        line = max(MIN_LINE, height // 36)
        top = round(2.75 * line)
        rows = min(max(2, (height - top) // line), len(labels))
        pitch = max(line, min((height - top) / rows, 1.75 * line))
        self._height, self._line, self._classes = height, line, len(labels)
        self._rows = [top + int(i * pitch) for i in range(rows)]
        self._crowded = rows < len(labels)
        names, self._colors = labels.names, labels.palette
        if self._crowded:
            names += (f'{len(names) - rows + 1} others',)
            self._colors += (GREY,)
        self._entries = [_entry(*entry, line) for entry in zip(names, self._colors)]
        # The bars are to the right of the names, and the percentages to the right of the bars.
        self._bars = max(entry.shape[1] for entry in self._entries) + line // 2
        self._full = 5 * line
        width = (self._bars + self._full + _text('100.0%', line).shape[1] + line) // 2 * 2
        self._blank = np.full((max(height, self._rows[-1] + line), width, 3), WHITE, np.uint8)
        for y, entry in zip(self._rows, self._entries):
            self._draw_bar(self._blank, y, 1.0, PALE)
            if not self._crowded:
                _paste(self._blank, entry, 0, y)

    @property
    def width(self) -> int:
        """Return the panel's width in pixels, which is even, as H.264 requires."""
        return self._blank.shape[1]

    def draw(self, share: Sequence[float], fps: float | None, caption: str = '') -> Image:
        """
        Draw the panel of one frame.

        :param share: each class's share of the frame's pixels, 0 to 1. Further values, such as the
            share of unlabeled pixels, are not shown.
        :param fps: frames per second, shown at the top; None if unknown.
        :param caption: a line of text below that; what does not fit is cut off.
        :returns: RGB, (height, width, 3).
        """
        picture, line = self._blank.copy(), self._line
        if fps is not None:
            _paste(picture, _text(f'{fps:.1f} fps', line), line // 4, line // 4)
        _paste(picture, _text(caption, line), line // 4, line // 4 + line)
        shares = [float(value) for value in share[: self._classes]]
        shown: Sequence[int] = range(self._classes)
        if self._crowded:
            ranked = sorted(shown, key=shares.__getitem__, reverse=True)
            # They are shown in the order of their ids, so that few rows change between frames.
            shown = [*sorted(ranked[: len(self._rows) - 1]), self._classes]
            shares.append(sum(shares[i] for i in ranked[len(self._rows) - 1 :]))
        for y, i in zip(self._rows, shown):
            if self._crowded:
                _paste(picture, self._entries[i], 0, y)
            self._draw_bar(picture, y, shares[i], self._colors[i])
            figure = _text(f'{shares[i]:.1%}', line)
            _paste(picture, figure, self.width - line // 4 - figure.shape[1], y)
        return picture[: self._height]

    def _draw_bar(self, picture: Image, y: int, share: float, color: tuple[int, int, int]) -> None:
        edge = self._line // 4
        end = self._bars + round(share * self._full)
        picture[y + edge : y + self._line - edge, self._bars : end] = color


@lru_cache(maxsize=4096)
def _text(text: str, line: int) -> Image:
    """Return black text on white, (line, W, 3), drawn at four times the size for smooth edges."""
    font, scale, thickness = cv2.FONT_HERSHEY_SIMPLEX, line / 8, max(1, round(line / 4))
    width = cv2.getTextSize(text, font, scale, thickness)[0][0]
    large = np.full((4 * line, 4 * (width // 4 + 3), 3), WHITE, np.uint8)
    cv2.putText(large, text, (4, 3 * line), font, scale, BLACK, thickness, cv2.LINE_AA)
    return cv2.resize(large, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)


def _entry(name: str, color: tuple[int, int, int], line: int) -> Image:
    """Return a patch of a class's colour with its name to the right, (line, W, 3)."""
    text = _text(name, line)
    entry = np.full((line, 2 * line + text.shape[1], 3), WHITE, np.uint8)
    corners = (line // 4, line // 8), (7 * line // 4, line - 1 - line // 8)
    cv2.rectangle(entry, *corners, color, cv2.FILLED)
    entry[:, 2 * line :] = text
    return entry


def _paste(picture: Image, part: Image, x: int, y: int) -> None:
    """Copy a part into a picture with its upper left corner at (x, y); what exceeds it is cut."""
    window = picture[y : y + len(part), x : x + part.shape[1]]
    window[:] = part[: len(window), : window.shape[1]]


def thumbnail(image: Image, interpolation: int = cv2.INTER_NEAREST) -> Image:
    """
    Return a copy of an image, (H, W, ...), no wider than :data:`THUMBNAIL`.

    :param interpolation: OpenCV's flag. The default suits class ids, ``INTER_AREA`` photographs.
    """
    height, width = image.shape[:2]
    if width <= THUMBNAIL:
        return image.copy()
    return cv2.resize(
        image, (THUMBNAIL, round(height * THUMBNAIL / width)), interpolation=interpolation
    )
