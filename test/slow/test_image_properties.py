# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Malformed and odd image messages, ten thousand of them, for the decoders and the real node."""

from crowd_fixtures import open_crowd, send_odd_images, send_spoilt_bytes
from hypothesis import given
from node_fixtures import make_checkpoint
from odd_images import (
    check_compressed_image,
    check_image,
    compressed_images,
    images,
    same_every_time,
)
import pytest
from sensor_msgs.msg import CompressedImage, Image

ROUNDS, COMPRESSED_ROUNDS, SPOILT_ROUNDS = 438, 188, 60
"""In each, every camera sends one message."""


@same_every_time()
@given(images())
def test_an_image_message_is_rgb_or_an_image_error(message):
    check_image(message)


@same_every_time()
@given(compressed_images())
def test_a_compressed_image_message_is_rgb_or_an_image_error(message):
    check_compressed_image(message)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp('model') / 'small.safetensors', 1)


@pytest.fixture(scope='module')
def live(request, checkpoint):
    with open_crowd(checkpoint, request.param) as crowd:
        yield crowd


@pytest.fixture
def crowd(live):
    live.begin()
    return live


@pytest.mark.parametrize('live', [Image], indirect=True)
def test_odd_images_are_counted_and_good_ones_answered(crowd):
    send_odd_images(crowd, ROUNDS)


@pytest.mark.parametrize('live', [Image], indirect=True)
def test_bytes_that_are_no_image_message_stop_nothing(crowd):
    """As of a publisher whose message is of another release, or not UTF-8."""
    send_spoilt_bytes(crowd, SPOILT_ROUNDS)


@pytest.mark.parametrize('live', [CompressedImage], indirect=True)
def test_odd_compressed_images_are_counted_and_good_ones_answered(crowd):
    send_odd_images(crowd, COMPRESSED_ROUNDS)
