# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Benchmarks of the node from other processes: the time of DDS, and what the node adds to it.

Each function starts the processes that it needs, ends them, and returns the fields of
:class:`~seg_ros.benchmark.rows.BenchmarkRow`. Sizes are (height, width). The processes use the
environment's ROS_DOMAIN_ID, and cannot be heard beyond this computer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from ...images.image_file import encode_image
from ...images.image_file import Image as Array
from ...images.run_length import encode
from ...inference import DEFAULT_MODEL
from .deadline_benchmark import DeadlineBenchmark
from .measurements import BOTH, Fleet, known, median, one_way, raw, Size, Times, transports, Turns
from .overload_benchmark import overload

Row = dict[str, Any]

DEFAULT = 'default DDS'
SIZES: tuple[Size, ...] = ((360, 480), (720, 1280), (1080, 1920), (1024, 2048))


def transport_rows(
    labels: Array,
    sizes: Sequence[Size] = SIZES,
    *,
    chosen: Sequence[str] = (),
    frames: int = 40,
    rate: float = 10.0,
    reliability: str = 'reliable',
) -> list[Row]:
    """
    Measure how long a message takes from one rclpy process to another with each transport.

    Messages are bgr8 images of each size, and masks of the largest size (mono8, PNG, run-length).
    With the profile on both sides they are sent a second time between processes that give freed
    memory back to the system, as rclpy's do by default (:mod:`...node.malloc`).

    :param labels: a real mask, uint8 (H, W); resized to the largest size.
    :param chosen: names of :func:`.measurements.transports`; all by default.
    :param frames: the number of messages of each kind.
    :param rate: messages per second.
    :param reliability: reliable or best_effort, on both sides.
    :returns: a row for each transport and message. ``ratio`` compares with default DDS; None if
        that was not chosen or no message came.
    """
    contents = {(f'bgr8 {w}x{h}', (h, w)): raw(np.zeros((h, w, 3), np.uint8)) for h, w in sizes}
    largest = max(sizes, key=lambda size: size[0] * size[1])
    mask = cv2.resize(labels, largest[::-1], interpolation=cv2.INTER_NEAREST)
    png = {'format': 'mono8; png compressed ', 'data': bytes(encode_image(mask, '.png'))}
    contents['mask, mono8', largest] = raw(mask)
    contents['mask, PNG', largest] = png
    contents['mask, run-length', largest] = raw(mask) | {'data': encode(mask).tobytes()}
    base: dict[str, float] = {}
    rows = []
    for name in chosen or transports():
        for keep in (True, False) if name == BOTH else (True,):
            found = one_way(
                list(contents.values()), name,
                keep=keep, frames=frames, rate=rate, reliability=reliability,
            )  # fmt: skip
            for (message, size), content, times in zip(contents, contents.values(), found):
                if name == DEFAULT and known(times):
                    base[message] = median(times)
                compared = known(times) and message in base
                rows.append(
                    _row(
                        'transport',
                        times,
                        image_size=list(size),
                        inside='publish to callback, one way between two rclpy processes',
                        baseline=DEFAULT if compared else '',
                        ratio=median(times) / base[message] if compared else None,
                        notes=f'{message}; {name}{"" if keep else ", memory given back"}; '
                        f'{reliability}; {len(content["data"])} bytes; {_arrived(times)}',
                    )
                )
    return rows


