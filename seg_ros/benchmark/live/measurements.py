# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The measurements of :mod:`.live_rows`: messages sent between processes, and their times.

All times are of the machine's monotonic clock, which the processes share.
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
from .processes import (
    Environment,
    Helper,
    ProcessError,
    profile_environment,
    Program,
    start_dds_load,
)

Size = tuple[int, int]
"""Height and width."""

Times = list[float | None]
"""The milliseconds that each message took; None for a lost one."""

StampTimes = Sequence[tuple[int, int]]
"""Header stamps and times in nanoseconds, see :data:`.dds_load.TimesByTopic`."""

BLOCK, DISCARDED = 10, 3
"""The frames of each turn of node, relay and engine, and the frames before that do not count."""

PAUSE = 0.05
"""The seconds between an answer and the next image."""

PATIENCE = 5.0
"""The seconds without an answer after which an image counts as lost."""

QUIET = 2.0
"""The seconds without a message after which no more are expected."""

START_SECONDS = 300.0
"""The most seconds that a node may need to start, as its network may have to be compiled."""

BOTH = 'profile on both sides'

SEGMENTER_PARAMETERS = ('input_height', 'input_width', 'device', 'backend', 'precision')
"""The parameters of the node that are also arguments of Segmenter."""


def transports() -> dict[str, tuple[Environment, Environment]]:
    """Return each transport's environment variables for the publisher and the subscriber."""
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

    :param contents: the fields of one message of each kind.
    :param transport: a name of :func:`transports`.
    :param keep: whether both processes keep their memory (:mod:`...node.malloc`).
    :param frames: the number of messages of each kind.
    :param rate: messages per second.
    :param reliability: reliable or best_effort, on both sides.
    :returns: for each kind, the milliseconds that its messages took from just before their
        publication.
    """
    ours, theirs = transports()[transport]
    topics = [f'/transport/message_{i}' for i in range(len(contents))]
    heard = {topic: 'format' in content for topic, content in zip(topics, contents)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        sent = dict(zip(topics, in_files(folder, contents)))
        listener = stack.enter_context(start_dds_load({}, heard, theirs, reliability, keep))
        sender = stack.enter_context(start_dds_load(sent, (), ours, reliability, keep))
        # The smallest message arrives with every transport, and all topics are found together.
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
    The times of the node, an empty relay of the same messages, and the engine alone.

    They take turns of ten frames, so that other work on the machine slows all three alike, and
    while one works the others wait. Parameters are those of :func:`.live_rows.end_to_end_rows`,
    for one size and one transport.

    :ivar node: the milliseconds of the node's frames; likewise ``relay`` and ``engine``.
    :ivar floor: the median of the relay plus the median of the engine.
    :ivar network: a row's fields about the network.
    :ivar memory_mb: the node's peak memory.
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
            self.network = about(network, model, size)  # waits until the network is loaded
            node = stack.enter_context(Program('segmentation_node', given, theirs))
            relay = stack.enter_context(Program('relay', {'cameras': ['relayed']}, theirs))
            (message,) = in_files(folder, [camera_message(picture, size)])
            sent = dict.fromkeys((image, bare[0]), message)
            camera = stack.enter_context(start_dds_load(sent, (mask, bare[1]), ours))
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
    Several cameras on one node that publish at the same times, with the profile on both sides.

    Parameters are those of :func:`.live_rows.camera_rows`, for one number of cameras.

    :ivar ages: for each camera the ages of its masks in milliseconds.
    :ivar network: a row's fields about the network.
    :ivar memory_mb: the node's peak memory.
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
            sent = dict.fromkeys(images, message)
            sender = stack.enter_context(start_dds_load(sent, (), profile))
            listener = stack.enter_context(start_dds_load({}, masks, profile))
            meet(sender, images, listener, masks, node)
            published = sender.call('send', images, round(rate * seconds), rate)
            came = listener.call('hear', masks, QUIET)
            self.memory_mb = node.memory_mb()
        self.ages = [times_of(published[image], came[mask]) for image, mask in zip(images, masks)]


def raw(pixels: Array) -> dict[str, Any]:
    """Return the fields of an Image message of these pixels: BGR (H, W, 3), or a mask (H, W)."""
    height, width = pixels.shape[:2]
    return {
        'height': height,
        'width': width,
        'encoding': 'bgr8' if pixels.ndim == 3 else 'mono8',
        'step': pixels.nbytes // height,
        'data': pixels.tobytes(),
    }


def known(times: Times) -> list[float]:
    """Return the times of the messages that arrived."""
    return [time for time in times if time is not None]


def median(times: Times) -> float:
    """Return the median time of the messages that arrived; nan if none did."""
    return float(np.median(known(times))) if known(times) else float('nan')


def topics_of(camera: str) -> tuple[str, str]:
    """Return the topics of a camera's images and of their masks."""
    return f'/{camera}/image_raw', f'/{camera}/segmentation/mask'


def camera_message(picture: Array, size: Size) -> dict[str, Any]:
    """Return the fields of a camera's message of an RGB picture, resized to ``size``."""
    return raw(cv2.cvtColor(cv2.resize(picture, size[::-1]), cv2.COLOR_RGB2BGR))


def in_files(folder: Path, contents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write each message's data to a file for another process; return the fields with paths."""
    messages = []
    for i, content in enumerate(contents):
        path = folder / f'message_{i}'
        path.write_bytes(content['data'])
        messages.append({**content, 'data': str(path)})
    return messages


def start_network(
    folder: Path, picture: Array, size: Size, model: str, parameters: Mapping[str, Any]
) -> Helper:
    """Start a process with the engine alone, which segments the picture resized to ``size``."""
    path = folder / 'picture.npy'
    np.save(path, cv2.resize(picture, size[::-1]))
    settings = {name: parameters[name] for name in SEGMENTER_PARAMETERS if name in parameters}
    return Helper('network', {'picture': str(path), 'settings': {'model': model, **settings}}, {})


def about(network: Helper, model: str, size: Size) -> dict[str, Any]:
    """Wait until the network is loaded; return a row's fields about it."""
    described = network.call('describe')
    resized = list(size) != described['input_size']
    return {'network': model, 'image_size': list(size), 'resize': resized, **described}


def meet(
    sender: Helper,
    images: Sequence[str],
    listener: Helper,
    answers: Sequence[str],
    between: Program | None = None,
) -> None:
    """
    Publish images until some messages have arrived on every topic of answers.

    :param sender: the process that publishes.
    :param images: the topics to publish on.
    :param listener: the process that listens.
    :param answers: the topics on which messages must arrive.
    :param between: the program that answers images with masks; None if the listener hears the
        images themselves.
    :raises ProcessError: that program has ended, or the time is over.
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


def times_of(published: StampTimes, came: StampTimes) -> Times:
    """Return the milliseconds from each publication to the arrival of the same stamp."""
    arrivals: dict[int, int] = dict(came)
    return [
        (arrivals[stamp] - time) / 1e6 if stamp in arrivals else None for stamp, time in published
    ]
