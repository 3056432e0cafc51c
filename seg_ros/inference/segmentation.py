# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The result of segmenting one image."""

from __future__ import annotations

from typing import NamedTuple

from ..images.image_file import Image

NOT_FINITE = (
    'expected finite logits; found that the network overflows. Choose another precision: fp32, or '
    'bf16, whose range is as wide'
)
"""The message for logits that are NaN or infinite: no class is then the most probable one."""

LOW = 0.5
"""The limit of low confidence: below it, all other classes together are more probable."""


class Segmentation(NamedTuple):
    """
    The result of segmenting one image; (H, W) is the output size that was asked for.

    :param labels: class ids, uint8, (H, W); 255 where the confidence is below the threshold.
    :param confidence: the softmax probability of the label's class times 255, uint8, (H, W); None
        if not asked for.
    :param mean_confidence: the mean of that probability over the image, 0 to 1. It is taken at the
        network's own stride, where it takes hardly any time.
    :param low_confidence: the share of pixels, 0 to 1, whose probability is below :data:`LOW`, at
        the network's own stride too.
    :param color: the labels in their classes' colours, uint8 RGB, (H, W, 3); None if not asked
        for.
    :param overlay: these colours over the image, uint8 RGB, (H, W, 3); None if not asked for.
    """

    labels: Image
    confidence: Image | None
    mean_confidence: float
    low_confidence: float
    color: Image | None = None
    overlay: Image | None = None
