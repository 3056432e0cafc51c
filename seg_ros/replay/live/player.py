# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publishing recorded messages over DDS, for machines without `ros2 bag play`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from time import monotonic, sleep, time_ns

from builtin_interfaces.msg import Time
import rclpy
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import try_shutdown
from rosgraph_msgs.msg import Clock

Message = tuple[str, str, int, bytes]
"""Topic, type (such as ``sensor_msgs/msg/Image``), recording time in ns, and CDR bytes."""

CLOCK_PERIOD = 0.025
"""The most seconds between two messages on /clock."""

SETTLE_SECONDS = 4.0
"""
How long a subscriber may need to discover us after we have discovered it: if it missed our first
announcements, Fast DDS repeats them every 3 s.
"""

DRAIN_SECONDS = 5
"""How long subscribers have to acknowledge the last messages."""

PARTING_SECONDS = 0.1
"""How long the player waits at its end for best-effort subscribers, which acknowledge nothing."""


class PlayerError(ValueError):
    """The messages cannot be published; the error's text says why."""


def play(
    read: Callable[[], Iterable[Message]],
    *,
    rate: float = 1.0,
    loop: bool = False,
    clock: bool = False,
    wait_for_subscribers: float = 0.0,
    best_effort: bool = False,
    on_publish: Callable[[str, int, int], None] | None = None,
) -> dict[str, int]:
    """
    Publish messages at the intervals at which they were recorded.

    A late message is published at once and never skipped. Ctrl-C ends the playing early and
    cleanly.

    :param read: returns the messages in time order; called once before the first message to
        learn all topics, and once for each round of playing.
    :param rate: how many times faster than recorded to play.
    :param loop: whether to start over at the end, until interrupted.
    :param clock: whether to publish the recorded time on /clock.
    :param wait_for_subscribers: the most seconds to wait until every topic has a subscriber.
    :param best_effort: whether to publish with best-effort reliability, as many camera drivers
        do, instead of reliable.
    :param on_publish: called with the topic, the recording time and the real time, both in
        nanoseconds, as each message is sent.
    :returns: the number of messages published on each topic.
    :raises PlayerError: there are no messages, the rate is not positive, or a message type is not
        installed.
    """
    if not rate > 0:
        raise PlayerError(f'expected a rate above 0; found {rate}')
    context = Context()
    counts: dict[str, int] = {}
    qos = QoSProfile(
        depth=10,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
    )
    try:
        types = {topic: kind for topic, kind, _, _ in read()}
        if not types:
            raise PlayerError('expected messages to play; found none')
        counts = dict.fromkeys(types, 0)
        rclpy.init(context=context)
        node = rclpy.create_node('player', context=context)
        publishers: dict[str, Publisher] = {
            topic: node.create_publisher(_message_class(kind), topic, qos)
            for topic, kind in types.items()
        }
        ticks = node.create_publisher(Clock, '/clock', QoSProfile(depth=1)) if clock else None
        _wait([*publishers.values()], [ticks] if ticks else [], wait_for_subscribers)
        while True:
            first = None
            for topic, _, recorded, content in read():
                if first is None:  # the time starts here, as opening a bag may take long
                    start, first = monotonic(), recorded
                _sleep_until(start + (recorded - first) / 1e9 / rate, recorded, rate, ticks)
                if on_publish is not None:
                    on_publish(topic, recorded, time_ns())
                publishers[topic].publish(content)
                counts[topic] += 1
            if not loop:
                break
        for publisher in publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=DRAIN_SECONDS))
        sleep(PARTING_SECONDS)
    except KeyboardInterrupt:
        pass
    finally:
        try_shutdown(context=context)
    return counts


def _message_class(kind: str) -> type:
    """Return the class of a message type; errors as for :func:`play`."""
    package, _, name = kind.split('/')
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise PlayerError(
            f'expected the message type {kind} to be installed; found that it is not. Install '
            f'the package {package}, or play other topics only'
        ) from error


def _wait(publishers: Sequence[Publisher], clock: Sequence[Publisher], seconds: float) -> None:
    """Wait until all ``publishers`` (not ``clock``) have subscribers, or the time is over."""
    if seconds <= 0:
        return

    def counts() -> list[int]:
        return [publisher.get_subscription_count() for publisher in (*publishers, *clock)]

    end = monotonic() + seconds
    while monotonic() < end and not all(counts()[: len(publishers)]):
        sleep(0.02)
    # A subscriber that we have discovered may not have discovered us yet, and would miss what we
    # publish until then. Each new subscriber gets the same time for that.
    known, settled = counts(), monotonic() + SETTLE_SECONDS
    while monotonic() < min(settled, end + SETTLE_SECONDS):
        sleep(0.02)
        if (now := counts()) != known:
            known, settled = now, monotonic() + SETTLE_SECONDS


def _sleep_until(end: float, recorded: int, rate: float, ticks: Publisher | None) -> None:
    """Publish /clock until the monotonic time ``end``, whose recorded time is ``recorded``."""
    while True:
        left = end - monotonic()
        if ticks is not None:
            seconds, nanoseconds = divmod(recorded - round(max(left, 0) * rate * 1e9), 10**9)
            ticks.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))
        if left <= 0:
            return
        sleep(min(left, CLOCK_PERIOD) if ticks is not None else left)
