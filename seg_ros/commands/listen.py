# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Listen to the running node while a bag is played to it: how old masks come, how many, how often.

Somebody else plays the bag and publishes its time: `ros2 bag play --clock`, `seg_ros play
--clock`, or replay.launch.py, which starts all three. It ends with the bag, or on Ctrl-C.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, ExitStack
from hashlib import blake2b
from pathlib import Path
import signal
from time import monotonic, time_ns
from typing import Any, TYPE_CHECKING

from . import CheckFailed
from ._model import add_model_arguments, add_palette_argument, make_segmenter, used

if TYPE_CHECKING:
    from ..images.image_file import Image
    from ..inference.segmenter import Segmenter
    from ..replay.live.bag_clock import BagClock
    from ..replay.live.live_drive import Drive
    from ..replay.live.live_evaluation import LiveEvaluation
    from ..replay.live.recorder import ReceivedFrame, Recorder

MASKS = '/camera/segmentation/mask'
POLL_SECONDS = 0.25
LAST_SECONDS = 2.0
"""How long after the bag the last masks may take, each after the one before."""

LISTED = 5
"""Stamps of masks that differ, which an error names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('bag', metavar='BAG', help='what is played: rosbag2 or ROS 1 bag')
    parser.add_argument('--topic', metavar='T', help='image topic of a bag that has several')
    parser.add_argument('--mask', default=MASKS, metavar='T', help=f'by default {MASKS}')
    parser.add_argument(
        '--overlay',
        metavar='T',
        help="also listen to the node's overlays, which makes it draw them; for the report",
    )
    parser.add_argument('--labels', metavar='T', help="topic in the bag of the images' true ids")
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='folder for report.html, report.json and the bag `received`',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='afterwards compute the masks offline; fail if one differs',
    )
    parser.add_argument(
        '--timeout',
        type=float,
        default=60.0,
        metavar='SECONDS',
        help='how long to wait for the player, and, when it is there, for its clock to go on',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='only check the bag and print the topics to play, that of the images first',
    )
    add_model_arguments(parser)
    add_palette_argument(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Listen until the bag has been played; return what came.

    :raises CheckFailed: no clock or no mask came, or masks differ from those computed offline.
    """
    from ..replay.live.live_drive import match, read_drive

    drive = read_drive(args.bag, args.topic, args.labels)
    if args.dry_run:
        print('\n'.join(drive.topics))
        return {'topics': drive.topics}
    from ..images.palette import with_palette
    from ..inference.checkpoint import find_checkpoint, load_checkpoint
    from ..replay.ground_truth import read_truth
    from ..replay.live.bag_clock import BagClock
    from ..replay.live.live_evaluation import LiveEvaluation
    from ..replay.live.live_report import write_live_report
    from ._result import write_json

    segmenter = make_segmenter(args) if args.check else None  # its errors now, not afterwards
    labels = (segmenter or load_checkpoint(find_checkpoint(args.model))).labels
    given = read_truth(args.bag, args.labels, labels) if args.labels else ()
    evaluation = LiveEvaluation(with_palette(labels, args.palette), drive.stamps, *given)
    clock = BagClock()
    with _signals() as signals:
        digests = _receive(args, drive, evaluation, clock, signals)
        answers = match(drive, evaluation, clock, interrupted_at=time_ns() if signals else None)
        result = {
            'bag': args.bag,
            'topic': drive.topics[0],
            'mask': args.mask,
            'rounds': clock.rounds,
            **answers.timing(),
            **evaluation.scores(),
            'check': segmenter and _check(segmenter, args.bag, drive, digests, signals),
        }
        if args.out:
            out = Path(args.out)
            title, subtitle = 'A drive through the running node', f'{args.mask} for {args.bag}'
            write_live_report(out / 'report.html', title, subtitle, evaluation, answers)
            write_json(out / 'report.json', result)
    _judge(result)
    return result


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that what has come is reported all the same."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [
        signal.signal(number, lambda number, frame: received.append(number)) for number in numbers
    ]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


def _receive(
    args: argparse.Namespace,
    drive: Drive,
    evaluation: LiveEvaluation,
    clock: BagClock,
    signals: Sequence[int],
) -> dict[int, set[bytes]]:
    """Take what comes until the bag has been played; return the masks' digests, if wanted."""
    from ..bags.writer import BagWriter
    from ..replay.live.recorder import Recorder

    digests: dict[int, set[bytes]] = {}
    expected, kept = set(drive.stamps), set()
    with ExitStack() as stack:
        writer = args.out and stack.enter_context(
            BagWriter(Path(args.out, 'received'), overwrite=True)
        )
        topics = [topic for topic in (args.mask, args.overlay) if topic]
        recorder = stack.enter_context(Recorder(topics, 'listener', clock=True))
        print(f'listening to {args.mask} for {drive.topics[0]}', flush=True)
        for topic, frame in _frames(args, drive, recorder, clock, signals):
            if frame.stamp not in expected:
                continue
            if topic == args.overlay:
                evaluation.add_overlay(frame.stamp, _to_rgb(frame))
            else:
                evaluation.add_mask(frame.stamp, frame.received, frame.pixels)
                if args.check:
                    digests.setdefault(frame.stamp, set()).add(_digest(frame.pixels))
            # Of a drive that is played over and over the first round is enough.
            if writer and (topic, frame.stamp) not in kept:
                kept.add((topic, frame.stamp))
                writer.write_image(
                    topic,
                    frame.pixels,
                    frame.stamp,
                    frame.frame_id,
                    frame.encoding,
                    frame.received,
                )
    return digests


