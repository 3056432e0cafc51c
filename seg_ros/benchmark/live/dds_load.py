# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The helper processes of :mod:`.live_rows`: a camera and listener, and a network without a node.

Each reads commands from standard input, one line of JSON with a method's name and its arguments,
and answers each with a line of JSON.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
import json
import os
from pathlib import Path
import sys
from threading import Condition, Thread
from time import monotonic_ns, perf_counter, sleep, time_ns
from typing import Any, TYPE_CHECKING
from zlib import crc32

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import CompressedImage, Image

from ...node.diagnostics.health import COUNTED
from ...node.malloc import keep_memory

if TYPE_CHECKING:
    from ...inference.segmenter import Segmenter

TimesByTopic = dict[str, list[tuple[int, int]]]
"""
The messages of each topic: the header stamp, and when it was published or received, in
nanoseconds of the machine's monotonic clock.
"""

REPORTS, REPORT_SECONDS = 10, 5.0
"""The most reports of the node to wait for until all images are counted; seconds for each."""


class DdsLoad:
    """
    Publishes images as a camera driver does, and listens to topics.

    :param sent: for each topic to publish on, the fields of the message. It is compressed if
        ``format`` is one of them, and ``data`` is the path of a file with the data.
    :param heard: the topics to listen to, and whether their images are compressed.
    :param reliability: reliable or best_effort, of all publishers and subscriptions.
    :param keep: whether this process keeps its memory (:func:`...node.malloc.keep_memory`).
    :param told_apart: whether to keep a checksum of each received image, for :meth:`checksums`.
    """

    def __init__(
        self,
        sent: Mapping[str, Mapping[str, Any]],
        heard: Mapping[str, bool],
        reliability: str,
        keep: bool,
        told_apart: bool = False,
    ) -> None:
        if keep:
            keep_memory()
        self._told_apart = told_apart
        self._checksums: dict[str, dict[int, int]] = {topic: {} for topic in heard}
        self._came: dict[str, dict[int, int]] = {topic: {} for topic in heard}
        self._arrived = Condition()
        self._counts: dict[str, dict[str, int]] = {}
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('dds_load', context=self._context)
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy[reliability.upper()])
        self._messages = {topic: _message(**given) for topic, given in sent.items()}
        self._publishers = {
            topic: self._node.create_publisher(type(message), topic, qos)
            for topic, message in self._messages.items()
        }
        for topic, compressed in heard.items():
            self._node.create_subscription(
                CompressedImage if compressed else Image,
                topic,
                partial(self._keep, topic),
                qos,
            )
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self._node)
        self._thread = Thread(target=self._spin, args=(executor,), daemon=True)
        self._thread.start()

    def ask(
        self, topic: str, answer: str, count: int, pause: float, patience: float
    ) -> list[float | None]:
        """
        Publish images one after the other, and wait for the answer to each.

        :param topic: the topic to publish on.
        :param answer: the topic of the answers, which have the stamps of their images.
        :param count: the number of images.
        :param pause: the seconds to wait before each image.
        :param patience: the most seconds to wait for an answer.
        :returns: for each image the milliseconds from just before its publication to the arrival
            of its answer; None if no answer came.
        """
        times = []
        for _ in range(count):
            sleep(pause)
            stamp, published = self._publish(topic)
            came = self._came[answer]
            with self._arrived:
                self._arrived.wait_for(lambda: stamp in came, patience)  # noqa: B023  (called here)
                times.append((came[stamp] - published) / 1e6 if stamp in came else None)
                came.clear()
        return times

    def send(self, topics: Sequence[str], count: int, rate: float) -> TimesByTopic:
        """Publish ``count`` images on each topic, ``rate`` per second; return their times."""
        published: TimesByTopic = {topic: [] for topic in topics}
        start = perf_counter()
        for i in range(count):
            sleep(max(0.0, start + i / rate - perf_counter()))
            for topic in topics:
                published[topic].append(self._publish(topic))
        return published

    def hear(self, topics: Sequence[str], quiet: float, enough: int | None = None) -> TimesByTopic:
        """
        Return and forget the times of arrival of the images received on each topic.

        :param topics: some of the topics that are listened to.
        :param quiet: return after this many seconds without another image.
        :param enough: return once each topic has received so many images.
        """

        def number() -> int:
            return sum(len(self._came[t]) for t in topics)

        def complete() -> bool:
            return enough is not None and all(len(self._came[t]) >= enough for t in topics)

        with self._arrived:
            more = True
            while more and not complete():
                before = number()
                more = self._arrived.wait_for(lambda: number() > before, quiet)  # noqa: B023  (called here)
            came = {topic: sorted(self._came[topic].items()) for topic in topics}
            for topic in topics:
                self._came[topic].clear()
        return came

    def checksums(self, topic: str) -> list[tuple[int, int]]:
        """Return and forget the stamps and checksums of the images received on a topic."""
        with self._arrived:
            found = sorted(self._checksums[topic].items())
            self._checksums[topic].clear()
        return found

    def watch(self) -> None:
        """Listen to /diagnostics from now on."""
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._keep_counts, 10)

    def counts(self, camera: str) -> dict[str, int]:
        """
        Return the node's counts of a camera's images, once none of them is under way.

        :raises ValueError: some are still under way after the last report to wait for.
        """
        with self._arrived:
            for _ in range(REPORTS):
                self._counts.pop(camera, None)
                self._arrived.wait_for(lambda: camera in self._counts, REPORT_SECONDS)
                counts = self._counts.get(camera, {})
                if counts and counts['received'] == sum(counts.values()) - counts['received']:
                    return counts
        raise ValueError(f'expected all images of {camera} to be counted; found {counts}')

    def _keep_counts(self, message: DiagnosticArray) -> None:
        with self._arrived:
            for status in message.status:
                if ': camera ' in status.name:
                    values = {value.key.replace(' ', '_'): value.value for value in status.values}
                    self._counts[status.name.rpartition(' ')[2]] = {
                        name: int(values[name]) for name in COUNTED
                    }
            self._arrived.notify_all()

    def close(self) -> None:
        """Leave the graph."""
        try_shutdown(context=self._context)
        self._thread.join()

    def _publish(self, topic: str) -> tuple[int, int]:
        message, stamp = self._messages[topic], time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        published = monotonic_ns()
        self._publishers[topic].publish(message)
        return stamp, published

    def _keep(self, topic: str, message: Image | CompressedImage) -> None:
        received = monotonic_ns()
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        with self._arrived:
            self._came[topic].setdefault(stamp, received)
            if self._told_apart:
                self._checksums[topic][stamp] = crc32(message.data)
            self._arrived.notify_all()

    def _spin(self, executor: SingleThreadedExecutor) -> None:
        with suppress(ExternalShutdownException):
            executor.spin()


