# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Play a drive through the node over DDS and show what comes back: video, report, figures.

The drive is a real street, then a drawn one, whose ground truth the masks are compared with; or
what --drive names.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
import json
from pathlib import Path
import signal
import subprocess
import sys
from typing import Any, TYPE_CHECKING

from ..inference import DEFAULT_MODEL
from . import CheckFailed
from ._model import add_palette_argument

if TYPE_CHECKING:
    from ..images.image_file import Image
    from ..images.labels import LabelSet
    from ..images.overlay import Panel
    from ..replay.live.live_evaluation import LiveEvaluation
    from ..replay.live.recorder import ReceivedFrame

# No training uses this seed: what the demo shows, the network has never seen.
SEED = 20260
FRAMES = 320
SIZE = (640, 360)
RATE = 10.0
IMAGES, LABELS = '/camera/image_raw', '/camera/labels'
MASKS, OVERLAYS = '/camera/segmentation/mask', '/camera/segmentation/overlay'
START_SECONDS = 120.0
QUIET_SECONDS = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('--out', default='build/demo', help='folder for what is made')
    parser.add_argument('--drive', help='a bag, video or folder of images, in their place')
    parser.add_argument('--topic', help='image topic of a bag that has several')
    parser.add_argument(
        '--model', default=DEFAULT_MODEL, help="a shipped name or a checkpoint's path"
    )
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    add_palette_argument(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Start node, player and receiver, each a process; return what the receiver got.

    Writes ``overlay.mp4``, ``report.html`` and ``report.json`` into the folder.

    :raises CheckFailed: no mask came back, or a process failed.
    """
    from ..bags.bag import read_stamps, topics
    from ..datasets.dataset import DatasetError
    from ..images.palette import with_palette
    from ..inference.checkpoint import find_checkpoint, load_checkpoint
    from ..replay.ground_truth import read_truth
    from ..replay.live.live_evaluation import LiveEvaluation
    from ..replay.live.live_report import write_live_report
    from ._result import write_json

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    labels = with_palette(load_checkpoint(find_checkpoint(args.model)).labels, args.palette)
    bag, topic = _prepare(args, out)
    stamps = read_stamps(bag, topic)
    if not stamps:
        raise ValueError(f'{bag}: expected images on {topic}; found none')
    given: tuple[Any, ...] = ()
    if LABELS in topics(bag):
        try:
            given = read_truth(bag, LABELS, labels)
        except DatasetError as error:  # Classes that have nothing to do with the drive's.
            print(f'The masks are not scored: {error}')
    evaluation = LiveEvaluation(labels, stamps, *given)
    with _node(args, topic) as node:
        published = _play(bag, topic, node, evaluation, labels, stamps, out)
    drive = args.drive or f'a real street, then the sample drive of seed {SEED}'
    result = {'model': args.model, 'drive': drive, **evaluation.result(published)}
    answered = f'{result["frames_out"]} of {result["frames_in"]} frames answered'
    if not result['frames_out'] or node.returncode:
        raise CheckFailed(
            f'{answered}; the node ended with exit code {node.returncode}. Its log above says why',
            result,
        )
    title, subtitle = 'A drive through the node', f'{args.model} on {drive}'
    answers = evaluation.answers(stamps, published)
    write_live_report(out / 'report.html', title, subtitle, evaluation, answers)
    write_json(out / 'report.json', result)
    latency, miou = result['latency_ms'], result['miou']
    print(
        f'{answered}; latency p50 {latency["p50"]:.0f} ms, p95 {latency["p95"]:.0f} ms'
        + ('' if miou is None else f'; mIoU {miou:.3f}')
    )
    print(f'Look at {out / "overlay.mp4"} and {out / "report.html"}')
    return result


def _prepare(args: argparse.Namespace, out: Path) -> tuple[Path, str]:
    """Return the bag to play and its image topic; what is no bag yet becomes one."""
    from tqdm import tqdm

    from ..bags.bag import image_topic
    from ..bags.writer import BagWriter
    from ..images import image_file, video_file

    bag = out / 'drive'
    if not args.drive:
        _write_streets(bag)
        return bag, IMAGES
    drive = Path(args.drive)
    frames: Iterable[Image]
    if drive.suffix.lower() in video_file.VIDEO_SUFFIXES:
        frames, rate = video_file.read_video(drive), video_file.video_rate(drive)
    elif drive.is_dir() and not (drive / 'metadata.yaml').exists():
        frames, rate = map(image_file.read_image, image_file.images_in(drive)), RATE
    else:
        return drive, image_topic(drive, args.topic)
    with BagWriter(bag, overwrite=True) as writer:
        for i, image in enumerate(tqdm(frames, 'reading the drive', unit='frame', disable=None)):
            stamp = round((i + 1) / rate * 1e9)
            writer.write_image(IMAGES, image, stamp, 'camera', 'rgb8')
    return bag, IMAGES


def _write_streets(bag: Path) -> None:
    """Write the real street, and after it a drawn one with its labels, as one drive."""
    from ..bags.writer import BagWriter
    from ..datasets.street_clip import RATE as CLIP_RATE
    from ..datasets.street_clip import street_clip
    from ..datasets.synthetic.sample_drive import SampleDrive
    from .sample_drive import add_drive

    start, step = 10**9, round(1e9 / CLIP_RATE)
    with BagWriter(bag, overwrite=True) as writer:
        for image in street_clip(SIZE):
            writer.write_image(IMAGES, image, start, 'camera', 'rgb8')
            start += step
        add_drive(writer, SampleDrive(seed=SEED, frames=FRAMES, size=SIZE, rate=RATE), start)


@contextmanager
def _node(args: argparse.Namespace, topic: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the node as a process of its own; end it as Ctrl-C would."""
    parameters = {
        'model': args.model,
        'device': args.device,
        'palette': args.palette,
        'transport': 'compressed' if topic.endswith('/compressed') else 'raw',
        'camera.image_topic': topic.removesuffix('/compressed'),
    }
    given = [text for name, value in parameters.items() for text in ('-p', f'{name}:={value}')]
    node = subprocess.Popen(
        [sys.executable, '-m', 'seg_ros.node.segmentation_node', '--ros-args', *given]
    )
    try:
        yield node
    finally:
        if node.poll() is None:
            node.send_signal(signal.SIGINT)
        try:
            node.wait(20)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()


def _play(
    bag: Path,
    topic: str,
    node: subprocess.Popen[bytes],
    evaluation: LiveEvaluation,
    labels: LabelSet,
    stamps: Sequence[int],
    out: Path,
) -> list[int]:
    """Play the bag in a process of its own and listen; return when each image was published."""
    from ..images.video_file import VideoWriter
    from ..replay.live.recorder import Recorder

    figures = out / 'player.json'
    command = [sys.executable, '-m', 'seg_ros', 'play', str(bag), '--topics', topic, '--times']
    command += ['--wait-for-subscribers', str(START_SECONDS), '--json', str(figures)]
    drawing = _Drawing(labels, stamps[0])
    writer = VideoWriter(out / 'overlay.mp4')
    with Recorder([MASKS, OVERLAYS]) as recorder, writer as video:
        player = subprocess.Popen(command)
        try:
            while node.poll() is None:
                frames = recorder.take(QUIET_SECONDS)
                for mask in frames[MASKS]:
                    evaluation.add_mask(mask.stamp, mask.received, mask.pixels)
                    drawing.add_mask(mask)
                for overlay in frames[OVERLAYS]:
                    image = overlay.pixels[..., ::-1]
                    evaluation.add_overlay(overlay.stamp, image)
                    drawing.add_overlay(overlay.stamp, image)
                over = not any(frames.values()) and player.poll() is not None
                for stamp, image in drawing.finished(over):
                    video.write(image, (stamp - stamps[0]) / 1e9)
                if over:
                    break
            else:
                raise CheckFailed(f'the node ended with exit code {node.returncode}, see above')
            if player.returncode:
                raise CheckFailed(
                    f'the player ended with exit code {player.returncode}, see above'
                )
        finally:
            player.kill()
            player.wait()
    times: list[int] = json.loads(figures.read_text())['published_ns'][topic]
    figures.unlink()
    return times


class _Drawing:
    """
    Draws the panel beside each overlay, with the class shares of its own mask.

    :param start: stamp of the drive's first image.
    """

    def __init__(self, labels: LabelSet, start: int) -> None:
        self._labels, self._start = labels, start
        self._panel: Panel | None = None
        self._shares: dict[int, list[float]] = {}
        self._overlays: deque[tuple[int, Image]] = deque()
        self._received: deque[int] = deque(maxlen=20)
        self._newest = 0

    def add_mask(self, mask: ReceivedFrame) -> None:
        import numpy as np

        pixels = np.bincount(mask.pixels.ravel(), minlength=len(self._labels))
        self._shares[mask.stamp] = (pixels / mask.pixels.size).tolist()
        self._received.append(mask.received)
        self._newest = max(self._newest, mask.stamp)

    def add_overlay(self, stamp: int, image: Image) -> None:
        """Add an overlay, RGB (H, W, 3); its mask may come before it or after it."""
        self._overlays.append((stamp, image.copy()))

    def finished(self, over: bool) -> Iterator[tuple[int, Image]]:
        """
        Yield stamp and picture of the overlays whose mask is here, in their order.

        Masks come in their order, so one that is missing when a later one is here was lost.

        :param over: whether no more masks will come.
        """
        while self._overlays and (over or self._overlays[0][0] <= self._newest):
            stamp, image = self._overlays.popleft()
            yield stamp, self._beside(image, stamp)

    def _beside(self, image: Image, stamp: int) -> Image:
        """Return an overlay with its panel; without shares, should its mask be lost."""
        import cv2

        from ..images.overlay import Panel

        self._panel = self._panel or Panel(self._labels, len(image))
        share = self._shares.pop(stamp, [0.0] * len(self._labels))
        seconds = (self._received[-1] - self._received[0]) / 1e9 if self._received else 0
        fps = (len(self._received) - 1) / seconds if seconds else None
        panel = self._panel.draw(share, fps, f'{(stamp - self._start) / 1e9:.1f} s')
        return cv2.hconcat([image, panel])
