# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odd image messages, some hundred of them, for the real node."""

from crowd_fixtures import open_crowd, send_odd_images, send_spoilt_bytes
from node_fixtures import make_checkpoint
import pytest
from sensor_msgs.msg import CompressedImage, Image

ROUNDS, COMPRESSED_ROUNDS, SPOILT_ROUNDS = 30, 15, 10
"""In each, every camera sends one message."""


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
