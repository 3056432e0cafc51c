# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Colours that colour-blind people can tell apart.

The distance of two colours is taken in CIELAB (CIE 1976) for normal vision, protanopia,
deuteranopia and tritanopia, and the smallest of the four counts. The three deficiencies are
simulated by a matrix on linear RGB, at severity 1, as Machado, Oliveira and Fernandes do ("A
Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE Transactions on
Visualization and Computer Graphics 15(6), 2009).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .labels import LabelSet, Palette

PALETTES = ('model', 'colorblind')
"""The palettes to choose from: the network's own, or the one of this module."""

VISIONS = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    ]
)
"""The matrices on linear RGB that simulate normal vision, protanopia, deuteranopia and
tritanopia, (4, 3, 3)."""

RGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
"""The matrix from linear sRGB (IEC 61966-2-1) to CIE XYZ."""

AVOIDED = (0, 0, 0), (119, 119, 119), (255, 255, 255)
"""Colours that no class gets: black marks unlabeled pixels, grey is like the street below an
overlay, and white is a legend's background."""


@cache
def with_palette(labels: LabelSet, palette: str) -> LabelSet:
    """
    Return the classes with the colours of a palette.

    :param palette: one of :data:`PALETTES`.
    :raises ValueError: there is no such palette.
    """
    if palette not in PALETTES:
        raise ValueError(f'palette: expected one of {", ".join(PALETTES)}; found {palette!r}')
    if palette == 'model':
        return labels
    return replace(labels, palette=_shared_out(colorblind_palette(len(labels)), labels.palette))


@cache
def colorblind_palette(count: int) -> Palette:
    """
    Return colours that are as distinct as possible, also to colour-blind people.

    Each colour is the one of a grid of 4096 that is farthest from the colours before it and from
    :data:`AVOIDED`. Then colours are replaced as long as this moves one of them farther from its
    nearest neighbour. The smallest distance is 28 for 11 classes, 19 for 19, and 5 for 171.
    """
    steps = np.arange(0, 256, 17)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing='ij'), -1).reshape(-1, 3)
    looks = _looks(grid)

    def distances(look: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.linalg.norm(looks - look[:, None], axis=-1).min(axis=0)

    # Row i holds the distances of chosen colour i from all colours of the grid.
    from_avoided = np.min([distances(look) for look in _looks(AVOIDED).swapaxes(0, 1)], axis=0)
    rows = np.full((count, len(grid)), np.inf)
    chosen = [-1] * count
    moved = True
    while moved:
        moved = False
        for i in range(count):
            rows[i] = np.inf
            nearest = np.minimum(from_avoided, rows.min(axis=0))
            best = int(nearest.argmax())
            if chosen[i] < 0 or nearest[best] > nearest[chosen[i]]:
                chosen[i], moved = best, True
            rows[i] = distances(looks[:, chosen[i]])
    return tuple((int(r), int(g), int(b)) for r, g, b in grid[chosen])


def _shared_out(colors: Palette, wanted: Palette) -> Palette:
    """Assign each class one of the colours, starting with the pair that is most alike."""
    own, offered = _looks(wanted)[0], _looks(colors)[0]
    difference = np.linalg.norm(own[:, None] - offered, axis=-1)
    given: dict[int, int] = {}
    for pair in np.argsort(difference, axis=None, kind='stable').tolist():
        i, color = divmod(pair, len(colors))
        if i not in given and color not in given.values():
            given[i] = color
    return tuple(colors[given[i]] for i in range(len(wanted)))


def _looks(colors: ArrayLike) -> NDArray[np.float64]:
    """Return the CIELAB values of colours, (N, 3), 0 to 255, in each kind of vision, (4, N, 3)."""
    encoded = np.asarray(colors, np.float64) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ VISIONS.swapaxes(1, 2), 0, 1)
    x, y, z = np.moveaxis(_compressed(seen @ (RGB_TO_XYZ.T / RGB_TO_XYZ.sum(axis=1))), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _compressed(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIELAB's function f: the cube root, continued by a straight line near 0."""
    edge = 6 / 29
    return np.where(value > edge**3, np.cbrt(value), value / (3 * edge**2) + 4 / 29)
