# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera's outputs without a graph: what is computed, and when."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from seg_ros.images.encodings import to_rgb
from seg_ros.images.labels import CAMVID, IGNORE
from seg_ros.images.overlay import draw
from seg_ros.images.run_length import decode
from seg_ros.inference.segmentation import Segmentation
from seg_ros.node import outputs as outputs_module
from seg_ros.node.camera_info import fits, scale_camera_info
from seg_ros.node.outputs import Outputs

IMAGE = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
MASK = np.random.default_rng(2).integers(0, len(CAMVID), (30, 40), dtype=np.uint8)


class FakePublisher:
    def __init__(self):
        self.listeners = 0
        self.messages = []
        self.publish = self.messages.append

    def get_subscription_count(self):
        return self.listeners


class FakeNode:
    """As much of a node as a camera asks for."""

    def __init__(self):
        self.publishers = {}

    def create_lifecycle_publisher(self, kind, topic, qos, **options):
        return self.publishers.setdefault(
            topic.removeprefix('front/segmentation/'), FakePublisher()
        )

    def resolve_topic_name(self, topic):
        return f'/{topic}'

    def get_logger(self):
        return logging.getLogger('test')

    def get_clock(self):
        return Clock()


@pytest.fixture
def node():
    return FakeNode()


@pytest.fixture
def outputs(node):
    return Outputs(node, 'front', True)


def publish(outputs, image=IMAGE, mask=MASK, confidence=None):
    header = Header(frame_id='lens')
    seen = Segmentation(mask, confidence, 0.5, 0.0)
    outputs.publish_mask(header, mask)
    outputs.publish_others(outputs.heard(), header, image, seen, CAMVID, 0.25, None)


def test_where_nobody_listens_only_the_mask_is_made(node, outputs, monkeypatch):
    for name in ('draw', 'encode', 'scale_camera_info'):
        monkeypatch.setattr(outputs_module, name, lambda *arguments: pytest.fail('was computed'))
    assert outputs.heard() == {'mask'}
    publish(outputs, confidence=MASK)  # which another camera's listener asked for
    sent = {topic: len(publisher.messages) for topic, publisher in node.publishers.items()}
    assert sent.pop('mask') == 1
    assert not any(sent.values())


@pytest.mark.parametrize(
    'topic',
    ['confidence', 'color', 'overlay', 'overlay/compressed', 'mask/compressed', 'mask_rle'],
)
def test_what_one_listens_to_is_made_and_nothing_else(node, outputs, topic):
    node.publishers[topic].listeners = 1
    assert outputs.heard() == {'mask', topic}
    publish(outputs, confidence=MASK)
    sent = {topic for topic, publisher in node.publishers.items() if publisher.messages}
    assert sent == {'mask', topic}


def test_runs_are_the_mask_in_autowares_ids(node, outputs):
    node.publishers['mask_rle'].listeners = 1
    publish(outputs)
    (message,) = node.publishers['mask_rle'].messages
    assert (message.height, message.width, message.encoding) == (30, 40, 'mono8')
    ids = decode(np.frombuffer(message.data, np.uint8), 30, 40)
    known = {'sky': 15, 'building': 1, 'pole': 3, 'road': 9, 'pavement': 10, 'tree': 14, 'sign': 5}
    for i, name in enumerate(CAMVID.names):
        if name.lower() in known:
            assert (ids[i == MASK] == known[name.lower()]).all(), name


def test_without_the_parameter_there_are_no_runs(node):
    Outputs(node, 'front', False)
    assert 'mask' in node.publishers and 'mask_rle' not in node.publishers


def test_two_kinds_of_overlay_are_painted_once(node, outputs, monkeypatch):
    painted = []
    monkeypatch.setattr(outputs_module, 'draw', lambda *args: painted.append(1) or draw(*args))
    node.publishers['overlay'].listeners = node.publishers['overlay/compressed'].listeners = 1
    publish(outputs)
    assert len(painted) == 1
    blended = to_rgb(node.publishers['overlay'].messages[0])
    expected = 0.75 * IMAGE + 0.25 * np.array(CAMVID.palette)[MASK]
    np.testing.assert_allclose(blended, expected, atol=1)