def _message(data: str, **fields: Any) -> Image | CompressedImage:
    """Return a message with these fields, its data read from the file ``data``."""
    content = array('B', Path(data).read_bytes())
    return (CompressedImage if 'format' in fields else Image)(data=content, **fields)


class Network:
    """
    A network that runs alone in its process, without a node.

    :param picture: the path of a NumPy file with an image, uint8 RGB (H, W, 3).
    :param settings: the arguments of Segmenter.
    """

    def __init__(self, picture: str, settings: Mapping[str, Any]) -> None:
        from ...inference.segmenter import Segmenter

        keep_memory()
        self._picture = np.load(picture)
        self._segmenter: Segmenter = Segmenter(**settings)
        self._segmenter.warm_up([self._picture.shape[:2]])

    def predict(self, count: int, pause: float) -> list[float]:
        """Return the milliseconds of ``count`` predictions, ``pause`` seconds before each."""
        times = []
        for _ in range(count):
            sleep(pause)
            start = perf_counter()
            self._segmenter.predict(self._picture)
            times.append(1e3 * (perf_counter() - start))
        return times

    def points(self) -> dict[str, int]:
        """Return the checksum of each operating point's mask, the deepest point first."""
        from ...inference.deadline import make_scheduler

        scheduler = make_scheduler(self._segmenter, [self._picture.shape[:2]], lambda line: None)
        return {
            point.name: crc32(point.segmenter.predict(self._picture).labels)
            for point in scheduler.points
        }

    def describe(self) -> dict[str, Any]:
        """Return the network's backend, device, precision and input size."""
        names = ('backend', 'device', 'precision', 'input_size')
        return {name: getattr(self._segmenter, name) for name in names}

    def close(self) -> None:
        """Do nothing: a network has nothing to close."""


def main() -> None:
    """Execute the commands from standard input until it ends."""
    # Everything else that is printed goes to standard error, not between the answers.
    with os.fdopen(os.dup(1), 'w') as answers:
        os.dup2(2, 1)
        kind, arguments = sys.argv[1:]
        worker = {'dds_load': DdsLoad, 'network': Network}[kind](**json.loads(arguments))
        with suppress(KeyboardInterrupt):
            for line in sys.stdin:
                name, *given = json.loads(line)
                print(json.dumps(getattr(worker, name)(*given)), file=answers, flush=True)
        worker.close()


if __name__ == '__main__':
    main()
