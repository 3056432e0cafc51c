# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From coarse logits to labels on a CPU: bilinear upsampling, then argmax, as in the papers.

Upsampling every class to a camera's image size takes as long as the network. Here the result is
computed tile by tile, so that a tile stays in the CPU's cache, and a class is left out of a tile
in which it cannot be the largest. That changes no label: a value interpolated between four pixels
lies between the smallest and the largest of them, so a class cannot win between four pixels if its
largest value there is below the smallest of another class.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.image_file import Image, new_image
from ..images.labels import IGNORE

Floats = NDArray[np.float32]

TILE = (64, 256)
"""The approximate rows and columns of a tile; tiles end where a cell of coarse pixels ends."""


def label(logits: Floats, size: tuple[int, int], align_corners: bool) -> Image:
    """
    Return each pixel's most probable class.

    :param logits: finite values, (C, h, w), at the network's stride.
    :param size: (height, width) of the result.
    :param align_corners: whether the upsampling aligns corners, as PyTorch defines it.
    :returns: class ids, uint8, (H, W).
    """
    labels = new_image(size)
    for (y, x), classes in _tiles(logits, size, align_corners):
        part = labels[y.pixels, x.pixels]
        if len(classes) == 1:
            part[:] = classes[0]
        else:
            part[:], _ = _largest(_upsampled(logits, classes, y, x), classes)
    return labels


def label_with_confidence(
    logits: Floats, size: tuple[int, int], align_corners: bool, threshold: float = 0.0
) -> tuple[Image, Image]:
    """
    Return each pixel's class as :func:`label` does, and its softmax probability times 255.

    This takes longer than :func:`label`, since a probability depends on all classes.

    :param threshold: pixels whose probability is below this get the label 255.
    :returns: labels and confidence, both uint8, (H, W).
    """
    labels, confidence = new_image(size), new_image(size)
    every = np.arange(len(logits))
    for (y, x), classes in _tiles(logits, size, align_corners):
        values = _upsampled(logits, every, y, x)
        winners, best = _largest(values[classes], classes)
        # OpenCV's functions are used for their speed: NumPy takes three times as long for exp.
        total = np.zeros_like(best)
        for value in values:
            cv2.add(total, cv2.exp(cv2.subtract(value, best)), dst=total)
        probability = cv2.divide(1.0, total)
        if threshold > 0:
            winners[probability < threshold] = IGNORE
        labels[y.pixels, x.pixels] = winners
        confidence[y.pixels, x.pixels] = cv2.convertScaleAbs(probability, alpha=255)
    return labels, confidence


class _Span(NamedTuple):
    """
    The part of an image's height or width that a row or column of tiles covers.

    :param pixels: the pixels of the result.
    :param coarse: the coarse pixels that they are interpolated from.
    :param before: for each pixel, the index of the coarse pixel before it, counted from the first
        of ``coarse``.
    :param weight: for each pixel, its position between that coarse pixel (0) and the next (1).
    """

    pixels: slice
    coarse: slice
    before: NDArray[np.intp]
    weight: Floats


@lru_cache(maxsize=64)
def _spans(coarse: int, size: int, align_corners: bool, tile: int) -> list[_Span]:
    """Divide one side of an image, of ``size`` pixels made from ``coarse`` ones, into spans."""
    if align_corners:
        position = np.arange(size) * ((coarse - 1) / max(size - 1, 1))
    else:
        position = (np.arange(size) + 0.5) * (coarse / size) - 0.5
    position = np.clip(position, 0, coarse - 1)
    before = np.clip(position.astype(np.intp), 0, max(coarse - 2, 0))
    weight = (position - before).astype(np.float32)
    cells = max(1, round(tile * coarse / size))
    spans = []
    for first in range(0, max(coarse - 1, 1), cells):
        pixels = slice(*map(int, np.searchsorted(before, (first, first + cells))))
        coarse_pixels = slice(first, min(first + cells + 1, coarse))
        spans.append(_Span(pixels, coarse_pixels, before[pixels] - first, weight[pixels]))
    return spans


def _tiles(
    logits: Floats, size: tuple[int, int], align_corners: bool
) -> Iterator[tuple[tuple[_Span, _Span], NDArray[np.intp]]]:
    """Yield each tile's spans, of rows and of columns, and the classes that can win in it."""
    _, height, width = logits.shape
    rows, columns = (
        _spans(n, pixels, align_corners, tile)
        for n, pixels, tile in zip((height, width), size, TILE)
    )
    # Smallest and largest values over the cell of a pixel, its right, its lower and its lower
    # right neighbour.
    cell = np.ones((2, 2), np.uint8)
    floor = np.max([cv2.erode(plane, cell, anchor=(0, 0)) for plane in logits], axis=0)
    possible = np.stack([cv2.dilate(plane, cell, anchor=(0, 0)) >= floor for plane in logits])
    possible = np.logical_or.reduceat(possible, [span.coarse.start for span in columns], axis=2)
    possible = np.logical_or.reduceat(possible, [span.coarse.start for span in rows], axis=1)
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            if y.before.size and x.before.size:
                yield (y, x), possible[:, i, j].nonzero()[0]


def _upsampled(logits: Floats, classes: NDArray[np.intp], y: _Span, x: _Span) -> Floats:
    """Return some classes' logits in a tile, (len(classes), rows, columns)."""
    # Columns are interpolated first: they are gathered one by one, but there are only few coarse
    # rows. Rows are then gathered as a whole.
    columns = _lerp(logits[classes, y.coarse, x.coarse], x.before, x.weight, axis=2)
    return _lerp(columns, y.before, y.weight[:, None], axis=1)


def _lerp(values: Floats, before: NDArray[np.intp], weight: Floats, axis: int) -> Floats:
    """Interpolate linearly along an axis; see :class:`_Span` for ``before`` and ``weight``."""
    if values.shape[axis] == 1:
        return values.take(before, axis)
    result = np.diff(values, axis=axis).take(before, axis)
    result *= weight
    result += values.take(before, axis)
    return result


def _largest(values: Floats, classes: NDArray[np.intp]) -> tuple[Image, Floats]:
    """Return at each pixel the class with the largest of (len(classes), H, W), and that value."""
    best = values[0].copy()
    winners = np.full(best.shape, classes[0], np.uint8)
    for candidate, value in zip(classes[1:], values[1:]):
        np.copyto(winners, np.uint8(candidate), where=value > best)
        cv2.max(best, value, dst=best)
    return winners, best
