# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write a synthetic drive with exact labels as a rosbag2, where no recorded one is at hand."""

from __future__ import annotations

import argparse
from pathlib import Path
import re
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from ..bags.writer import BagWriter
    from ..datasets.synthetic.sample_drive import SampleDrive

FRAME_ID = 'camera'
IMAGES, INFO, LABELS = '/camera/image_raw', '/camera/camera_info', '/camera/labels'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('--out', required=True, metavar='BAG', help='folder of the bag to write')
    parser.add_argument('--seed', type=int, default=0, help='another seed, another street')
    parser.add_argument('--frames', type=int, default=300, metavar='N', help='how many')
    parser.add_argument(
        '--size', type=_size, default=(640, 360), metavar='WxH', help='in pixels, as in 640x360'
    )
    parser.add_argument('--rate', type=float, default=10.0, metavar='HZ', help='frames a second')
    parser.add_argument('--overwrite', action='store_true', help='replace a bag of that name')


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write the bag; return what is in it, and each class's share of the pixels."""
    result = write_drive(
        args.out,
        seed=args.seed,
        frames=args.frames,
        size=args.size,
        rate=args.rate,
        overwrite=args.overwrite,
    )
    for name, share in result['share'].items():
        print(f'{name:<12}{share:8.4f}')
    print(f'{result["frames"]} frames in {result["bag"]}')
    return result


def write_drive(
    bag: str | Path,
    *,
    seed: int = 0,
    frames: int = 300,
    size: tuple[int, int] = (640, 360),
    rate: float = 10.0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """
    Write images (bgr8), camera_info and labels (mono8, CamVid's ids) of a drive.

    :raises ValueError: such a drive cannot be drawn, or the bag's name is taken.
    """
    from ..bags.writer import BagWriter
    from ..datasets.synthetic.sample_drive import SampleDrive

    drive = SampleDrive(seed=seed, frames=frames, size=size, rate=rate)
    with BagWriter(bag, overwrite=overwrite) as writer:
        share = add_drive(writer, drive)
    return {
        'bag': str(bag),
        'frames': len(drive),
        'size': list(size),
        'seed': seed,
        'rate': rate,
        'share': share,
    }


def add_drive(writer: BagWriter, drive: SampleDrive, start: int = 10**9) -> dict[str, float]:
    """
    Write a drive's messages, see :func:`write_drive`, into a bag that is being written.

    :param start: stamp of the first, in nanoseconds; 0 means none to some.
    :returns: the share of all pixels that each class has.
    """
    import numpy as np
    from tqdm import tqdm

    counts = np.zeros(256, np.int64)
    writer.note_label_ids('camvid')
    for index in tqdm(range(len(drive)), 'drawing the drive', unit='frame', disable=None):
        image, labels = drive[index]
        stamp = start + round(index * 1e9 / drive.rate)
        writer.write_image(IMAGES, image[..., ::-1], stamp, FRAME_ID, 'bgr8')
        writer.write_camera_info(INFO, drive.camera_matrix, drive.size, stamp, FRAME_ID)
        writer.write_image(LABELS, labels, stamp, FRAME_ID, 'mono8')
        counts += np.bincount(labels.ravel(), minlength=256)
    share = counts[: len(drive.labels)] / counts.sum()
    return dict(zip(drive.labels.names, share.tolist()))


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r'(\d+)x(\d+)', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'expected WIDTHxHEIGHT, as in 640x360; found {text}')
    return int(match[1]), int(match[2])
