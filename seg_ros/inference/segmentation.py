# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of a segmenter, and what it answers."""

from __future__ import annotations

from typing import NamedTuple

from ..images.image_file import Image

NOT_FINITE = (
    'expected finite logits; found that the network overflows. Choose another precision: fp32, or '
    'bf16, whose range is as wide'
)
"""Of what else than numbers is, no class is the largest."""

LOW = 0.5
"""Where the winning class is less probable, all others together are more so."""


class Segmentation(NamedTuple):
    """
    What the network sees in one image; (H, W) is the size that was asked for.

    :param labels: class ids, uint8, (H, W); 255 where it was not confident enough.
    :param confidence: the winning class's softmax probability times 255, uint8, (H, W); None
        where nobody asked.
    :param mean_confidence: that probability's mean over the image, 0 to 1, at the network's own
        stride, where it costs next to nothing.
    :param low_confidence: the share of pixels, 0 to 1, where it is below :data:`LOW`; likewise.
    :param color: the labels in their colours, uint8 RGB, (H, W, 3); None where nobody asked.
    :param overlay: these colours over the image, likewise.
    """

    labels: Image
    confidence: Image | None
    mean_confidence: float
    low_confidence: float
    color: Image | None = None
    overlay: Image | None = None