def test_overlay_of_a_view_with_padded_rows_leaves_unlabeled_pixels_alone(node, outputs):
    node.publishers['overlay'].listeners = 1
    padded = np.hstack([IMAGE, IMAGE])[:, :40]
    assert not padded.flags.c_contiguous
    publish(outputs, padded, np.full_like(MASK, IGNORE))
    np.testing.assert_array_equal(to_rgb(node.publishers['overlay'].messages[0]), IMAGE)


def test_label_info_names_every_id(node, monkeypatch):
    """With a stand-in for vision_msgs, which is not on PyPI."""
    monkeypatch.setattr(outputs_module, 'LabelInfo', SimpleNamespace)
    monkeypatch.setattr(outputs_module, 'VisionClass', SimpleNamespace, raising=False)
    outputs = Outputs(node, 'front', False)
    outputs.publish_label_info(CAMVID, 0.5)
    (info,) = node.publishers['label_info'].messages
    assert [(c.class_id, c.class_name) for c in info.class_map] == list(enumerate(CAMVID.names))
    assert info.threshold == 0.5
    assert info.header.stamp.sec > 0


def test_without_vision_msgs_there_is_no_label_info(node, monkeypatch):
    monkeypatch.setattr(outputs_module, 'LabelInfo', None)
    outputs = Outputs(node, 'front', False)
    outputs.publish_label_info(CAMVID, 0.5)
    assert 'label_info' not in node.publishers


@pytest.mark.parametrize(
    ('size', 'expected'),
    [((480, 640), True), ((240, 320), False), ((100, 200), True), ((640, 480), False)],
)
def test_camera_info_of_another_image_is_not_passed_on(node, outputs, size, expected):
    info = CameraInfo(width=640, height=480)
    info.roi.width, info.roi.height = 200, 100
    image, mask = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    node.publishers['camera_info'].listeners = 1
    seen = Segmentation(mask, None, 0.5, 0.0)
    outputs.publish_others({'camera_info'}, Header(), image, seen, CAMVID, 0.5, info)
    assert bool(node.publishers['camera_info'].messages) == expected


def test_camera_info_of_a_binned_image_fits():
    assert fits(CameraInfo(width=640, height=480, binning_x=2, binning_y=2), 240, 320)
    assert not fits(CameraInfo(width=640, height=480, binning_x=2, binning_y=2), 480, 640)


def test_camera_info_scaled_projects_points_to_scaled_pixels():
    """Also of a second camera below the first, whose baseline is in the second row of P."""
    info = CameraInfo(width=640, height=480, binning_x=2, binning_y=2)
    info.k = [500.0, 1.5, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    info.p = [500.0, 0.0, 320.0, -60.0, 0.0, 510.0, 240.0, -70.0, 0.0, 0.0, 1.0, 0.0]
    info.d = [0.1, -0.2, 0.0, 0.0, 0.0]
    header = Header(frame_id='lens')
    scaled = scale_camera_info(info, header, 0.5, 0.25)
    assert (scaled.header, scaled.width, scaled.height) == (header, 320, 120)
    assert (scaled.binning_x, scaled.binning_y, scaled.d) == (2, 2, info.d)
    point = np.array([0.3, -0.2, 2.0, 1.0])

    def pixel(matrix):
        u, v, w = matrix @ point[: matrix.shape[1]]
        return u / w, v / w

    for shape, name in (((3, 3), 'k'), ((3, 4), 'p')):
        u, v = pixel(np.reshape(getattr(info, name), shape))
        np.testing.assert_allclose(
            pixel(np.reshape(getattr(scaled, name), shape)), (u * 0.5, v * 0.25)
        )
