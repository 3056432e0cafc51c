# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Make a checkpoint of another project's weights; it gives the same logits.

Supported are BiSeNetV2 of CoinCheung/BiSeNet, mmsegmentation and PaddleSeg, and ICNet of
mmsegmentation and liminn/ICNet-pytorch; doc/weights.md lists the public files. Every tensor
must find its place; what our network does without is named, with the reason.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from ..images.labels import LabelSet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('file', metavar='FILE', help='.pth, .pt, .pdparams or .safetensors')
    parser.add_argument(
        '--out', required=True, metavar='NEW', help='the checkpoint to write, *.safetensors'
    )
    parser.add_argument(
        '--project', default='',
        help='coincheung, mmsegmentation, paddleseg or liminn; by default the names of the '
        'tensors tell',
    )  # fmt: skip
    parser.add_argument(
        '--classes', metavar='NAME or TABLE',
        help='cityscapes, coco_stuff, camvid, camvid32, or a table as of folder data sets '
        '(classes.csv: id,name,red,green,blue); by default those that the file names, or the '
        'public data set of so many',
    )  # fmt: skip
    size = "of the network's input; 0 is what the project evaluates at"
    parser.add_argument('--input-height', type=int, default=0, help=size)
    parser.add_argument('--input-width', type=int, default=0, help=size)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """
    Write the checkpoint; print and return what was made of what.

    :raises ValueError: the file is damaged, another network's or of other classes, or the output
        is no file to write.
    """
    from ..inference.checkpoint import save_checkpoint, SUFFIX
    from ..interop.importers.import_file import import_network

    target = Path(args.out)
    if target.suffix != SUFFIX or target.is_dir():
        raise ValueError(f'--out: expected a file to write, NEW{SUFFIX}; found {target}')
    if target.exists() and Path(args.file).exists() and target.samefile(args.file):
        raise ValueError(f'--out: expected another file than the one to import; found {target}')
    if min(args.input_height, args.input_width) < 0:
        raise ValueError(
            'expected an input height and width of 0 or more; found '
            f'{args.input_height} and {args.input_width}'
        )
    labels = _labels(args.classes) if args.classes else None
    checkpoint, importer, left_out, classes = import_network(args.file, args.project, labels)
    height, width = checkpoint.input_size
    checkpoint.input_size = args.input_height or height, args.input_width or width
    save_checkpoint(target, checkpoint)
    parameters = sum(p.numel() for p in checkpoint.network.parameters())
    height, width = checkpoint.input_size
    print(
        f'{target}: {importer.network} of {importer.project}, {parameters / 1e6:.2f} M '
        f'parameters, {len(checkpoint.labels)} classes, {width}x{height}'
    )
    print(f'  classes: {classes}')
    for name, reason in left_out.items():
        print(f'  left out {name}: {reason}')
    print(
        f'  its terms are those of {importer.url} and of the data it was trained on\n'
        f'  next: seg_ros evaluate --model {target} ...; for 8 bits seg_ros calibrate {target} ...'
    )
    return {
        'file': args.file,
        'project': importer.project,
        'checkpoint': target,
        'architecture': checkpoint.architecture,
        'classes': checkpoint.labels.names,
        'input_size': checkpoint.input_size,
        'parameters': parameters,
        'left_out': left_out,
        'training': checkpoint.training,
    }


def _labels(name: str) -> LabelSet:
    from ..datasets.folder import read_classes
    from ..images.labels import CAMVID, CAMVID32, CITYSCAPES, COCO_STUFF

    known = {
        'cityscapes': CITYSCAPES,
        'coco_stuff': COCO_STUFF,
        'camvid': CAMVID,
        'camvid32': CAMVID32,
    }
    if name in known:
        return known[name]
    if not Path(name).is_file():
        raise ValueError(
            f'--classes: expected {", ".join(known)} or a table of classes; found {name!r}, '
            'which is neither. Write one with the columns id,name (doc/own_data_set.md)'
        )
    return read_classes(Path(name))[0]
