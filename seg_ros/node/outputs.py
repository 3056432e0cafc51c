# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera's publishers: the topics below NAME/segmentation."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from threading import Lock
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, qos_check_compatible, QoSCompatibility, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ..images.image_file import Image as Array
from ..images.labels import LabelSet
from ..images.overlay import draw, Paint
from ..inference.segmentation import Segmentation
from .camera_info import fits, scale_camera_info
from .image_message import encode, to_message, to_runs

try:  # Humble has this in rclpy.qos_event, which newer distributions have removed.
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:
    from rclpy.qos_event import PublisherEventCallbacks
try:  # vision_msgs is optional: without it only the topic label_info is missing
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
}
"""The outputs that every camera has, and their message types."""

RUNS = 'mask_rle'
"""The output that a camera has only if the parameter mask_rle is true."""


class Outputs:
    """
    A camera's publishers.

    :param name: the camera's name.
    :param runs: whether to also publish masks as runs of Autoware's ids.
    """

    def __init__(self, node: LifecycleNode, name: str, runs: bool) -> None:
        self._node = node
        self._name = name
        self._logger = node.get_logger()
        # Held so that no thread destroys a publisher that another one is using.
        self._changing = Lock()
        self._unheard: set[Any] = set()
        self._publishers = {
            output: self._advertise(kind, output, QoSProfile(depth=5))
            for output, kind in OUTPUTS.items()
        }
        if runs:
            self._publishers[RUNS] = self._advertise(Image, RUNS, QoSProfile(depth=5))
        self._label_info = LabelInfo and self._advertise(
            LabelInfo,
            'label_info',
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
        )

    def _advertise(self, kind: type, output: str, qos: QoSProfile) -> Any:
        topic = f'{self._name}/segmentation/{output}'
        publisher: Any = self._node.create_lifecycle_publisher(
            kind,
            topic,
            qos,
            event_callbacks=PublisherEventCallbacks(
                incompatible_qos=lambda event: self._on_incompatible(publisher)
            ),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        return publisher

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in (*self._publishers.values(), self._label_info):
            if publisher:
                self._node.destroy_lifecycle_publisher(publisher)

    def offer_runs(self, wanted: bool, active: bool) -> None:
        """
        Create or destroy the publisher of masks as runs of Autoware's ids.

        :param wanted: whether there must be one.
        :param active: whether the node is active, so that a new publisher must be activated.
        """
        with self._changing:
            if wanted and RUNS not in self._publishers:
                publisher = self._advertise(Image, RUNS, QoSProfile(depth=5))
                if active:
                    publisher.on_activate(None)
                self._publishers[RUNS] = publisher
            elif not wanted and RUNS in self._publishers:
                publisher = self._publishers.pop(RUNS)
                self._unheard.discard(publisher)
                self._node.destroy_lifecycle_publisher(publisher)

    def heard(self) -> set[str]:
        """Return the outputs that have subscribers, and always the mask."""
        with self._changing:
            return {'mask'} | {
                output
                for output, publisher in self._publishers.items()
                if publisher.get_subscription_count()
            }

    def publish_mask(self, header: Header, mask: Array) -> None:
        """
        Publish the mask, which matters most and so comes before all other outputs.

        :param header: the image's header.
        :param mask: class ids, uint8, (H, W).
        """
        self._publishers['mask'].publish(to_message(header, mask))

    def publish_others(
        self,
        outputs: Collection[str],
        header: Header,
        image: Array,
        result: Segmentation,
        labels: LabelSet,
        opacity: float,
        info: CameraInfo | None,
    ) -> None:
        """
        Publish the other outputs of one image, and compute only those that are asked for.

        :param outputs: the outputs to publish.
        :param header: the image's header.
        :param image: uint8 RGB, (H, W, 3).
        :param result: the segmentation. All outputs get the size of its labels; pictures that it
            already has are not drawn again.
        :param labels: the classes and their colours.
        :param opacity: the opacity of the colours in the overlay.
        :param info: the camera_info, None if there is none. It is not published if it is that of
            an image of another size.
        """
        mask = result.labels

        @cache
        def pictures() -> tuple[Any, Any]:
            if result.color is not None or result.overlay is not None:
                return result.color, result.overlay
            return draw(image, mask, paint_for(outputs, labels, opacity))

        make: dict[str, Callable[[], Any]] = {
            'mask/compressed': lambda: encode(header, mask, '.png'),
            'color': lambda: to_message(header, pictures()[0]),
            'overlay': lambda: to_message(header, pictures()[1]),
            'overlay/compressed': lambda: encode(header, pictures()[1], '.jpg'),
            RUNS: lambda: to_runs(header, mask, labels),
        }
        if (confidence := result.confidence) is not None:
            make['confidence'] = lambda: to_message(header, confidence)
        if info is not None and fits(info, *image.shape[:2]):
            make['camera_info'] = lambda: scale_camera_info(
                info, header, mask.shape[1] / image.shape[1], mask.shape[0] / image.shape[0]
            )
        for output, message in make.items():
            if output in outputs:
                made = message()
                with self._changing:
                    if output in self._publishers:
                        self._publishers[output].publish(made)

    def publish_label_info(self, labels: LabelSet, threshold: float) -> None:
        """Publish the names of the class ids, if vision_msgs is installed."""
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

    def incompatible(self) -> list[str]:
        """Return a message for each topic whose QoS offers less than a subscriber asks for."""
        problems = []
        for publisher in list(self._unheard):
            topic = publisher.topic_name
            asked = [
                qos_check_compatible(publisher.qos_profile, info.qos_profile)
                for info in self._node.get_subscriptions_info_by_topic(topic)
            ]
            if any(compatibility == QoSCompatibility.ERROR for compatibility, _ in asked):
                problems.append(_incompatible(topic))
            else:
                self._unheard.discard(publisher)
        return problems

    def _on_incompatible(self, publisher: Any) -> None:
        self._unheard.add(publisher)
        self._logger.warning(_incompatible(publisher.topic_name))


def _incompatible(topic: str) -> str:
    return (
        f'a subscriber of {topic} gets nothing, as it asks for more than is offered. Subscribe '
        'with durability volatile, or override what is offered with the parameters '
        f'qos_overrides.{topic}.publisher.*'
    )


def paint_for(outputs: Collection[str], labels: LabelSet, opacity: float) -> Paint:
    """Return which pictures must be drawn for these outputs, and how."""
    blended = not {'overlay', 'overlay/compressed'}.isdisjoint(outputs)
    return Paint(labels.palette, opacity, 'color' in outputs, blended)
