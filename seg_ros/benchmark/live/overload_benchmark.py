# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Benchmark of the node under ten times the images that it can answer.

The node must always answer the newest image that it has. Two things together prove it: by the
node's counts every received image was answered or replaced, and only a newer image replaces one;
and no mask arrives after the mask of a newer image.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import numpy as np

from ...images.image_file import Image as Array
from .measurements import (
    about,
    camera_message,
    DISCARDED,
    in_files,
    known,
    median,
    meet,
    PAUSE,
    QUIET,
    Size,
    start_network,
    times_of,
    topics_of,
)
from .processes import profile_environment, Program, start_dds_load

FACTOR = 10.0
"""How many images are offered for each that the engine alone could answer."""

ENOUGH = 0.9
"""The share of these images that must really be sent, or there was no overload."""

OLDEST, GROWTH = 2.5, 0.02
"""The goals: p95 of the masks' age, divided by the engine's time; relative growth of memory."""

WARM_UP = 0.25
"""The share of the run after which memory must no longer grow."""

FRAMES = 20
"""The number of frames that time the engine alone, before the run and again after it."""

CHUNK_SECONDS = 0.5
"""The seconds between two measurements of the memory."""

OverloadResult = dict[str, Any]


def overload(
    picture: Array, size: Size, model: str, parameters: Mapping[str, Any], seconds: float
) -> tuple[list[float | None], OverloadResult]:
    """
    Send the node ten times as many images as the engine could answer, and collect the masks.

    :param picture: the image, uint8 RGB (H, W, 3), resized to ``size``.
    :param parameters: parameters of the node.
    :param seconds: the length of the run.
    :returns: the age of each image's mask in milliseconds when another process receives it, None
        for images without a mask; and the result, which lists missed goals under ``missed``.
    """
    image, mask = topics_of('offered')
    profile = profile_environment()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        network = stack.enter_context(start_network(folder, picture, size, model, parameters))
        described = about(network, model, size)
        network.call('predict', DISCARDED, PAUSE)
        engine = network.call('predict', FRAMES, PAUSE)
        rate = FACTOR * 1e3 / median(engine)
        given = {'model': model, 'cameras': ['offered'], **parameters}
        node = stack.enter_context(Program('segmentation_node', given, profile))
        (message,) = in_files(folder, [camera_message(picture, size)])
        sender = stack.enter_context(start_dds_load({image: message}, (), profile))
        listener = stack.enter_context(start_dds_load({}, [mask], profile))
        listener.call('watch')
        meet(sender, [image], listener, [mask], node)
        before = listener.call('counts', 'offered')
        published: list[tuple[int, int]] = []
        memory = []
        end = monotonic() + seconds
        while monotonic() < end:
            chunk = max(1, round(rate * CHUNK_SECONDS))
            published += sender.call('send', [image], chunk, rate)[image]
            memory.append(node.own_memory_mb())
        heard = listener.call('hear', [mask], QUIET)[mask]
        after = listener.call('counts', 'offered')
        engine += network.call('predict', FRAMES, PAUSE)
    # Sorted by stamp, that is in the order of sending, the times of arrival must rise, too.
    came = [time for _, time in sorted(heard)]
    ages = times_of(published, heard)
    result = {
        'engine_ms': median(engine),
        'age_p95_ms': float(np.percentile(known(ages), 95)) if known(ages) else float('nan'),
        'offered_rate': len(published) / ((published[-1][1] - published[0][1]) / 1e9),
        'sent': len(published),
        'answered': len(known(ages)),
        'in_order': came == sorted(came),
        'counts': {name: after[name] - before[name] for name in after},
        'memory_mb': memory,
        **described,
    }
    result['missed'] = missed(result)
    return ages, result


def missed(result: OverloadResult) -> list[str]:
    """Return a message for each missed goal."""
    found = []
    factor = result['offered_rate'] * result['engine_ms'] / 1e3
    if factor < ENOUGH * FACTOR:
        found.append(
            f'expected {FACTOR:g} times the images that the engine can answer; found that only '
            f'{factor:.1f} times as many could be sent. Take smaller --sizes, or a larger network'
        )
    ratio = result['age_p95_ms'] / result['engine_ms']
    if not ratio <= OLDEST:  # also true if nothing was answered and the ratio is nan
        found.append(
            f'expected a p95 of the age of at most {OLDEST:g} times the engine; found {ratio:.2f} '
            f'times: {result["age_p95_ms"]:.1f} ms to {result["engine_ms"]:.1f} ms'
        )
    steady = [each for each in result['memory_mb'] if each is not None]
    steady = steady[int(len(steady) * WARM_UP) :]
    if steady and max(steady) > (1 + GROWTH) * steady[0]:
        found.append(
            f'expected memory that grows by at most {GROWTH:.0%} after the warm-up; found '
            f'{max(steady) / steady[0] - 1:.1%} from {steady[0]:.0f} MB on'
        )
    counts = result['counts']
    if not result['in_order'] or counts['received'] != counts['processed'] + counts['replaced']:
        found.append(
            'expected every image to be answered, or replaced by a newer one, and masks in the '
            f'order of their images; found {counts}, in order: {result["in_order"]}'
        )
    return found
