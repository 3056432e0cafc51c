# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measures the node from other processes: what DDS takes, and what the node adds to it.

Each function starts the processes that it needs, ends them, and returns rows, whose fields are
those of the benchmark's. Sizes are (height, width). ROS_DOMAIN_ID is the environment's; beyond
this computer nothing is heard.
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
    Measure how long a message takes from one rclpy process to another, by transport.

    Messages are bgr8 images of each size, and of the largest also masks: mono8, PNG, run-length.
    With the profile on both sides they are sent once more between processes that give their
    memory back, as rclpy's do by default (:mod:`...node.malloc`).

    :param labels: uint8 (H, W), a real mask; resized to the largest size.
    :param chosen: names of :func:`.measurements.transports`; all by default.
    :param frames: messages of each kind.
    :param rate: messages a second.
    :param reliability: reliable or best_effort, of both sides.
    :returns: a row for each transport and message. ``ratio`` is to default DDS, where that was
        chosen and any message came.
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
    Measure from an image's publication until another process has received its mask.

    The node, an empty relay of the same messages and the engine alone take turns, ten frames
    each. An image is published a moment after the mask of the last one came.

    :param picture: uint8 RGB (H, W, 3), resized to each size.
    :param model: a shipped network's name, or a checkpoint's path.
    :param parameters: of the node: `input_height`, `input_width`, `device`, `backend`,
        `precision`; they hold for the engine alone, too.
    :param chosen: names of :func:`.measurements.transports`. The publisher is the process of
        camera and receiver, the subscriber that of the node.
    :param frames: of each.
    :returns: rows of node, relay and engine for each transport and size. The node's ``ratio`` is
        to relay plus engine, by medians.
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
    Measure what the node adds to transport and engine, the profile on both sides.

    Parameters are those of :func:`end_to_end_rows`.

    :returns: a row for each size: the node's times less the medians of relay and engine.
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
    Measure several cameras on one node, the profile on both sides.

    All publish at the same moments. The other parameters are those of :func:`end_to_end_rows`.

    :param counts: of cameras.
    :param rate: images a second of each camera.
    :param seconds: how long they publish.
    :returns: a row for each count: ``latency_ms`` is the masks' age when they come, ``fps`` that
        of all cameras together. The notes have each camera's, and the fairness: the fewest
        answers of a camera over the most.
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
    Measure how many masks come in time beside a load that comes and goes.

    :param parameters: as of :func:`end_to_end_rows`.
    :param deadline_ms: as of :class:`.deadline_benchmark.DeadlineBenchmark`, as are ``rate`` and
        ``rounds``.
    :returns: a row for the node with the deadline and one for its network's full depth, and all
        that was found: see :meth:`.deadline_benchmark.DeadlineBenchmark.facts`.
    """
    trial = DeadlineBenchmark(picture, size, model, parameters or {}, deadline_ms, rate, rounds)
    facts = trial.facts()
    rows = []
    for run in facts['runs']:
        points = ', '.join(f'{point} {share:.0%}' for point, share in run['rungs'].items())
        rows.append(
            _row(
                'deadline',
                [age for _, age, _ in run['frames']],
                **trial.network,
                inside='age of the masks when another process receives them',
                notes=f'{run["name"]}; within {trial.deadline_ms} ms '
                f'{run["in_time_of_sent"]:.1%} of {len(run["frames"])} images, '
                f'{run["in_time_of_answered"]:.1%} of the masks; {points}; '
                f'{trial.rate:.3g} images/s; by turns without load and beside {trial.busy} busy '
                f'processes, which make masks of full depth {trial.slower:.1f} times as old as '
                f'the {trial.age_ms:.1f} ms without load',
            )
        )
    return rows, facts


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

    :param parameters: as of :func:`end_to_end_rows`.
    :param seconds: how long.
    :returns: a row, whose ``ratio`` is p95 of the age to the engine's median, and all that was
        found: see :func:`.overload_benchmark.overload`.
    """
    ages, facts = overload(picture, size, model, parameters or {}, seconds)
    told = ('network', 'image_size', 'input_size', 'resize', 'backend', 'device', 'precision')
    row = _row(
        'overload',
        ages,
        **{name: facts[name] for name in told},
        inside='age of the masks when another process receives them',
        fps=facts['answered'] / seconds,
        memory_mb=facts['memory_mb'][-1],
        baseline='the engine alone; p95 to median',
        ratio=facts['age_p95_ms'] / facts['engine_ms'],
        notes=f'{facts["offered_rate"]:.0f} images/s offered for {seconds:g} s; '
        f'{facts["counts"]["processed"]} answered, {facts["counts"]["replaced"]} replaced by '
        'newer ones; ' + ('; '.join(facts['missed']) or 'all goals met'),
    )
    return [row], facts


def _arrived(times: Times) -> str:
    return f'{len(known(times))} of {len(times)} arrived'


def _row(benchmark: str, times: Times, **fields: Any) -> Row:
    """Return a row of these times."""
    came = known(times)
    quantiles = {f'p{q}': float(np.percentile(came, q)) if came else None for q in (50, 95, 99)}
    return {'benchmark': benchmark, 'latency_ms': quantiles, **fields}