def end_to_end_rows(
    picture: Array,
    sizes: Sequence[Size] = ((1024, 2048),),
    *,
    model: str = DEFAULT_MODEL,
    parameters: Mapping[str, Any] | None = None,
    chosen: Sequence[str] = (DEFAULT, BOTH),
    frames: int = 40,
) -> list[Row]:
    """
    Measure the time from an image's publication until another process has received its mask.

    The node, an empty relay of the same messages and the engine alone take turns of ten frames
    each. An image is published shortly after the mask of the previous one arrived.

    :param picture: the image, uint8 RGB (H, W, 3), resized to each size.
    :param model: a shipped network's name, or a checkpoint's path.
    :param parameters: parameters of the node: `input_height`, `input_width`, `device`, `backend`,
        `precision`; they also hold for the engine alone.
    :param chosen: names of :func:`.measurements.transports`. Their publisher is the process of
        camera and receiver, their subscriber the node.
    :param frames: the number of frames of each.
    :returns: rows of node, relay and engine for each transport and size. The node's ``ratio``
        compares its median with the sum of the medians of relay and engine.
    """
    rows = []
    for name in chosen:
        for size in sizes:
            turns = Turns(picture, size, name, model, parameters or {}, frames)
            more = median(turns.node) - turns.floor
            rows += [
                _row(
                    'end_to_end',
                    turns.node,
                    **turns.network,
                    inside='image published to mask received in another process',
                    memory_mb=turns.memory_mb,
                    baseline='relay + engine',
                    ratio=median(turns.node) / turns.floor,
                    notes=f'{name}; {more:.1f} ms more than relay + engine; '
                    f'{_arrived(turns.node)}',
                ),
                _row(
                    'end_to_end',
                    turns.relay,
                    image_size=list(size),
                    inside='the same through an empty relay of the same messages',
                    notes=f'{name}; {_arrived(turns.relay)}',
                ),
                _row(
                    'end_to_end',
                    turns.engine,
                    **turns.network,
                    inside='engine alone in a process, uint8 image to uint8 labels',
                    notes=name,
                ),
            ]
    return rows


def node_rows(
    picture: Array,
    sizes: Sequence[Size] = SIZES,
    *,
    model: str = DEFAULT_MODEL,
    parameters: Mapping[str, Any] | None = None,
    frames: int = 40,
) -> list[Row]:
    """
    Measure the time that the node adds to transport and engine, with the profile on both sides.

    Parameters are those of :func:`end_to_end_rows`.

    :returns: a row for each size with the node's times minus the medians of relay and engine.
    """
    rows = []
    for size in sizes:
        turns = Turns(picture, size, BOTH, model, parameters or {}, frames)
        rows.append(
            _row(
                'node',
                [None if time is None else time - turns.floor for time in turns.node],
                **turns.network,
                inside='image published to mask received, less relay and engine',
                memory_mb=turns.memory_mb,
                notes=f'node {median(turns.node):.1f} ms, relay {median(turns.relay):.1f}, '
                f'engine {median(turns.engine):.1f}; {_arrived(turns.node)}',
            )
        )
    return rows


def camera_rows(
    picture: Array,
    counts: Sequence[int] = (1, 2, 4, 6),
    *,
    size: Size = (480, 640),
    model: str = DEFAULT_MODEL,
    parameters: Mapping[str, Any] | None = None,
    rate: float = 10.0,
    seconds: float = 10.0,
) -> list[Row]:
    """
    Measure several cameras on one node, with the profile on both sides.

    All cameras publish at the same times. The other parameters are those of
    :func:`end_to_end_rows`.

    :param counts: the numbers of cameras to measure.
    :param rate: images per second of each camera.
    :param seconds: how long the cameras publish.
    :returns: a row for each number of cameras: ``latency_ms`` is the masks' age at their arrival,
        ``fps`` that of all cameras together. The notes hold each camera's figures and the
        fairness: the fewest answers to a camera divided by the most.
    """
    rows = []
    for count in counts:
        fleet = Fleet(picture, count, size, model, parameters or {}, rate, seconds)
        answers = [len(known(ages)) for ages in fleet.ages]
        each = ', '.join(
            f'{answered / seconds:.1f}/s of {median(ages):.0f} ms'
            for answered, ages in zip(answers, fleet.ages)
        )
        rows.append(
            _row(
                'cameras',
                [age for ages in fleet.ages for age in ages],
                **fleet.network,
                cameras=count,
                timing='throughput',
                inside='age of the masks when another process receives them',
                fps=sum(answers) / seconds,
                memory_mb=fleet.memory_mb,
                notes=f'{rate:g} images/s offered by each; answered {each}; fairness '
                f'{min(answers) / max(*answers, 1):.2f}',
            )
        )
    return rows


