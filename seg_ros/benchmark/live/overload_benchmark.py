# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node under ten times the images that it can answer.

What is answered must be the newest that was there. That follows from what is counted: every image
that was received was answered or replaced, and only a newer one replaces; and no mask comes after
that of a newer image.
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
from .processes import profile_environment, Program, traffic

FACTOR = 10.0
"""Images offered for each that the engine alone could answer."""

ENOUGH = 0.9
"""Share of these that must really be sent, or it was no overload."""

OLDEST, GROWTH = 2.5, 0.02
"""Goals: p95 of the masks' age, in times of the engine's; and growth of the memory, as a share."""

WARM_UP = 0.25
"""Share of the run after which memory shall no longer grow."""

FRAMES = 20
"""Of the engine alone, before the run and after it."""

CHUNK_SECONDS = 0.5
"""Between two looks at the memory."""

Facts = dict[str, Any]


def overload(
    picture: Array, size: Size, model: str, parameters: Mapping[str, Any], seconds: float
) -> tuple[list[float | None], Facts]:
    """
    Send ten times as many images as the engine could answer, and listen.

    :param picture: uint8 RGB (H, W, 3), resized to ``size``.
    :param parameters: of the node.
    :param seconds: how long.
    :returns: the age of each image's mask when another process receives it, None where it has
        none; and what was found, with the goals that it misses under ``missed``.
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
        sender = stack.enter_context(traffic({image: message}, (), profile))
        listener = stack.enter_context(traffic({}, [mask], profile))
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
    # By their stamps, which rise as they were sent, the moments that they came must rise, too.
    came = [moment for _, moment in sorted(heard)]
    ages = times_of(published, heard)
    facts = {
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
    facts['missed'] = missed(facts)
    return ages, facts


def missed(facts: Facts) -> list[str]:
    """Return in words which goals are missed."""
    found = []
    factor = facts['offered_rate'] * facts['engine_ms'] / 1e3
    if factor < ENOUGH * FACTOR:
        found.append(
            f'expected {FACTOR:g} times the images that the engine can answer; found that only '
            f'{factor:.1f} times as many could be sent. Take smaller --sizes, or a larger network'
        )
    ratio = facts['age_p95_ms'] / facts['engine_ms']
    if not ratio <= OLDEST:  # nor if nothing was answered
        found.append(
            f'expected a p95 of the age of at most {OLDEST:g} times the engine; found {ratio:.2f} '
            f'times: {facts["age_p95_ms"]:.1f} ms to {facts["engine_ms"]:.1f} ms'
        )
    steady = [each for each in facts['memory_mb'] if each is not None]
    steady = steady[int(len(steady) * WARM_UP) :]
    if steady and max(steady) > (1 + GROWTH) * steady[0]:
        found.append(
            f'expected memory that grows by at most {GROWTH:.0%} after the warm-up; found '
            f'{max(steady) / steady[0] - 1:.1%} from {steady[0]:.0f} MB on'
        )
    counts = facts['counts']
    if not facts['in_order'] or counts['received'] != counts['processed'] + counts['replaced']:
        found.append(
            'expected every image to be answered, or replaced by a newer one, and masks in the '
            f'order of their images; found {counts}, in order: {facts["in_order"]}'
        )
    return found
