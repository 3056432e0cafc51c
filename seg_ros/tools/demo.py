# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Play a drive through the node over DDS and show what comes back: video, report, figures."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
import json
from pathlib import Path
import signal
import subprocess
import sys
from typing import Any, TYPE_CHECKING

from . import CheckFailed

if TYPE_CHECKING:
    from ..evaluation.live import LiveEvaluation
    from ..inference.image_file import Image
    from ..inference.labels import LabelSet

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
    parser.add_argument('--drive', help='a bag, video or folder of images, not the sample drive')
    parser.add_argument('--topic', help='image topic of a bag that has several')
    parser.add_argument(
        '--model', default='bisenetv2_camvid', help="a shipped name or a checkpoint's path"
    )
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Start node, player and receiver, each a process; return what the receiver got.

    Writes ``overlay.mp4``, ``report.html`` and ``report.json`` into the folder.

    :raises CheckFailed: no mask came back, or a process failed.
    """
    from ..evaluation.bag import read_labels, read_stamps, topics
    from ..evaluation.live import LiveEvaluation
    from ..inference.checkpoint import find_checkpoint, load_checkpoint
    from ..inference.labels import CAMVID
    from ._result import write_json

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    labels = load_checkpoint(find_checkpoint(args.model)).labels
    bag, topic = _prepare(args, out)
    stamps = read_stamps(bag, topic)
    if not stamps:
        raise ValueError(f'{bag}: expected images on {topic}; found none')
    # The drive's ids are CamVid's: they say nothing of a network with other classes.
    scored = LABELS in topics(bag) and labels.names == CAMVID.names
    evaluation = LiveEvaluation(labels, stamps, read_labels(bag, LABELS) if scored else ())
    with _node(args, topic) as node:
        published = _play(bag, topic, node, evaluation, labels, _rate(stamps), out)
    drive = args.drive or f'sample drive, seed {SEED}'
    result = {'model': args.model, 'drive': drive, **evaluation.result(published)}
    answered = f'{result["frames_out"]} of {result["frames_in"]} frames answered'
    if not result['frames_out'] or node.returncode:
        raise CheckFailed(
            f'{answered}; the node ended with exit code {node.returncode}. Its log above says why',
            result,
        )
    evaluation.report(
        out / 'report.html', 'A drive through the node', f'{args.model} on {drive}', published
    )
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

    from ..evaluation.bag import BagWriter, image_topic
    from ..inference import image_file
    from .sample_drive import write_drive

    bag = out / 'drive'
    if not args.drive:
        write_drive(bag, seed=SEED, frames=FRAMES, size=SIZE, rate=RATE, overwrite=True)
        return bag, IMAGES
    drive = Path(args.drive)
    frames: Iterable[Image]
    if drive.suffix.lower() in image_file.VIDEO_SUFFIXES:
        frames, rate = image_file.read_video(drive), image_file.video_rate(drive)
    elif drive.is_dir() and not (drive / 'metadata.yaml').exists():
        frames, rate = map(image_file.read_image, image_file.images_in(drive)), RATE
    else:
        return drive, image_topic(drive, args.topic)
    with BagWriter(bag, overwrite=True) as writer:
        for i, image in enumerate(tqdm(frames, 'reading the drive', unit='frame')):
            stamp = round((i + 1) / rate * 1e9)
            writer.write_image(IMAGES, image, stamp, 'camera', 'rgb8')
    return bag, IMAGES


@contextmanager
def _node(args: argparse.Namespace, topic: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the node as a process of its own; end it as Ctrl-C would."""
    parameters = {
        'model': args.model,
        'device': args.device,
        'transport': 'compressed' if topic.endswith('/compressed') else 'raw',
        'camera.image_topic': topic.removesuffix('/compressed'),
    }
    given = [text for name, value in parameters.items() for text in ('-p', f'{name}:={value}')]
    node = subprocess.Popen(
        [sys.executable, '-m', 'seg_ros.nodes.segmentation_node', '--ros-args', *given]
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
    rate: float,
    out: Path,
) -> list[int]:
    """Play the bag in a process of its own and listen; return when each image was published."""
    from ..inference.image_file import VideoWriter
    from ..nodes.recorder import Recorder

    figures = out / 'player.json'
    command = [sys.executable, '-m', 'seg_ros', 'play', str(bag), '--topics', topic, '--times']
    command += ['--wait-for-subscribers', str(START_SECONDS), '--json', str(figures)]
    with Recorder([MASKS, OVERLAYS]) as recorder, VideoWriter(out / 'overlay.mp4', rate) as video:
        player = subprocess.Popen(command)
        try:
            while node.poll() is None:
                frames = recorder.take(QUIET_SECONDS)
                for mask in frames[MASKS]:
                    evaluation.add_mask(mask.stamp, mask.received, mask.pixels)
                for overlay in frames[OVERLAYS]:
                    image = overlay.pixels[..., ::-1]
                    evaluation.add_overlay(overlay.stamp, image)
                    video.write(_with_legend(image, labels))
                if not any(frames.values()) and player.poll() is not None:
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


def _rate(stamps: Sequence[int]) -> float:
    """Return the frames a second of a drive, so that its video plays as fast as it did."""
    seconds = (stamps[-1] - stamps[0]) / 1e9
    return (len(stamps) - 1) / seconds if seconds > 0 else RATE


def _with_legend(image: Image, labels: LabelSet) -> Image:
    import cv2

    from ..inference.overlay import legend

    return cv2.hconcat([image.copy(), legend(labels, len(image))])
