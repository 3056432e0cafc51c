# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recorder that keeps what arrives on image topics and on /clock, with the times of arrival."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Condition, Thread
from time import time_ns
from types import TracebackType
from typing import NamedTuple

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import try_shutdown
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from ...images.encodings import to_array
from ...images.image_file import Image as Array

CLOCK = '/clock'


class ReceivedFrame(NamedTuple):
    """
    A received image.

    :param stamp: the header stamp in nanoseconds.
    :param received: when the image arrived, in nanoseconds of the system clock.
    :param pixels: the pixels in the message's encoding.
    """

    stamp: int
    frame_id: str
    received: int
    encoding: str
    pixels: Array

    @property
    def age(self) -> float:
        """Return the seconds from the stamp to the arrival, if the stamp is of the same clock."""
        return (self.received - self.stamp) / 1e9


class Recorder:
    """
    A context manager that receives images in a thread of its own.

    :param topics: topics of 8-bit images (rgb8, bgr8, mono8).
    :param node_name: the name of the recorder's own node.
    :param clock: whether to listen to /clock, too.
    :ivar frames: the received images of each topic, in order.
    """

    def __init__(
        self, topics: Sequence[str], node_name: str = 'recorder', *, clock: bool = False
    ) -> None:
        self.frames: dict[str, list[ReceivedFrame]] = {topic: [] for topic in topics}
        self._ticks: list[tuple[int, int]] = []
        self._arrived = Condition()
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node(node_name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        for topic in topics:
            self._node.create_subscription(
                Image, topic, self._keep_in(topic), QoSProfile(depth=10)
            )
        if clock:
            # Players publish /clock as best effort; messages this small do not get lost.
            qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
            self._node.create_subscription(Clock, CLOCK, self._keep_tick, qos)
        self._thread = Thread(target=self._spin, name='recorder', daemon=True)

    def wait_for(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait at most ``timeout`` seconds until ``done()``, called at each arrival; return it."""
        with self._arrived:
            return self._arrived.wait_for(done, timeout)

    def take(self, timeout: float) -> dict[str, list[ReceivedFrame]]:
        """
        Wait for frames, and return and forget all, so that a drive of any length fits in memory.

        :returns: each topic's frames, in order; all empty if none came in ``timeout`` seconds.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: any(self.frames.values()), timeout)
            taken, self.frames = self.frames, {topic: [] for topic in self.frames}
            return taken

    def take_ticks(self) -> list[tuple[int, int]]:
        """Return and forget the messages of /clock: (time in it, time of arrival) in ns."""
        with self._arrived:
            taken, self._ticks = self._ticks, []
            return taken

    def has_clock(self) -> bool:
        """Return whether /clock has a publisher now."""
        return self._node.count_publishers(CLOCK) > 0

    def _keep_tick(self, message: Clock) -> None:
        received = time_ns()
        with self._arrived:
            self._ticks.append((message.clock.sec * 10**9 + message.clock.nanosec, received))

    def _keep_in(self, topic: str) -> Callable[[Image], None]:
        def keep(message: Image) -> None:
            received = time_ns()
            stamp = message.header.stamp
            frame = ReceivedFrame(
                stamp.sec * 10**9 + stamp.nanosec,
                message.header.frame_id,
                received,
                message.encoding,
                to_array(message),
            )
            with self._arrived:
                self.frames[topic].append(frame)
                self._arrived.notify_all()

        return keep

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try_shutdown(context=self._context)
        self._thread.join()
