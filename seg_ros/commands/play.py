# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publish a bag over DDS, where `ros2 bag play` is not installed."""

from __future__ import annotations

import argparse
from functools import partial
import signal
import sys
from types import FrameType
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('bag', metavar='BAG', help='rosbag2 (sqlite3, mcap) or ROS 1 bag')
    parser.add_argument('--topics', nargs='+', metavar='T', help='play these only')
    parser.add_argument('--rate', type=float, default=1.0, help='times the recorded speed')
    parser.add_argument('--loop', action='store_true', help='start over at the end')
    parser.add_argument('--clock', action='store_true', help='publish the recorded time on /clock')
    parser.add_argument(
        '--wait-for-subscribers',
        type=float,
        default=0.0,
        metavar='SECONDS',
        help='before the first message, wait until every topic has one, but no longer than this',
    )
    parser.add_argument('--best-effort', action='store_true', help='offer no reliable delivery')
    parser.add_argument(
        '--times', action='store_true', help='in the JSON, also when each message was published'
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Play the bag; return how many messages were published, by topic and in all."""
    from ..bags.bag import read_messages
    from ..replay.live.player import play

    times: dict[str, list[int]] = {}

    def note(topic: str, recorded: int, published: int) -> None:
        times.setdefault(topic, []).append(published)

    def interrupt(number: int, frame: FrameType | None) -> None:
        # A terminal's Ctrl-C may come twice: to this process itself, and through ros2 launch.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    if args.loop:
        print(f'playing {args.bag} until Ctrl-C', file=sys.stderr, flush=True)
    counts = play(
        partial(read_messages, args.bag, topics=args.topics),
        rate=args.rate,
        loop=args.loop,
        clock=args.clock,
        wait_for_subscribers=args.wait_for_subscribers,
        best_effort=args.best_effort,
        on_publish=note if args.times else None,
    )
    for topic, count in counts.items():
        print(f'{count:6d}  {topic}')
    result: dict[str, Any] = {'messages': sum(counts.values()), 'topics': counts}
    return result | ({'published_ns': times} if args.times else {})
