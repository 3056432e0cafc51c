# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Prepare a network for 8 bits: measure its activations on images such as it will meet.

The engines that compute in int8 (OpenVINO, ONNX Runtime, TensorRT) need these ranges. The new
checkpoint is the old one with them, and gives the same results as before in other precisions.
Labels are not needed; what 8 bits cost is measured on images that were not calibrated with.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ..images.image_file import Image
    from ..inference.checkpoint import Checkpoint
    from ..inference.deployed import Deployed

    Read = Callable[[], Image]

HELD_OUT = 5
"""One of so many images tells what 8 bits cost; the others tell the ranges."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('model', metavar='CHECKPOINT', help="a shipped name or a file's path")
    parser.add_argument('inputs', nargs='+', metavar='IMAGES', help='image, folder or bag')
    parser.add_argument(
        '--out', required=True, metavar='NEW', help='the checkpoint to write, *.safetensors'
    )
    parser.add_argument('--topic', help='image topic of the bags; may be left out if there is one')
    parser.add_argument(
        '--images', type=int, default=40,
        help='how many to use at most, evenly spread over all; a fifth of them is held out to '
        'measure the cost; 40 by default',
    )  # fmt: skip


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Write the checkpoint with ranges; print and return what 8 bits cost.

    :raises ValueError: an input cannot be read, there are fewer than two images, or the new
        checkpoint would overwrite the old one.
    """
    import torch
    from tqdm import tqdm

    from ..inference.checkpoint import add_ranges, find_checkpoint, load_checkpoint
    from ..inference.deployed import Deployed
    from ..inference.preprocessing import resize
    from ..inference.quantization import calibrate, quantize

    source, target = find_checkpoint(args.model), Path(args.out)
    _check(args, source, target)
    checkpoint = load_checkpoint(source)
    batches = [
        # Copied, as PyTorch takes neither read-only memory nor views that run backwards.
        resize(torch.from_numpy(image.copy()).unsqueeze(0), checkpoint.input_size)
        for image in _chosen(args)
    ]
    if len(batches) < 2:
        raise ValueError(
            'expected two images or more, as one must be held out to measure the cost; found '
            f'{len(batches)}. Name more images, a folder or a bag'
        )
    # The first one is always seen, and of two the second held out.
    held_out = batches[1::HELD_OUT]
    seen = [batch for i, batch in enumerate(batches) if i % HELD_OUT != 1]
    ranges = calibrate(checkpoint, tqdm(seen, 'calibrating', unit='image', disable=None))
    cost = _compare(checkpoint, quantize(Deployed(checkpoint), ranges), held_out)
    add_ranges(source, target, ranges)
    confidence = cost['mean_confidence']
    print(
        f'{target}: {len(ranges)} convolutions, measured on {len(seen)} images\n'
        f'on {len(held_out)} others {cost["same_labels"]:.2%} of the pixels keep their label; '
        f'mean confidence {confidence["fp32"]:.3f} in float32, {confidence["int8"]:.3f} in int8'
    )
    return {
        'model': args.model,
        'checkpoint': target,
        'input_size': checkpoint.input_size,
        'images': len(seen),
        'held_out': len(held_out),
        **cost,
        'activation_ranges': ranges,
    }


def _check(args: argparse.Namespace, source: Path, target: Path) -> None:
    """Refuse what can be known to fail before the work, not after it."""
    from ..inference.checkpoint import SUFFIX

    if target.suffix != SUFFIX or target.is_dir():
        raise ValueError(f'--out: expected a file to write, NEW{SUFFIX}; found {target}')
    if target.exists() and target.samefile(source):
        raise ValueError(
            f'--out: expected another file than the checkpoint itself; found {target}. Choose a '
            'new name'
        )
    if args.images < 2:
        raise ValueError(f'--images: expected 2 or more; found {args.images}')


def _chosen(args: argparse.Namespace) -> list[Image]:
    """Return images, evenly spread over all that the inputs hold."""
    sources = [source for path in map(Path, args.inputs) for source in _sources(path, args.topic)]
    total = sum(count for count, _ in sources)
    count = min(args.images, total)
    wanted = {i * total // count for i in range(count)}
    readers = chain.from_iterable(images for _, images in sources)
    return [read() for i, read in enumerate(readers) if i in wanted]


def _sources(path: Path, topic: str | None) -> Iterator[tuple[int, Iterable[Read]]]:
    """Yield how many images an image, a folder or a bag holds, and what reads each."""
    from ..images.image_file import IMAGE_SUFFIXES, images_in, read_image
    from ..replay.fleet import find_bags

    if not path.exists():
        raise ValueError(f'{path}: expected an image, a folder or a bag; it does not exist')
    if path.is_dir() and any(child.suffix.lower() in IMAGE_SUFFIXES for child in path.iterdir()):
        files = images_in(path)
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        files = [path]
    else:
        for bag in find_bags([str(path)]):
            yield _image_count(bag, topic), _of_bag(bag, topic)
        return
    yield len(files), [partial(read_image, file) for file in files]


def _image_count(path: Path, topic: str | None) -> int:
    from ..bags.bag import Bag

    with Bag(path) as bag:
        return bag.counts[bag.image_topics([topic] if topic else [])[0]]


def _of_bag(path: Path, topic: str | None) -> Iterator[Read]:
    from ..bags.bag import Bag, BagError, Message

    def decode(message: Message) -> Image:
        return bag.to_rgb(message)[2]

    with Bag(path) as bag:
        for message in bag.messages(bag.image_topics([topic] if topic else [])):
            yield partial(decode, message)
        if bag.damage:
            raise BagError(bag.damage)


def _compare(checkpoint: Checkpoint, quantized: Deployed, batches: list[Tensor]) -> dict[str, Any]:
    """Return how the quantised network's results differ from the network's own."""
    import torch
    from tqdm import tqdm

    from ..inference.deployed import Deployed

    networks = {'fp32': Deployed(checkpoint), 'int8': quantized}
    same, confidence = 0.0, dict.fromkeys(networks, 0.0)
    with torch.inference_mode():
        for pixels in tqdm(batches, 'comparing', unit='image', disable=None):
            labels = []
            for name, network in networks.items():
                logits = network(pixels)
                confidence[name] += float(logits.softmax(1).amax(1).mean()) / len(batches)
                # Of the two, PyTorch computes max several times faster than argmax on a CPU.
                upsampled = checkpoint.network.upsample(logits, tuple(pixels.shape[1:3]))
                labels.append(upsampled.max(1).indices)
            same += float((labels[0] == labels[1]).float().mean()) / len(batches)
    return {'same_labels': same, 'mean_confidence': confidence}
