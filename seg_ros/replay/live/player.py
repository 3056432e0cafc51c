# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes recorded messages over DDS, as `ros2 bag play` does where it is installed."""

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
"""Topic, type such as ``sensor_msgs/msg/Image``, nanoseconds when recorded, and its CDR bytes."""

CLOCK_PERIOD = 0.025
"""Seconds between two messages on /clock."""

SETTLE_SECONDS = 4.0
"""
How long the other side may need to find us once we have found it: if it missed our first
announcements, Fast DDS repeats them every 3 s.
"""

DRAIN_SECONDS = 5
"""How long subscribers have to acknowledge the last messages."""

PARTING_SECONDS = 0.1
"""How long the last messages stay for those who acknowledge nothing, such as /clock's."""


class PlayerError(ValueError):
    """Messages that cannot be published; the message says why."""


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
    Publish messages in their recorded rhythm.

    A message that is late is published at once, never skipped. Ctrl-C ends it early and cleanly.

    :param read: returns the messages in the order of their time; called once to learn the
        topics, so that all are found before the first message, and once a round.
    :param rate: how many times faster than recorded.
    :param loop: start over at the end, until interrupted.
    :param clock: also publish the recorded time on /clock.
    :param wait_for_subscribers: seconds to wait at most until every topic has one.
    :param best_effort: offer that instead of reliable delivery, as many camera drivers do.
    :param on_publish: called with topic, recorded and real nanoseconds as each message is sent.
    :returns: how many messages were published on each topic.
    :raises PlayerError: no messages, a rate that is not positive, or a type not installed here.
    """
    if not rate > 0:
        raise PlayerError(f'expected a rate above 0; found {rate}')
    types = {topic: kind for topic, kind, _, _ in read()}
    if not types:
        raise PlayerError('expected messages to play; found none')
    context = Context()
    rclpy.init(context=context)
    counts = dict.fromkeys(types, 0)
    qos = QoSProfile(
        depth=10,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
    )
    try:
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
                if first is None:  # not before, as a bag takes its time to open
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
    """Return the class of a message type. Errors as :func:`play`'s."""
    package, _, name = kind.split('/')
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise PlayerError(
            f'expected the message type {kind} to be installed; found that it is not. Install '
            f'the package {package}, or play other topics only'
        ) from error


def _wait(publishers: Sequence[Publisher], clock: Sequence[Publisher], seconds: float) -> None:
    """Return once each publisher is heard, or the time is over; ``clock`` need not be heard."""
    if seconds <= 0:
        return

    def counts() -> list[int]:
        return [publisher.get_subscription_count() for publisher in (*publishers, *clock)]

    end = monotonic() + seconds
    while monotonic() < end and not all(counts()[: len(publishers)]):
        sleep(0.02)
    # A subscriber that we know may not know us yet, and what it gets before that is lost. So
    # each one that still appears is given the same time.
    known, settled = counts(), monotonic() + SETTLE_SECONDS
    while monotonic() < min(settled, end + SETTLE_SECONDS):
        sleep(0.02)
        if (now := counts()) != known:
            known, settled = now, monotonic() + SETTLE_SECONDS


def _sleep_until(moment: float, recorded: int, rate: float, ticks: Publisher | None) -> None:
    """Sleep until a monotonic moment, whose recorded time is given, letting /clock tick."""
    while True:
        left = moment - monotonic()
        if ticks is not None:
            seconds, nanoseconds = divmod(recorded - round(max(left, 0) * rate * 1e9), 10**9)
            ticks.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))
        if left <= 0:
            return
        sleep(min(left, CLOCK_PERIOD) if ticks is not None else left)
