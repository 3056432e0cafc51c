# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure latency, throughput, memory and power, beside what the machine could do at best.

engine: networks alone, from a uint8 image in host memory to uint8 labels there. node: what the
node adds to an empty relay of the same messages. end_to_end: image published to mask received,
between processes. cameras: several of them on one node. deadline: masks in time beside a load
that comes and goes, with `deadline_ms` and without. overload: ten times the images that the
node can answer; fails where masks get old, memory grows or an older image is answered. transport:
images between processes, with each profile. table: results written before, as one table.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
import re
import shlex
import sys
from typing import Any, TYPE_CHECKING

from ..inference import DEFAULT_MODEL
from . import CheckFailed

if TYPE_CHECKING:
    from ..benchmark.cases import Case
    from ..benchmark.rows import BenchmarkRow

BENCHMARKS = (
    'engine',
    'node',
    'end_to_end',
    'cameras',
    'deadline',
    'overload',
    'transport',
    'table',
)
CAMERA_SIZE = (480, 640)
PLOTS = ('.svg', '.png', '.pdf')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument('what', choices=BENCHMARKS, help='what to measure')
    parser.add_argument(
        'files', nargs='*', metavar='JSON', help='of table: written before with --json'
    )
    parser.add_argument(
        '--networks', nargs='+', default=[DEFAULT_MODEL], metavar='N',
        help='shipped names, paths, or untrained ones such as bisenetv2:head_width=1024, '
        'icnet:width=0.5,exit=sub4, pspnet50:width=0.5',
    )  # fmt: skip
    parser.add_argument(
        '--sizes', nargs='+', type=_size, metavar='WxH',
        help='of the images; 1024x512 by default for engine, several for node and transport',
    )  # fmt: skip
    parser.add_argument(
        '--input-size', type=_size, metavar='WxH',
        help="of what the network sees; by default engine's are the images' own, so that none is "
        "resized, and the node's are the checkpoint's",
    )  # fmt: skip
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    for name, choices in (
        (
            'backends',
            'auto, torch, openvino, onnxruntime, or one of its providers: onnxruntime:tensorrt',
        ),
        ('precisions', 'auto, fp32, bf16, fp16, int8'),
    ):
        parser.add_argument(f'--{name}', nargs='+', default=['auto'], metavar='X', help=choices)
    parser.add_argument(
        '--batches', nargs='+', type=_positive, default=[1], metavar='N', help='images a call'
    )
    parser.add_argument(
        '--cameras', nargs='+', type=_positive, metavar='N', help='of cameras: how many'
    )
    parser.add_argument(
        '--rounds', type=_positive, default=5, metavar='N', help='turns that each takes; 5'
    )
    parser.add_argument(
        '--deadline-ms', type=_positive, default=0, metavar='N',
        help='of deadline: how old a mask may be; by default three times what it is without load',
    )  # fmt: skip
    parser.add_argument(
        '--rate', type=_positive, default=0, metavar='N',
        help='of deadline: images a second; by default as many as deadlines follow each other',
    )  # fmt: skip
    parser.add_argument(
        '--seconds', type=_positive, default=120, metavar='N', help='of overload: how long; 120'
    )
    parser.add_argument(
        '--baseline', action='store_true', help='also how others run these networks, and ratios'
    )
    parser.add_argument('--branches', action='store_true', help="also each branch's time and cost")
    parser.add_argument('--eager', action='store_true', help='on a GPU also without CUDA graphs')
    parser.add_argument('--quick', action='store_true', help='neither throughput nor memory')
    parser.add_argument('--plot', metavar='PATH', help=f'draw the latencies ({", ".join(PLOTS)})')
    parser.add_argument('--report', metavar='PATH', help='write an HTML report to this file')
    parser.add_argument('--markdown', action='store_true', help='print the table as Markdown')


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, print a table, and return what was found."""
    from ..benchmark.benchmark_report import write_benchmark_report, write_plot
    from ..benchmark.rows import read, result

    _check(args)
    found: dict[str, Any]
    if args.what == 'table':
        results = [read(path) for path in args.files]
        for each in results:
            _show(each, args.markdown)
        rows = [row for each in results for row in each['results']]
        found = {**results[0], 'command': ' && '.join(each['command'] for each in results)}
        found['results'] = rows
        made = {**found, 'results': [vars(row) for row in rows]}
    else:
        rows, more = _engine(args) if args.what == 'engine' else _over_ros(args)
        given = (word for word in sys.argv[1:] if word != 'benchmark')
        command = shlex.join(['seg_ros', 'benchmark', *given])
        made = result(rows, command, **more)
        found = {**made, 'results': rows}
        _show(found, args.markdown)
    if args.plot:
        write_plot(args.plot, found)
    if args.report:
        write_benchmark_report(args.report, found)
    if missed := [each for trial in made.get('overloads', ()) for each in trial['missed']]:
        raise CheckFailed('; '.join(missed), made)
    return made


def _check(args: argparse.Namespace) -> None:
    """Say before the work what cannot come of it."""
    if bool(args.files) != (args.what == 'table'):
        raise ValueError(
            f'expected files after table and after nothing else; found {args.what} '
            f'{" ".join(args.files)}'.rstrip()
        )
    if args.plot and Path(args.plot).suffix not in PLOTS:
        raise ValueError(f'--plot: expected a file ending {", ".join(PLOTS)}; found {args.plot}')
    for option in ('plot', 'report'):
        path = getattr(args, option)
        if path and not Path(path).absolute().parent.is_dir():
            raise ValueError(f'--{option}: expected a file in a folder that exists; found {path}')


def _engine(args: argparse.Namespace) -> tuple[list[BenchmarkRow], dict[str, Any]]:
    """Return rows of networks, and what else belongs to the result."""
    from tqdm import tqdm

    from ..benchmark.cases import with_baselines
    from ..benchmark.engine_benchmark import measure

    cases = _cases(args)
    if args.baseline:
        cases = with_baselines(cases)
    with tqdm(total=len(cases) * (1 + args.rounds), unit='turn', disable=None) as bar:

        def advance(what: str) -> None:
            bar.set_description(what)
            bar.update()

        rows, left_out, peak = measure(
            cases,
            rounds=args.rounds,
            throughput=not args.quick,
            memory=not args.quick,
            advance=advance,
        )
    for case, why in left_out.items():
        print(f'left out: {case}: {why}', file=sys.stderr)
    more: dict[str, Any] = {'peak': peak, 'left_out': left_out}
    if args.branches:
        more['branches'] = _branches(cases, rows, peak, args.rounds)
    return rows, more


def _cases(args: argparse.Namespace) -> list[Case]:
    from ..benchmark.cases import Case
    from ..inference.segmenter import choose_device

    eager = args.eager and choose_device(args.device) != 'cpu'
    inputs = args.input_size and args.input_size[::-1]
    return [
        Case(
            network, inputs or (h, w), (h, w), args.device, backend, precision, batch,
            graphs=graphs,
        )
        for w, h in args.sizes or [(1024, 512)]
        for network in args.networks
        for backend in args.backends
        for precision in args.precisions
        for batch in args.batches
        for graphs in ((True, False) if eager else (True,))
    ]  # fmt: skip


def _branches(
    cases: Sequence[Case], rows: Sequence[BenchmarkRow], peak: Mapping[str, Any], rounds: int
) -> list[dict[str, Any]]:
    """Return what the branches take, of each network, size and precision once."""
    from tqdm import tqdm

    from ..benchmark.baselines import baseline_network
    from ..benchmark.branch_times import branch_rows, BranchTimes

    wanted = dict.fromkeys(
        (row.network, tuple(row.input_size), row.device, row.precision)
        for row in rows
        if row.benchmark in ('engine', 'baseline') and row.precision != 'int8'
    )
    timed = [
        (name, size, BranchTimes(baseline_network(name, size).network, size, device, precision))
        for name, size, device, precision in tqdm(
            wanted, 'loading branches', unit='network', disable=None
        )
    ]
    for _ in tqdm(range(rounds), 'timing branches', unit='turn', disable=None):
        for _, _, times in timed:
            times.run()
    return [row for name, size, times in timed for row in branch_rows(times, name, size, peak)]


def _over_ros(args: argparse.Namespace) -> tuple[list[BenchmarkRow], dict[str, Any]]:
    """Return rows of what needs ROS, and what else belongs to the result."""
    from tqdm import tqdm

    from ..benchmark.live import live_rows as probe
    from ..benchmark.rows import BenchmarkRow
    from ..datasets.synthetic.sample_drive import SampleDrive

    picture, labels = SampleDrive(frames=1)[0]
    sizes = [(h, w) for w, h in args.sizes or ()]
    chosen: dict[str, Any] = {'sizes': sizes} if sizes else {}
    if args.what == 'transport':
        return [BenchmarkRow(**row) for row in probe.transport_rows(labels, **chosen)], {}
    measure = {'node': probe.node_rows, 'end_to_end': probe.end_to_end_rows}
    rows: list[dict[str, Any]] = []
    trials = []
    ways = list(product(args.networks, args.backends, args.precisions))
    for network, backend, precision in tqdm(ways, args.what, unit='node', disable=None):
        given: dict[str, Any] = {
            'device': args.device, 'backend': backend, 'precision': precision,
        }  # fmt: skip
        if args.input_size:
            given |= dict(zip(('input_width', 'input_height'), args.input_size))
        settings: dict[str, Any] = {'model': network, 'parameters': given}
        if args.what == 'cameras':
            if args.cameras:
                settings['counts'] = args.cameras
            for size in sizes or [CAMERA_SIZE]:
                rows += probe.camera_rows(picture, size=size, **settings)
        elif args.what == 'deadline':
            for size in sizes or [CAMERA_SIZE]:
                both, trial = probe.deadline_rows(
                    picture, size=size, deadline_ms=args.deadline_ms, rate=args.rate,
                    rounds=args.rounds, **settings,
                )  # fmt: skip
                rows += both
                trials.append(trial)
        elif args.what == 'overload':
            for size in sizes or [CAMERA_SIZE]:
                row, trial = probe.overload_rows(
                    picture, size=size, seconds=args.seconds, **settings
                )
                rows += row
                trials.append(trial)
        else:
            rows += measure[args.what](picture, **chosen, **settings)
    return [BenchmarkRow(**row) for row in rows], {f'{args.what}s': trials} if trials else {}


def _show(found: Mapping[str, Any], markdown: bool) -> None:
    """Print a result's tables."""
    from ..benchmark.benchmark_report import branch_table, machine_line, table
    from ..reports.text_table import as_markdown, as_text

    form = as_markdown if markdown else as_text
    command = f'`{found["command"]}`' if markdown else found['command']
    print(f'{command}\n\n{machine_line(found)}\n\n{form(table(found["results"]))}\n')
    if branches := found.get('branches'):
        print(f'{form(branch_table(branches))}\n')


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'expected WIDTHxHEIGHT, as in 1024x512; found {text}')
    return int(match[1]), int(match[2])


def _positive(text: str) -> int:
    if not re.fullmatch(r'[1-9]\d*', text):
        raise argparse.ArgumentTypeError(f'expected a number from 1 on; found {text}')
    return int(text)
