# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera of the node: its subscriptions, its publishers, and its dropped images."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ..images.encodings import view_rgb
from ..images.image_file import Image as Array
from .diagnostics.health import CameraHealth
from .image_message import decode
from .outputs import Outputs

try:  # Humble has this in rclpy.qos_event, which newer distributions have removed.
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:
    from rclpy.qos_event import SubscriptionEventCallbacks

REPORT_PERIOD = 5.0
"""The least seconds between two log messages about one camera's dropped images."""


class CameraFrame(NamedTuple):
    """
    An image message between its arrival and its mask.

    :param arrived: when the message was received, in seconds of the monotonic clock.
    :param topic: the topic on which it was received.
    """

    message: Image | CompressedImage
    arrived: float
    topic: str

    def age(self, now: int) -> float:
        """
        Return the image's age in seconds.

        The age counts from the image's stamp. If the stamp is zero or later than the arrival, as
        with a clock that is ahead or simulated time that has not started, it counts from there.

        :param now: the time of the node's clock in nanoseconds.
        """
        stamp = self.message.header.stamp
        since = monotonic() - self.arrived
        if not (stamp.sec or stamp.nanosec):
            return since
        return max(since, (now - stamp.sec * 10**9 - stamp.nanosec) / 1e9)


class Camera:
    """
    A camera's subscriptions and publishers.

    :param name: the camera's name, which is the prefix of its topics.
    :param image_topic: the topic of the raw images, even if compressed ones are received.
    :param compressed: whether to receive compressed images instead of raw ones.
    :param mask_rle: whether to also publish masks as runs of Autoware's ids.
    :param health: counts received, answered and dropped images.
    :param on_image: called with this camera's name and each image.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        image_topic: str,
        compressed: bool,
        mask_rle: bool,
        health: CameraHealth,
        on_image: Callable[[str, CameraFrame], None],
    ) -> None:
        self.name = name
        self.health = health
        self.size: tuple[int, int] | None = None
        self.info: CameraInfo | None = None
        self._node = node
        self._logger = node.get_logger()
        self._compressed = compressed
        self._type = CompressedImage if compressed else Image
        self._decode: Callable[[Any], Array] = decode if compressed else view_rgb
        self._on_image = on_image
        self._subscriptions: list[Subscription] = []
        self._reliability = ReliabilityPolicy.RELIABLE
        self._asked = 'auto'
        self._last_report = -REPORT_PERIOD
        self.move(image_topic)
        self.outputs = Outputs(node, name, mask_rle)

    def move(self, image_topic: str) -> None:
        """Change to another image topic; :meth:`subscribe` must then be called again."""
        self.unsubscribe()
        self.info = None
        # The name is remapped before anything is appended to it, so that one remapping rule moves
        # the image, its compressed form and its camera_info together.
        name = image_topic or f'{self.name}/image_raw'
        base = self._node.resolve_topic_name(name)
        self.topic = f'{base}/compressed' if self._compressed else base
        # rclpy remaps the names that it is given, so it must not get a remapped one: a second
        # remapping could change the name again.
        self._unmapped = self.topic if self._compressed else name
        self._info_topic = f'{base.rpartition("/")[0]}/camera_info'
        self.health.topic = self.topic

    def destroy(self) -> None:
        """Destroy all subscriptions and publishers of this camera."""
        self.unsubscribe()
        self.outputs.destroy()

    def subscribe(self, reliability: str) -> None:
        """
        Subscribe, or subscribe again if the reliability no longer fits the publishers.

        A reliable subscription receives nothing from a best-effort publisher; a best-effort
        subscription loses most large images, even from a reliable publisher. So neither of them
        fits all publishers.

        :param reliability: the value of the parameter `reliability`.
        """
        self._asked = reliability
        offered = [
            info.qos_profile.reliability
            for info in self._node.get_publishers_info_by_topic(self._unmapped)
        ]
        all_reliable = all(offer == ReliabilityPolicy.RELIABLE for offer in offered)
        if reliability != 'auto':
            wanted = ReliabilityPolicy[reliability.upper()]
        elif all_reliable:
            # Without publishers the reliability is kept, as the last one may come back.
            wanted = ReliabilityPolicy.RELIABLE if offered else self._reliability
        else:
            wanted = ReliabilityPolicy.BEST_EFFORT
        if not self._subscriptions or wanted != self._reliability:
            self._logger.info(
                f'camera {self.name}: subscribing to {self.topic}, {wanted.name.lower()} '
                f'({reliability}; {len(offered)} publishers)'
            )
            self._subscribe(wanted)
        problems = self.outputs.incompatible()
        if wanted == ReliabilityPolicy.RELIABLE and not all_reliable:
            problems.append(
                f'a publisher of {self.topic} offers best effort only, and the parameter '
                'reliability is reliable, so its images do not arrive. Set reliability to auto or '
                'best_effort, or let the publisher be reliable'
            )
        self.health.qos_problem = '; '.join(problems)

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        self.unsubscribe()
        self._reliability = reliability
        self._subscriptions = [
            self._node.create_subscription(
                self._type,
                self._unmapped,
                self._receive,
                QoSProfile(depth=1, reliability=reliability),
                event_callbacks=SubscriptionEventCallbacks(
                    incompatible_qos=lambda event: self._on_incompatible()
                ),
            ),
            # Best effort fits every publisher, and messages this small do not get lost.
            self._node.create_subscription(
                CameraInfo,
                self._info_topic,
                self._on_info,
                QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
            ),
        ]

    def unsubscribe(self) -> None:
        """End the subscriptions; no more images are received."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self.health.qos_problem = ''

    def take(self) -> None:
        """Receive a waiting image here while the executor is busy."""
        for subscription in self._subscriptions[:1]:
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is not None:
                self._receive(taken[0])

    def _receive(self, message: Image | CompressedImage) -> None:
        self.health.received()
        self._on_image(self.name, CameraFrame(message, monotonic(), self.topic))

    def _on_incompatible(self) -> None:
        if self._asked != 'auto':  # with auto the next call of `subscribe` adapts
            self.subscribe(self._asked)
            self._logger.error(f'camera {self.name}: {self.health.qos_problem}')

    def _on_info(self, info: CameraInfo) -> None:
        self.info = info

    def read(self, message: Image | CompressedImage) -> Array:
        """
        Return a message's image as uint8 RGB, (H, W, 3).

        :raises ImageError: the message does not hold a valid image.
        """
        image = self._decode(message)
        self.size = image.shape[:2]
        return image

    def drop(self, reason: str, details: str = '') -> None:
        """Count an image that gets no mask, and log the reason unless one was logged lately."""
        self.health.failed(reason)
        dropped = self.health.counts['failed']
        self.complain(f'image dropped ({dropped} so far): {details or reason}')

    def complain(self, reason: str) -> None:
        """Log an error, unless one was logged in the last ``REPORT_PERIOD`` seconds."""
        if monotonic() - self._last_report >= REPORT_PERIOD:
            self._last_report = monotonic()
            self._logger.error(f'camera {self.name}: {reason}')