def deadline_rows(
    picture: Array,
    *,
    size: Size = (480, 640),
    model: str = DEFAULT_MODEL,
    parameters: Mapping[str, Any] | None = None,
    deadline_ms: int = 0,
    rate: float = 0.0,
    rounds: int = 5,
) -> tuple[list[Row], dict[str, Any]]:
    """
    Measure how many masks come in time under a load that comes and goes.

    The other parameters are those of :func:`end_to_end_rows` and of
    :class:`.deadline_benchmark.DeadlineBenchmark`.

    :returns: a row for the node with the deadline and one for its network's full depth; and the
        result of :meth:`.deadline_benchmark.DeadlineBenchmark.result`.
    """
    benchmark = DeadlineBenchmark(
        picture, size, model, parameters or {}, deadline_ms, rate, rounds
    )
    result = benchmark.result()
    rows = []
    for run in result['runs']:
        points = ', '.join(f'{point} {share:.0%}' for point, share in run['rungs'].items())
        rows.append(
            _row(
                'deadline',
                [age for _, age, _ in run['frames']],
                **benchmark.network,
                inside='age of the masks when another process receives them',
                notes=f'{run["name"]}; within {benchmark.deadline_ms} ms '
                f'{run["in_time_of_sent"]:.1%} of {len(run["frames"])} images, '
                f'{run["in_time_of_answered"]:.1%} of the masks; {points}; '
                f'{benchmark.rate:.3g} images/s; by turns without load and beside '
                f'{benchmark.busy} busy processes, which make masks of full depth '
                f'{benchmark.slower:.1f} times as old as the {benchmark.age_ms:.1f} ms without '
                'load',
            )
        )
    return rows, result


def overload_rows(
    picture: Array,
    *,
    size: Size = (480, 640),
    model: str = DEFAULT_MODEL,
    parameters: Mapping[str, Any] | None = None,
    seconds: float = 120.0,
) -> tuple[list[Row], dict[str, Any]]:
    """
    Measure the node under ten times the images that it can answer.

    The other parameters are those of :func:`end_to_end_rows`.

    :param seconds: the length of the run.
    :returns: a row, whose ``ratio`` is p95 of the masks' age divided by the engine's median, and
        the result of :func:`.overload_benchmark.overload`.
    """
    ages, result = overload(picture, size, model, parameters or {}, seconds)
    kept = ('network', 'image_size', 'input_size', 'resize', 'backend', 'device', 'precision')
    row = _row(
        'overload',
        ages,
        **{name: result[name] for name in kept},
        inside='age of the masks when another process receives them',
        fps=result['answered'] / seconds,
        memory_mb=result['memory_mb'][-1],
        baseline='the engine alone; p95 to median',
        ratio=result['age_p95_ms'] / result['engine_ms'],
        notes=f'{result["offered_rate"]:.0f} images/s offered for {seconds:g} s; '
        f'{result["counts"]["processed"]} answered, {result["counts"]["replaced"]} replaced by '
        'newer ones; ' + ('; '.join(result['missed']) or 'all goals met'),
    )
    return [row], result


def _arrived(times: Times) -> str:
    return f'{len(known(times))} of {len(times)} arrived'


def _row(benchmark: str, times: Times, **fields: Any) -> Row:
    """Return the fields of a row with these times in milliseconds."""
    came = known(times)
    quantiles = {f'p{q}': float(np.percentile(came, q)) if came else None for q in (50, 95, 99)}
    return {'benchmark': benchmark, 'latency_ms': quantiles, **fields}
