# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A node without a network, which answers each image with an empty mask of its size.

Its latency is the lower limit of the segmentation node's: the least time in which rclpy receives
such images and publishes such masks. Topics and quality of service are those of that node.
"""

from __future__ import annotations

from array import array
from contextlib import suppress
from functools import partial
from time import sleep
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import Image

from ...node.malloc import keep_memory


class Relay(Node):
    """
    The relay of some cameras.

    Its parameters are the segmentation node's `cameras` and `reliability` (without auto), and
    `delay_ms`, the time to wait before each answer, as if a network ran.
    """

    def __init__(self) -> None:
        super().__init__('relay')
        cameras: Any = self.declare_parameter('cameras', ['camera']).value
        reliability: Any = self.declare_parameter('reliability', 'reliable').value
        self._delay = self.declare_parameter('delay_ms', 0.0).value / 1e3
        self._mask = Image(encoding='mono8')
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy[reliability.upper()])
        for camera in cameras:
            publisher = self.create_publisher(
                Image, f'{camera}/segmentation/mask', QoSProfile(depth=5)
            )
            self.create_subscription(
                Image,
                f'{camera}/image_raw',
                partial(self._answer, publisher),
                qos,
            )
        # The timer wakes the executor regularly, which may otherwise miss a signal.
        self.create_timer(1.0, lambda: None)

    def _answer(self, publisher: Publisher, image: Image) -> None:
        mask, size = self._mask, image.height * image.width
        if len(mask.data) != size:
            mask.data = array('B', [0]) * size
        mask.header, mask.height, mask.width = image.header, image.height, image.width
        mask.step = image.width
        if self._delay:
            sleep(self._delay)
        publisher.publish(mask)


def main() -> None:
    """Run the relay until a signal ends it."""
    keep_memory()
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Relay())
    try_shutdown()


if __name__ == '__main__':
    main()
