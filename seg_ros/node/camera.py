# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera of the node: what it subscribes to, what it publishes, and its troubles."""

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

try:  # Humble has this in rclpy.qos_event, which newer distributions gave up.
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:
    from rclpy.qos_event import SubscriptionEventCallbacks

REPORT_PERIOD = 5.0
"""Seconds between two reports of the same camera's dropped images."""


class CameraFrame(NamedTuple):
    """
    An image message on its way.

    :param arrived: when it was received, in seconds of the monotonic clock.
    :param topic: where.
    """

    message: Image | CompressedImage
    arrived: float
    topic: str

    def age(self, now: int) -> float:
        """
        Return how old the image is, in seconds.

        Its stamp counts, unless that is zero, of a clock that is ahead, or of simulated time that
        has not come yet: then it is as old as it is here.

        :param now: nanoseconds of the node's clock.
        """
        stamp = self.message.header.stamp
        since = monotonic() - self.arrived
        if not (stamp.sec or stamp.nanosec):
            return since
        return max(since, (now - stamp.sec * 10**9 - stamp.nanosec) / 1e9)


class Camera:
    """
    A camera's topics.

    :param image_topic: the raw images' topic, also where ``compressed`` ones are taken.
    :param mask_rle: whether to offer masks as runs of Autoware's ids.
    :param health: told what its images come to.
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
        """Take images from another topic; as long as :meth:`subscribe` is not called, none."""
        self.unsubscribe()
        self.info = None
        # Remapped before anything is appended, so that one rule moves the image, its compressed
        # form and its camera_info together.
        name = image_topic or f'{self.name}/image_raw'
        base = self._node.resolve_topic_name(name)
        self.topic = f'{base}/compressed' if self._compressed else base
        # rclpy remaps what it is given, and twice could be once too often.
        self._unmapped = self.topic if self._compressed else name
        self._info_topic = f'{base.rpartition("/")[0]}/camera_info'
        self.health.topic = self.topic

    def destroy(self) -> None:
        """Take back everything this camera has on the graph."""
        self.unsubscribe()
        self.outputs.destroy()

    def subscribe(self, reliability: str) -> None:
        """
        Subscribe, or do it again where the reliability no longer fits the publishers.

        A reliable subscription hears nothing from a best-effort publisher; a best-effort one
        loses most of the large images, even of a reliable publisher. So neither will do for all.

        :param reliability: the parameter's value.
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
            # Nobody there says nothing of the publishers to come, least of all of one that was.
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
            # Small, so it arrives in any case, and best effort fits every publisher.
            self._node.create_subscription(
                CameraInfo,
                self._info_topic,
                self._on_info,
                QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
            ),
        ]

    def unsubscribe(self) -> None:
        """Receive nothing more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self.health.qos_problem = ''

    def take(self) -> None:
        """Receive an image that waits, in place of an executor that is busy."""
        for subscription in self._subscriptions[:1]:
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is not None:
                self._receive(taken[0])

    def _receive(self, message: Image | CompressedImage) -> None:
        self.health.received()
        self._on_image(self.name, CameraFrame(message, monotonic(), self.topic))

    def _on_incompatible(self) -> None:
        if self._asked != 'auto':  # or it is about to fit
            self.subscribe(self._asked)
            self._logger.error(f'camera {self.name}: {self.health.qos_problem}')

    def _on_info(self, info: CameraInfo) -> None:
        self.info = info

    def read(self, message: Image | CompressedImage) -> Array:
        """
        Return a message's image as uint8 RGB, (H, W, 3).

        :raises ImageError: it is none.
        """
        image = self._decode(message)
        self.size = image.shape[:2]
        return image

    def drop(self, reason: str, details: str = '') -> None:
        """Count an image that gets no mask; say why now and then."""
        self.health.failed(reason)
        dropped = self.health.counts['failed']
        self.complain(f'image dropped ({dropped} so far): {details or reason}')

    def complain(self, reason: str) -> None:
        """Log an error, unless one has been lately."""
        if monotonic() - self._last_report >= REPORT_PERIOD:
            self._last_report = monotonic()
            self._logger.error(f'camera {self.name}: {reason}')