def _frames(
    args: argparse.Namespace,
    drive: Drive,
    recorder: Recorder,
    clock: BagClock,
    signals: Sequence[int],
) -> Iterator[tuple[str, ReceivedFrame]]:
    """Yield topic and frame of what comes, and keep the clock, until that ends or a signal."""
    last_mask, last_tick, last_frame = 0, monotonic(), 0.0
    while not signals:
        frames = recorder.take(POLL_SECONDS)
        for recorded, arrived in recorder.take_ticks():
            clock.tick(recorded, arrived)
            last_tick = monotonic()
        for topic, came in frames.items():
            for frame in came:
                yield topic, frame
                last_frame = monotonic()
                last_mask = frame.stamp if topic == args.mask else last_mask
        stands_still = monotonic() - last_tick > args.timeout
        if not clock.rounds and stands_still:
            raise CheckFailed(
                f'expected the recorded time on /clock within {args.timeout:g} s; found none. '
                'Play the bag with --clock, and with the same ROS_DOMAIN_ID'
            )
        # A player that pauses stays on the graph; one that has ended leaves it.
        if clock.rounds and (stands_still or not recorder.has_clock()):
            quiet = monotonic() - max(last_tick, last_frame)
            complete = last_mask == drive.stamps[-1] and not any(frames.values())
            if complete or quiet > LAST_SECONDS:
                return


def _digest(mask: Image) -> bytes:
    return blake2b(repr(mask.shape).encode() + mask.tobytes(), digest_size=16).digest()


def _to_rgb(frame: ReceivedFrame) -> Image:
    return frame.pixels[..., ::-1] if frame.encoding.startswith('bgr') else frame.pixels


def _check(
    segmenter: Segmenter,
    path: str,
    drive: Drive,
    digests: Mapping[int, set[bytes]],
    signals: Sequence[int],
) -> dict[str, Any]:
    """Compute the masks that came; return how many were ``compared`` and which are different."""
    from tqdm import tqdm

    from ..bags.bag import Bag

    compared, different = 0, []
    progress = tqdm(total=len(digests), desc='computing masks', unit='frame', disable=None)
    with Bag(path) as bag, progress:
        for message in bag.messages(drive.topics[:1]):
            # One signal ends the listening. A second one, or one that is about to kill, this.
            if len(signals) > 1 or signal.SIGTERM in signals:
                break
            stamp = bag.stamp(message)
            if stamp in digests:
                _, _, image = bag.to_rgb(message)
                compared += 1
                if digests[stamp] != {_digest(segmenter.predict(image).labels)}:
                    different.append(stamp)
                progress.update()
    return {
        'compared': compared,
        'different': len(different),
        'first_different': different[:LISTED],
        **used(segmenter),
    }


def _judge(result: dict[str, Any]) -> None:
    """
    Print what came, in one line.

    :raises CheckFailed: nothing came, or it is not what it should be.
    """
    age, check = result['age_ms'], result['check']
    if not result['frames_out']:
        raise CheckFailed(
            f'expected masks on {result["mask"]} for {result["frames_in"]} images of '
            f'{result["topic"]}; found none. Does the node listen to that topic? Is this its bag?',
            result,
        )
    line = (
        f'{result["frames_out"]} of {result["frames_in"]} images answered, {result["dropped"]} '
        f'dropped; age p50 {age["p50"]:.0f} ms, p95 {age["p95"]:.0f} ms'
    )
    if result['rate_hz']:
        line += f'; {result["rate_hz"]:.1f} masks a second of {result["played_hz"]:.1f} images'
    line += f'; longest gap {result["longest_gap_ms"]:.0f} ms'
    line += f'; {result["rounds"]} rounds' if result['rounds'] > 1 else ''
    line += '' if result['miou'] is None else f'; mIoU {result["miou"]:.3f}'
    if check:
        line += f'; {check["compared"] - check["different"]} of {check["compared"]} as offline'
    print(line)
    if check and check['different']:
        stamps = ', '.join(
            f'{stamp // 10**9}.{stamp % 10**9:09}' for stamp in check['first_different']
        )
        raise CheckFailed(
            f'expected the masks that {check["model"]} computes offline ({check["precision"]} on '
            f'{check["device"]}); found {check["different"]} of {check["compared"]} different, at '
            f'{stamps}{" ..." if check["different"] > LISTED else ""}. The node must run with the '
            'same model, input size, device and precision',
            result,
        )
