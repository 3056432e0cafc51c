# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Segment images, folders of images, or videos, and write labels and overlays."""

from __future__ import annotations

import argparse
from pathlib import Path
import time
from typing import Any, TYPE_CHECKING

from ._model import add_model_arguments, add_palette_argument, make_segmenter, used

if TYPE_CHECKING:
    from ..images.image_file import Image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='image, folder or video')
    parser.add_argument('--out', required=True, help='folder for what is written')
    parser.add_argument('--opacity', type=float, default=0.5, help='of the overlay, 0 to 1')
    parser.add_argument('--confidence-threshold', type=float, default=0.0,
                        help='below this probability a pixel is 255, unlabeled')  # fmt: skip
    add_palette_argument(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Write ``<stem>.png`` (ids, the input's size) and an overlay for each input.

    :raises ValueError: an input does not exist or is neither image, folder nor video, or two
        inputs have the same stem.
    """
    from tqdm import tqdm

    from ..images.image_file import read_image, write_image
    from ..images.overlay import overlay
    from ..images.palette import with_palette
    from ..images.video_file import read_video, video_rate, VideoWriter

    images, videos = _find(args.inputs)
    segmenter = make_segmenter(args)
    segmenter.warm_up()
    palette, out = with_palette(segmenter.labels, args.palette).palette, Path(args.out)
    frames, seconds = 0, 0.0

    def segment(image: Image) -> tuple[Image, Image]:
        nonlocal frames, seconds
        started = time.perf_counter()
        labels = segmenter.predict(image, confidence_threshold=args.confidence_threshold).labels
        seconds += time.perf_counter() - started
        frames += 1
        return labels, overlay(image, labels, palette, args.opacity)

    for path in tqdm(images, 'images', disable=not images or None):
        labels, picture = segment(read_image(path))
        write_image(out / f'{path.stem}.png', labels)
        write_image(out / f'{path.stem}_overlay.jpg', picture)
    for path in videos:
        with VideoWriter(out / f'{path.stem}_overlay.mp4', video_rate(path)) as writer:
            for image in tqdm(read_video(path), path.name, unit='frame', disable=None):
                writer.write(segment(image)[1])
    return {**used(segmenter), 'frames': frames, 'fps': frames / seconds if seconds else None}


def _find(inputs: list[str]) -> tuple[list[Path], list[Path]]:
    """Return the image and the video files that the inputs name."""
    from ..images.image_file import images_in
    from ..images.video_file import VIDEO_SUFFIXES

    images: list[Path] = []
    videos: list[Path] = []
    for path in map(Path, inputs):
        if path.is_dir():
            images += images_in(path)
        elif not path.is_file():
            raise ValueError(f'{path}: expected an image, a folder or a video; it does not exist')
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            videos.append(path)
        else:
            images.append(path)
    _check_stems(images + videos)
    return images, videos


def _check_stems(paths: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            raise ValueError(
                f'{path}: expected inputs of different names, as the results are named after '
                f'them; found {other} too. Write them to different folders'
            )
