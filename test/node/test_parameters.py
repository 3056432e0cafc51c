# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which topics the parameters may name, as a node resolves them."""

import pytest
import rclpy
from rclpy.context import Context

from seg_ros.node.parameters import CAMERA_PARAMETERS, check_topics, ParameterError, PARAMETERS

VALUES = {
    **{p.name: p.default for p in PARAMETERS},
    **{f'camera.{p.name}': p.default for p in CAMERA_PARAMETERS},
}


@pytest.fixture(scope='module')
def node():
    context = Context()
    rclpy.init(context=context)
    yield rclpy.create_node('parameters', namespace='/car', context=context)
    rclpy.try_shutdown(context=context)


@pytest.mark.parametrize('topic', ['a b', '{foo}/image', 'a' * 250, '7up/image', 'a//b', 'a/'])
def test_topics_that_cannot_be_are_refused(node, topic):
    with pytest.raises(ParameterError, match='camera.image_topic: expected what can stand in'):
        check_topics(node, {**VALUES, 'camera.image_topic': topic})


@pytest.mark.parametrize('topic', ['', 'image', '/image', '~/image', '{node}/image', 'a/b_c/d'])
def test_topics_that_can_be_are_taken(node, topic):
    check_topics(node, {**VALUES, 'camera.image_topic': topic})
