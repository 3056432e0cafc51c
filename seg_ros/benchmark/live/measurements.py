# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What :mod:`.live_rows` makes its rows of: messages sent between processes, and how long they took.

All moments are of the machine's monotonic clock, which the processes share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import cv2
import numpy as np

from ...images.image_file import Image as Array
from .processes import Environment, Helper, ProcessError, profile_environment, Program, traffic

Size = tuple[int, int]
"""Height and width."""

Times = list[float | None]
"""Milliseconds that messages took; None of a lost one."""

Moments = Sequence[tuple[int, int]]
"""Stamps, and when that was, as :mod:`.dds_load` tells."""

BLOCK, DISCARDED = 10, 3
"""Frames of node, relay and engine by turns, and how many before them do not count."""

PAUSE = 0.05
"""Seconds between an answer and the next image."""

PATIENCE = 5.0
"""Seconds after which an image is lost."""

QUIET = 2.0
"""Seconds without a message after which none is expected."""

START_SECONDS = 300.0
"""A network may be compiled first."""

BOTH = 'profile on both sides'

SEGMENTER_PARAMETERS = ('input_height', 'input_width', 'device', 'backend', 'precision')


def transports() -> dict[str, tuple[Environment, Environment]]:
    """Return by name what the environments of publisher and subscriber get."""
    profile = profile_environment()
    large_data = {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'}
    return {
        'default DDS': ({}, {}),
        BOTH: (profile, profile),
        'profile on the publisher alone': (profile, {}),
        'profile on the subscriber alone': ({}, profile),
        'LARGE_DATA on both sides': (large_data, large_data),
    }


def one_way(
    contents: Sequence[Mapping[str, Any]],
    transport: str,
    *,
    keep: bool = True,
    frames: int,
    rate: float,
    reliability: str,
) -> list[Times]:
    """
    Send messages from one process to another.

    :param contents: fields of the messages, of each kind one.
    :param transport: a name of :func:`transports`.
    :param keep: whether both processes keep their memory (:mod:`...node.malloc`).
    :param frames: messages of each kind.
    :param rate: messages a second.
    :returns: how long those of each kind took, from just before they were published.
    """
    ours, theirs = transports()[transport]
    topics = [f'/transport/message_{i}' for i in range(len(contents))]
    heard = {topic: 'format' in content for topic, content in zip(topics, contents)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        sent = dict(zip(topics, in_files(folder, contents)))
        listener = stack.enter_context(traffic({}, heard, theirs, reliability, keep))
        sender = stack.enter_context(traffic(sent, (), ours, reliability, keep))
        # The smallest arrives in any case, and all are found at once.
        smallest = topics[np.argmin([len(content['data']) for content in contents])]
        meet(sender, [smallest], listener, [smallest])
        found = []
        for topic in topics:
            count = DISCARDED + frames
            published = sender.call('send', [topic], count, rate)[topic]
            came = listener.call('hear', [topic], QUIET, count)[topic]
            found.append(times_of(published[DISCARDED:], came))
    return found


class Turns:
    """
    Node, an empty relay of the same messages, and the engine alone, by turns of ten frames.

    So a busy moment meets all three, and while one works the others wait. Parameters are those of
    :func:`.live_rows.end_to_end_rows`, of one size and one transport.

    :ivar node: times of the frames; so are ``relay`` and ``engine``.
    :ivar floor: median of the relay plus median of the engine.
    :ivar network: what a row says of it.
    :ivar memory_mb: the node's.
    """

    def __init__(
        self,
        picture: Array,
        size: Size,
        transport: str,
        model: str,
        parameters: Mapping[str, Any],
        frames: int,
    ) -> None:
        self.node: Times = []
        self.relay: Times = []
        self.engine: Times = []
        ours, theirs = transports()[transport]
        given = {'model': model, 'cameras': ['probed'], **parameters}
        (image, mask), bare = topics_of('probed'), topics_of('relayed')
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            network = stack.enter_context(start_network(folder, picture, size, model, parameters))
            self.network = about(network, model, size)  # before others want the processor
            node = stack.enter_context(Program('segmentation_node', given, theirs))
            relay = stack.enter_context(Program('relay', {'cameras': ['relayed']}, theirs))
            (message,) = in_files(folder, [camera_message(picture, size)])
            sent = dict.fromkeys((image, bare[0]), message)
            camera = stack.enter_context(traffic(sent, (mask, bare[1]), ours))
            meet(camera, [bare[0]], camera, [bare[1]], relay)
            meet(camera, [image], camera, [mask], node)
            while len(self.node) < frames:
                count = min(BLOCK, frames - len(self.node)) + DISCARDED
                self.node += camera.call('ask', image, mask, count, PAUSE, PATIENCE)[DISCARDED:]
                self.relay += camera.call('ask', *bare, count, PAUSE, PATIENCE)[DISCARDED:]
                self.engine += network.call('predict', count, PAUSE)[DISCARDED:]
            self.memory_mb = node.memory_mb()
        self.floor = median(self.relay) + median(self.engine)


class Fleet:
    """
    Cameras on one node that publish at the same moments, the profile on both sides.

    Parameters are those of :func:`.live_rows.camera_rows`, for one count.

    :ivar ages: of the masks of each camera.
    :ivar network: what a row says of it.
    :ivar memory_mb: the node's.
    """

    def __init__(
        self,
        picture: Array,
        count: int,
        size: Size,
        model: str,
        parameters: Mapping[str, Any],
        rate: float,
        seconds: float,
    ) -> None:
        names = [f'probed_{i}' for i in range(count)]
        images, masks = zip(*map(topics_of, names))
        given = {'model': model, 'cameras': names, **parameters}
        profile = profile_environment()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            with start_network(folder, picture, size, model, parameters) as network:
                self.network = about(network, model, size)
            node = stack.enter_context(Program('segmentation_node', given, profile))
            (message,) = in_files(folder, [camera_message(picture, size)])
            sender = stack.enter_context(traffic(dict.fromkeys(images, message), (), profile))
            listener = stack.enter_context(traffic({}, masks, profile))
            meet(sender, images, listener, masks, node)
            published = sender.call('send', images, round(rate * seconds), rate)
            came = listener.call('hear', masks, QUIET)
            self.memory_mb = node.memory_mb()
        self.ages = [times_of(published[image], came[mask]) for image, mask in zip(images, masks)]


def raw(pixels: Array) -> dict[str, Any]:
    """Return the fields of an image message: BGR (H, W, 3), or a mask (H, W)."""
    height, width = pixels.shape[:2]
    return {
        'height': height,
        'width': width,
        'encoding': 'bgr8' if pixels.ndim == 3 else 'mono8',
        'step': pixels.nbytes // height,
        'data': pixels.tobytes(),
    }


def known(times: Times) -> list[float]:
    """Return those of what arrived."""
    return [time for time in times if time is not None]


def median(times: Times) -> float:
    """Return the median of what arrived; nan of nothing."""
    return float(np.median(known(times))) if known(times) else float('nan')


def topics_of(camera: str) -> tuple[str, str]:
    """Return the topics of a camera's images and of their masks."""
    return f'/{camera}/image_raw', f'/{camera}/segmentation/mask'


def camera_message(picture: Array, size: Size) -> dict[str, Any]:
    """Return what a camera sends of an RGB picture."""
    return raw(cv2.cvtColor(cv2.resize(picture, size[::-1]), cv2.COLOR_RGB2BGR))


def in_files(folder: Path, contents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with a file in place of their data, as another process takes them."""
    messages = []
    for i, content in enumerate(contents):
        path = folder / f'message_{i}'
        path.write_bytes(content['data'])
        messages.append({**content, 'data': str(path)})
    return messages


def start_network(
    folder: Path, picture: Array, size: Size, model: str, parameters: Mapping[str, Any]
) -> Helper:
    """Start a process with the engine alone; it takes a picture of this size."""
    path = folder / 'picture.npy'
    np.save(path, cv2.resize(picture, size[::-1]))
    settings = {name: parameters[name] for name in SEGMENTER_PARAMETERS if name in parameters}
    return Helper('network', {'picture': str(path), 'settings': {'model': model, **settings}}, {})


def about(network: Helper, model: str, size: Size) -> dict[str, Any]:
    """Return what a row says of a network, once that is loaded."""
    facts = network.call('describe')
    resized = list(size) != facts['input_size']
    return {'network': model, 'image_size': list(size), 'resize': resized, **facts}


def meet(
    sender: Helper,
    images: Sequence[str],
    listener: Helper,
    answers: Sequence[str],
    between: Program | None = None,
) -> None:
    """
    Publish until every topic has been answered a few times.

    :param between: what answers, where that is not the same topic.
    :raises ProcessError: it has ended, or the time is over.
    """
    met = dict.fromkeys(answers, 0)
    end = monotonic() + START_SECONDS
    while min(met.values()) < DISCARDED:
        if (between and not between.running) or monotonic() > end:
            raise ProcessError(
                f'expected answers of {between.name if between else "DDS"} within '
                f'{START_SECONDS:g} s; found none on '
                f'{", ".join(topic for topic in answers if not met[topic])}. What its process '
                'printed above says why'
            )
        sender.call('send', images, 1, 1.0)
        for topic, came in listener.call('hear', answers, 0.2, 1).items():
            met[topic] += len(came)


def times_of(published: Moments, came: Moments) -> Times:
    """Return how long what was published took, by stamps."""
    moments: dict[int, int] = dict(came)
    return [
        (moments[stamp] - moment) / 1e6 if stamp in moments else None
        for stamp, moment in published
    ]
