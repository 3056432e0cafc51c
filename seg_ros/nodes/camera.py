# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera of the node: what it subscribes to, what it publishes, and its troubles."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from time import monotonic
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ..inference.encodings import view_rgb
from ..inference.image_file import Image as Array
from ..inference.labels import LabelSet
from ..inference.overlay import draw
from ..inference.segmentation import Paint, Segmentation
from .image_message import decode, encode, to_message, to_runs

try:  # Humble has these in rclpy.qos_event, which newer distributions gave up.
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks
try:  # Not on every machine; the masks do without.
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:
    LabelInfo = None

OUTPUTS = {
    'mask': Image,
    'mask/compressed': CompressedImage,
    'confidence': Image,
    'color': Image,
    'overlay': Image,
    'overlay/compressed': CompressedImage,
    'camera_info': CameraInfo,
    'mask_rle': Image,
}
"""Topics below NAME/segmentation; mask_rle only where it is asked for."""

REPORT_PERIOD = 5.0
"""Seconds between two reports of the same camera's dropped images."""


class Camera:
    """
    A camera's topics.

    :param image_topic: the raw images' topic, also where ``compressed`` ones are taken.
    :param mask_rle: whether to offer masks as runs of Autoware's ids.
    :param on_image: called with this camera's name and each image message.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        image_topic: str,
        compressed: bool,
        mask_rle: bool,
        on_image: Callable[[str, Image | CompressedImage], None],
    ) -> None:
        self.name = name
        self.size: tuple[int, int] | None = None
        self.dropped = 0
        self._node = node
        self._logger = node.get_logger()
        # Remapped before anything is appended, so that one rule moves the image, its compressed
        # form and its camera_info together.
        base = node.resolve_topic_name(image_topic or f'{name}/image_raw')
        self.topic = f'{base}/compressed' if compressed else base
        self._info_topic = f'{base.rpartition("/")[0]}/camera_info'
        self._type = CompressedImage if compressed else Image
        self._decode: Callable[[Any], Array] = decode if compressed else view_rgb
        self._on_image = on_image
        self._subscriptions: list[Subscription] = []
        self._reliability = ReliabilityPolicy.RELIABLE
        self._follows = True
        self._info: CameraInfo | None = None
        self._last_report = -REPORT_PERIOD
        self._publishers = {
            output: self._advertise(kind, output, QoSProfile(depth=5))
            for output, kind in OUTPUTS.items()
            if output != 'mask_rle' or mask_rle
        }
        self._label_info = LabelInfo and self._advertise(
            LabelInfo,
            'label_info',
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
        )

    def _advertise(self, kind: type, output: str, qos: QoSProfile) -> Any:
        topic = f'{self.name}/segmentation/{output}'
        return self._node.create_lifecycle_publisher(
            kind,
            topic,
            qos,
            event_callbacks=PublisherEventCallbacks(
                incompatible_qos=lambda event: self._logger.warning(
                    f'a subscriber of {topic} gets nothing, as it asks for more than is offered. '
                    'Subscribe with durability volatile, or override what is offered with the '
                    f'parameters qos_overrides.{self._node.resolve_topic_name(topic)}.publisher.*'
                )
            ),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def destroy(self) -> None:
        """Take back everything this camera has on the graph."""
        self.unsubscribe()
        for publisher in (*self._publishers.values(), self._label_info):
            if publisher:
                self._node.destroy_lifecycle_publisher(publisher)

    def subscribe(self, reliability: str) -> None:
        """
        Subscribe, or do it again where the reliability no longer fits the publishers.

        A reliable subscription hears nothing from a best-effort publisher; a best-effort one
        loses most of the large images, even of a reliable publisher. So neither will do for all.

        :param reliability: the parameter's value.
        """
        self._follows = reliability == 'auto'
        offered = [
            info.qos_profile.reliability
            for info in self._node.get_publishers_info_by_topic(self.topic)
        ]
        if not self._follows:
            wanted = ReliabilityPolicy[reliability.upper()]
        elif all(offer == ReliabilityPolicy.RELIABLE for offer in offered):
            # Nobody there says nothing of the publishers to come, least of all of one that was.
            wanted = ReliabilityPolicy.RELIABLE if offered else self._reliability
        else:
            wanted = ReliabilityPolicy.BEST_EFFORT
        if self._subscriptions and wanted == self._reliability:
            return
        self.unsubscribe()
        self._reliability = wanted
        self._logger.info(
            f'camera {self.name}: subscribing to {self.topic}, {wanted.name.lower()} '
            f'({reliability}; {len(offered)} publishers)'
        )
        self._subscriptions = [
            self._node.create_subscription(
                self._type,
                self.topic,
                lambda message: self._on_image(self.name, message),
                QoSProfile(depth=1, reliability=wanted),
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

    def _on_incompatible(self) -> None:
        if not self._follows:  # or it is about to fit
            self._logger.error(
                f'camera {self.name}: a publisher of {self.topic} offers best effort only, and '
                'the parameter reliability is reliable, so its images do not arrive. Set '
                'reliability to auto or best_effort, or let the publisher be reliable'
            )

    def _on_info(self, info: CameraInfo) -> None:
        self._info = info

    def read(self, message: Image | CompressedImage) -> Array:
        """
        Return a message's image as uint8 RGB, (H, W, 3).

        :raises ImageError: it is none.
        """
        image = self._decode(message)
        self.size = image.shape[:2]
        return image

    def drop(self, reason: object) -> None:
        """Count an image that gets no mask; say why now and then."""
        self.dropped += 1
        if monotonic() - self._last_report >= REPORT_PERIOD:
            self._last_report = monotonic()
            self._logger.error(
                f'camera {self.name}: image dropped ({self.dropped} so far): {reason}'
            )

    def heard(self) -> set[str]:
        """Return the outputs that somebody listens to; the mask is always among them."""
        return {'mask'} | {
            output
            for output, publisher in self._publishers.items()
            if publisher.get_subscription_count()
        }

    def publish(
        self,
        outputs: set[str],
        header: Header,
        image: Array,
        seen: Segmentation,
        labels: LabelSet,
        opacity: float,
    ) -> None:
        """
        Publish what a network sees in one image, computing only what is asked for.

        :param outputs: names of :data:`OUTPUTS`.
        :param header: the image's own.
        :param image: uint8 RGB, (H, W, 3).
        :param seen: all outputs get the size of its labels. Pictures that are in it are not
            drawn again.
        """
        mask = seen.labels

        @cache
        def pictures() -> tuple[Any, Any]:
            if seen.color is not None or seen.overlay is not None:
                return seen.color, seen.overlay
            return draw(image, mask, paint_for(outputs, labels, opacity))

        make: dict[str, Callable[[], Any]] = {
            'mask': lambda: to_message(header, mask),
            'mask/compressed': lambda: encode(header, mask, '.png'),
            'color': lambda: to_message(header, pictures()[0]),
            'overlay': lambda: to_message(header, pictures()[1]),
            'overlay/compressed': lambda: encode(header, pictures()[1], '.jpg'),
            'mask_rle': lambda: to_runs(header, mask, labels),
        }
        if (confidence := seen.confidence) is not None:
            make['confidence'] = lambda: to_message(header, confidence)
        if (info := self._info) is not None:
            make['camera_info'] = lambda: scale_camera_info(
                info, header, mask.shape[1] / image.shape[1], mask.shape[0] / image.shape[0]
            )
        for output, message in make.items():  # the mask first
            if output in outputs:
                self._publishers[output].publish(message())

    def publish_label_info(self, labels: LabelSet, threshold: float) -> None:
        """Say what the ids mean, where vision_msgs is installed."""
        if self._label_info:
            self._label_info.publish(
                LabelInfo(
                    header=Header(stamp=self._node.get_clock().now().to_msg()),
                    class_map=[
                        VisionClass(class_id=i, class_name=name)
                        for i, name in enumerate(labels.names)
                    ],
                    threshold=threshold,
                )
            )


def scale_camera_info(
    info: CameraInfo, header: Header, scale_x: float, scale_y: float
) -> CameraInfo:
    """
    Return the camera_info of an image resized by these factors, as image_proc's ResizeNode does.

    :param header: the resized image's.
    """
    # The first rows of K and P give u, the second ones v; distortion is in normalised
    # coordinates, where size does not matter.
    k = np.reshape(info.k, (3, 3)) * [[scale_x], [scale_y], [1]]
    p = np.reshape(info.p, (3, 4)) * [[scale_x], [scale_y], [1]]
    scaled = CameraInfo(
        header=header,
        width=round(info.width * scale_x),
        height=round(info.height * scale_y),
        distortion_model=info.distortion_model,
        d=info.d,
        k=k.ravel(),
        r=info.r,
        p=p.ravel(),
        binning_x=info.binning_x,
        binning_y=info.binning_y,
    )
    scaled.roi.x_offset = int(info.roi.x_offset * scale_x)
    scaled.roi.y_offset = int(info.roi.y_offset * scale_y)
    scaled.roi.width = int(info.roi.width * scale_x)
    scaled.roi.height = int(info.roi.height * scale_y)
    scaled.roi.do_rectify = info.roi.do_rectify
    return scaled


def paint_for(outputs: Collection[str], labels: LabelSet, opacity: float) -> Paint:
    """Return what must be drawn for these outputs."""
    blended = not {'overlay', 'overlay/compressed'}.isdisjoint(outputs)
    return Paint(labels.palette, opacity, 'color' in outputs, blended)
