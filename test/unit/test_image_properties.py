# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Malformed and odd image messages, made at random, for the decoders."""

from hypothesis import given
from odd_images import (
    check_compressed_image,
    check_image,
    compressed_images,
    images,
    same_every_time,
)


@same_every_time()
@given(images())
def test_an_image_message_is_rgb_or_an_image_error(message):
    check_image(message)


@same_every_time()
@given(compressed_images())
def test_a_compressed_image_message_is_rgb_or_an_image_error(message):
    check_compressed_image(message)
