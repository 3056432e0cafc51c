# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run recordings through a network, every frame in its order, and score what comes out.

BAG is a rosbag2 (sqlite3, mcap), a ROS 1 bag, a folder of bags, or a .txt file with one a line.
`--jobs N` shares many bags among N processes, `python -m torch.distributed.run ... -m seg_ros
replay ...` among machines.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any, TYPE_CHECKING

from . import CheckFailed
from ._model import add_model_arguments, add_palette_argument, make_segmenter, used
from ._result import plain

if TYPE_CHECKING:
    from ..images.labels import LabelSet
    from ..replay.drive_scores import DriveScores
    from ..replay.offline import ReplaySettings

LABEL_IDS = ('auto', 'train', 'camvid', 'cityscapes', 'coco_stuff')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('bags', nargs='+', metavar='BAG', help='bag, folder of bags, or list')
    parser.add_argument(
        '--topic', action='append', default=[], metavar='T',
        help='image topic, raw or compressed; may be left out where there is one, and given '
        'again for each further camera',
    )  # fmt: skip
    parser.add_argument(
        '--labels', action='append', default=[], metavar='T_OR_DIR',
        help='ground truth: a topic of mono8 images, or a folder of PNGs; given again for each '
        'further --topic, in their order',
    )  # fmt: skip
    parser.add_argument(
        '--label-ids', choices=LABEL_IDS, default='auto',
        help="what ids the labels hold: the network's own (train), or those of a data set's "
        'files; auto takes what the bag notes, as a sample drive does, else camvid for a network '
        'of the classes of CamVid, and train for all others',
    )  # fmt: skip
    parser.add_argument(
        '--out', metavar='BAG2',
        help='write a bag with masks, confidence and overlays beside all that was recorded; of '
        'several bags a folder with one for each',
    )  # fmt: skip
    parser.add_argument(
        '--video', metavar='MP4', help='write a video of the overlay; of several bags a folder'
    )
    parser.add_argument('--report', metavar='HTML', help='write a report to this file')
    parser.add_argument('--overwrite', action='store_true', help='replace bags of those names')
    parser.add_argument('--opacity', type=float, default=0.5, help='of the overlay, 0 to 1')
    parser.add_argument('--confidence-threshold', type=float, default=0.0,
                        help='below this probability a pixel is 255, unlabeled')  # fmt: skip
    parser.add_argument('--jobs', type=int, default=1, help='processes, for many bags')
    gate = parser.add_argument_group('a gate: exit code 1 if a score is worse than it was')
    gate.add_argument('--baseline', metavar='JSON', help='the --json of an earlier replay')
    gate.add_argument('--max-miou-drop', type=float, default=0.01, help='allowed; 0.01 by default')
    gate.add_argument(
        '--max-flicker-rise', type=float, default=0.01, help='allowed; 0.01 by default'
    )
    gate.add_argument(
        '--max-latency-rise', type=float, default=0.25,
        help='allowed share by which the median latency grows, measured against the reference '
        'run of the same process; 0.25 by default',
    )  # fmt: skip
    add_palette_argument(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """
    Print and return the scores; None in all processes but the first.

    :raises CheckFailed: a bag or a frame was damaged, or a score is worse than the baseline's.
    """
    from ..inference.segmenter import choose_device
    from ..metrics.process_group import process_group
    from ..replay.fleet import find_bags
    from ..reports.comparison import check_kind, read_result, REPLAY

    _check(args)
    bags = find_bags(args.bags)
    baseline = None
    if args.baseline:
        baseline = read_result(args.baseline)
        check_kind(baseline, args.baseline, REPLAY, 'replay')
    # The longest drive may keep the others waiting.
    with process_group(choose_device(args.device), timedelta(days=7)) as args.device:
        return _replay(args, bags, baseline)


def _check(args: argparse.Namespace) -> None:
    """Refuse what can be known to fail before the work, not after it."""
    if args.jobs < 1:
        raise ValueError(f'--jobs: expected 1 or more; found {args.jobs}')
    for name in ('opacity', 'confidence_threshold'):
        if not 0 <= getattr(args, name) <= 1:
            option = name.replace('_', '-')
            raise ValueError(f'--{option}: expected 0 to 1; found {getattr(args, name)}')
    for name in ('miou_drop', 'flicker_rise', 'latency_rise'):
        if not getattr(args, f'max_{name}') >= 0:  # nan is none either
            option = f'--max-{name.replace("_", "-")}'
            found = getattr(args, f'max_{name}')
            raise ValueError(f'{option}: expected 0 or more, what may get worse; found {found}')
    if args.baseline and args.json and Path(args.baseline).resolve() == Path(args.json).resolve():
        raise ValueError(
            f'--json: expected another file than the baseline, which would be lost; found '
            f'{args.json}'
        )
    if args.report and Path(args.report).is_dir():
        raise ValueError(f'--report: expected a file to write; found the folder {args.report}')


def _replay(
    args: argparse.Namespace, bags: Sequence[Path], baseline: dict[str, Any] | None
) -> dict[str, Any] | None:
    from ..images.palette import with_palette
    from ..metrics.process_group import rank
    from ..replay.drive_scores import result
    from ..replay.fleet import replay_all

    segmenter = make_segmenter(args)
    drawn = with_palette(segmenter.labels, args.palette)
    jobs = [*zip(bags, _settings(args, bags, drawn))]
    if args.jobs == 1 or len(jobs) == 1:
        drives = replay_all(lambda: segmenter, jobs)
    else:
        drives = replay_all(partial(make_segmenter, args), jobs, args.jobs)
    if rank() > 0:
        return None
    troubles = [
        drive.error if drive.bag in drive.error else f'{drive.bag}: {drive.error}'
        for drive in drives
        if drive.error
    ]
    if not any(drive.cameras for drive in drives):
        raise ValueError('\n'.join(troubles))
    made = {'palette': args.palette, 'confidence_image': bool(args.out)}
    scores = {**used(segmenter), **made, **result(drives)}
    if args.report:
        _report(args, drives, drawn, scores)
    _show(scores, drives)
    if baseline is not None:
        troubles += _compare(args, baseline, scores)
    if troubles:
        raise CheckFailed('\n'.join(troubles), scores)
    return scores


def _settings(
    args: argparse.Namespace, bags: Sequence[Path], drawn: LabelSet
) -> list[ReplaySettings]:
    """Return what to do with each bag. Of several, each has its own bag and video."""
    from ..replay.drive_outputs import OutputChoice
    from ..replay.offline import ReplaySettings

    out, video = (Path(path) if path else None for path in (args.out, args.video))
    stems = [bag.name if bag.is_dir() else bag.stem for bag in bags]
    if len(set(stems)) < len(stems) and (out or video):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise ValueError(
            f'expected bags of different names, as what is written is named after them; found '
            f'{twice} more often. Replay these apart from each other'
        )
    several = len(bags) > 1
    return [
        ReplaySettings(
            topics=args.topic,
            labels=args.labels,
            ids=args.label_ids,
            outputs=OutputChoice(
                out / stem if out and several else out,
                video / f'{stem}.mp4' if video and several else video,
                drawn,
                args.opacity,
                args.overwrite,
            ),
            confidence_threshold=args.confidence_threshold,
            pictures=bool(args.report),
            progress=args.jobs == 1 or not several,
        )
        for stem in stems
    ]


def _report(
    args: argparse.Namespace,
    drives: Sequence[DriveScores],
    drawn: LabelSet,
    scores: dict[str, Any],
) -> None:
    from ..replay.drive_report import write_drive_report

    height, width = scores['input_size']
    settings = {
        'network': scores['model'],
        'input': f'{width}x{height}',
        'computed in': f'{scores["precision"]} on {scores["device"]}',
        'bag': ' '.join(args.bags),
        'image topics': ', '.join(
            topic for drive in scores['drives'] for topic in drive['cameras']
        )
        if len(drives) == 1
        else ' '.join(args.topic),
        'ground truth': ' '.join(args.labels),
        'confidence threshold': f'{args.confidence_threshold:g}',
    }
    what = Path(drives[0].bag).name if len(drives) == 1 else f'{len(drives)} drives'
    write_drive_report(
        args.report,
        f'{args.model} on {what}',
        f'{width}x{height}, {scores["precision"]} on {scores["device"]}',
        drives,
        drawn,
        [(name, text) for name, text in settings.items() if text],
    )


def _show(scores: dict[str, Any], drives: Sequence[DriveScores]) -> None:
    """Print what a reader looks for first."""
    for drive in drives:
        for topic in drive.left_out:
            print(f'{drive.bag}: {topic} is not in the copy: nothing defines its type')
        for camera in drive.cameras:
            if camera.unmatched:
                print(f'{drive.bag}: {camera.unmatched} labels have the stamp of no image')
    for name, iou in (scores['iou'] or {}).items():
        print(f'{name:<16}{_figure(iou)}')
    named = {'miou': 'mIoU', 'flicker': 'flicker', 'confidence': 'confidence'}
    print(', '.join(f'{text} {_figure(scores[name])}' for name, text in named.items()))
    times = ', '.join(f'{name} {ms:.1f} ms' for name, ms in scores['latency_ms'].items())
    frames = f'{scores["frames_out"]} of {scores["frames_in"]} frames'
    print(f'{frames}: {times}, {scores["fps"]:.1f} frames/s')


def _figure(value: float | None) -> str:
    return 'none' if value is None or isnan(value) else f'{value:.4f}'


def _compare(
    args: argparse.Namespace, baseline: dict[str, Any], scores: dict[str, Any]
) -> list[str]:
    """Hold the scores against the baseline's; print what moved, return what got worse."""
    from ..reports.comparison import Limits, regressions, table

    limits = Limits(args.max_miou_drop, args.max_flicker_rise, args.max_latency_rise)
    try:
        changes = regressions(baseline, plain(scores), limits, args.baseline)
    except ValueError as error:
        return [str(error)]  # after the work nothing of it is thrown away
    print(table(changes))
    scores['regression'] = [change._asdict() for change in changes]
    return [
        f'{change.measure}: expected a change of {change.limit:+g} at the worst from '
        f'{change.old:.4f}; found {change.new:.4f}'
        for change in changes
        if change.regression
    ]
