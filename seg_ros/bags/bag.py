# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reading recordings of image topics without ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from ..images.image_file import Image
from .image import to_labels, to_rgb
from .records import DECOMPRESS
from .storage import open_recording, remedy
from .types import BagError as BagError
from .types import COMPRESSED, IMAGE, MessageTypes
from .types import Message as Message

LABELS = 'labels'
"""The last part of the name of a topic that holds class ids instead of camera images."""

LABEL_IDS = 'label_ids'
"""The key of a bag's metadata that says which ids its labels hold."""

RESULTS = ('mask', 'confidence', 'color', 'overlay')
"""The last parts of the names of the node's own image topics, below ``segmentation``."""

_ZSTD = b'\x28\xb5\x2f\xfd'
"""The first bytes of a message that zstd compressed; CDR data never begins with them."""


class Bag:
    """
    An open recording: a rosbag2 (its folder, or an .mcap or .db3 file) or a ROS 1 .bag.

    A context manager; its attributes and methods work between entering and leaving it.

    :param path: the recording.
    :ivar topics: each topic's type, such as ``sensor_msgs/msg/Image``.
    :ivar counts: each topic's number of messages according to the recording's index.
    :ivar duration: the length of the recording in seconds, 0 if it has no messages.
    :ivar label_ids: which ids the recorded labels hold, named as for ``replay --label-ids``;
        empty if the recording does not say.
    :ivar damage: what is known to be missing or damaged, empty if nothing is.
    :ivar types: the types of the recorded messages.
    :raises BagError: on entering, if there is no bag or nothing in it can be read.
    """

    path: Path
    topics: dict[str, str]
    counts: dict[str, int]
    duration: float
    label_ids: str
    damage: str

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damage = ''

    def __enter__(self) -> Bag:
        if not self.path.exists():
            raise BagError(f'{self.path}: expected a bag; found nothing there. Check the path')
        with ExitStack() as stack:
            try:
                storages, counts, custom, damage = open_recording(self.path, stack)
            except Exception as error:
                raise BagError(
                    f'{self.path}: expected a rosbag2 folder or file (mcap, sqlite3) or a ROS 1 '
                    f'bag; found none that can be read: {error}'
                ) from error
            self._stack = stack.pop_all()
        self._storages = storages
        self.label_ids = custom.get(LABEL_IDS, '')
        self.damage = damage and f'{self.path}: expected a whole recording; found that {damage}'
        connections = [c for storage in storages for c in storage.connections]
        self.topics = {c.topic: c.msgtype for c in connections}
        self.counts = dict.fromkeys(self.topics, 0) | counts
        if not counts:
            for connection in connections:
                self.counts[connection.topic] += connection.msgcount
        start = min(storage.start_time for storage in storages)
        self.duration = max(0, max(s.end_time for s in storages) - 1 - start) / 1e9
        self._is_ros1 = self.path.suffix == '.bag' and self.path.is_file()
        self.types = MessageTypes({c.topic: c for c in reversed(connections)}, self._is_ros1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def image_topics(self, names: Sequence[str] = ()) -> list[str]:
        """
        Return the image topics of these names; without names, the only image topic.

        Topics that hold class ids or that a segmentation node published must be named.

        :raises BagError: a named topic is missing, or without names there is not exactly one.
        """
        images = sorted(name for name, kind in self.topics.items() if kind in (IMAGE, COMPRESSED))
        for name in names:
            if name not in images:
                raise BagError(
                    f'{self.path}: expected the image topic {name}; found {_listed(images)}'
                )
        if names:
            return list(names)
        found = [name for name in images if _is_of_camera(name)]
        if not found:
            raise BagError(
                f'{self.path}: expected an image topic; found {_listed(sorted(self.topics))}. '
                'Record one, or name one of these if it holds images'
            )
        if len(found) > 1:
            raise BagError(
                f'{self.path}: expected one image topic, or to be told which; found '
                f'{_listed(found)}. Name one of them'
            )
        return found

    def messages(self, topics: Sequence[str] | None = None) -> Iterator[Message]:
        """
        Yield the messages in the order in which they were recorded.

        They end where the recording turns out to be damaged; :attr:`damage` then says why.

        :param topics: the topics to read, all if left out.
        :raises BagError: the bag lacks one of these topics.
        """
        missing = set(topics or ()) - self.topics.keys()
        if missing:
            raise BagError(
                f'{self.path}: expected the topics {_listed(sorted(missing))}; found '
                f'{_listed(sorted(self.topics))}'
            )
        found: Counter[str] = Counter()
        for storage in self._storages:
            chosen = [c for c in storage.connections if topics is None or c.topic in topics]
            stream = iter(storage.messages(chosen) if chosen else ())
            while True:
                try:
                    connection, time, content = next(stream)
                    if content[:4] == _ZSTD and not self._is_ros1:
                        content = DECOMPRESS['zstd'](content)
                except StopIteration:
                    break
                # Damaged bytes can raise any exception, wherever a parser first meets them.
                except Exception as error:
                    self.damage = self.damage or (
                        f'{self.path}: expected messages up to the end; found bytes in '
                        f'{storage.path.name} that make no sense: {error}. {remedy(storage.path)}'
                    )
                    return
                found[connection.topic] += 1
                yield Message(connection.topic, connection.msgtype, time, content)
        for topic in topics or self.topics:
            if not self.damage and found[topic] < self.counts[topic]:
                self.damage = (
                    f'{self.path}: expected {self.counts[topic]} messages on {topic}, as its '
                    f'index says; found {found[topic]}. {remedy(self._storages[0].path)}'
                )

    def stamp(self, message: Message) -> int:
        """
        Return the header stamp of an image message, in ns.

        :raises BagError: the message is not a readable image message.
        """
        return _stamp(self.types.to_image(message))

    def to_rgb(self, message: Message) -> tuple[int, str, Image]:
        """
        Decode an image message, raw or compressed.

        :returns: header stamp in ns, frame id, RGB pixels (H, W, 3).
        :raises BagError: the message cannot be decoded.
        """
        image = self.types.to_image(message)
        try:
            return _stamp(image), image.header.frame_id, to_rgb(image)
        except ValueError as error:
            raise BagError(f'{message}: {error}') from error

    def to_labels(self, message: Message) -> tuple[int, Image]:
        """
        Decode a message of class ids, raw or compressed as PNG.

        :returns: header stamp in ns, ids as uint8 (H, W).
        :raises BagError: the image has not one 8-bit channel, or its compression changes ids.
        """
        image = self.types.to_image(message)
        try:
            return _stamp(image), to_labels(image)
        except ValueError as error:
            raise BagError(f'{message}: {error}') from error


@contextmanager
def _opened(path: str | Path) -> Iterator[Bag]:
    """Open a bag that must be whole: raise BagError at the end if it is damaged."""
    with Bag(path) as bag:
        yield bag
        if bag.damage:
            raise BagError(bag.damage)


def topics(path: str | Path) -> dict[str, str]:
    """
    Return a bag's topics and their types, such as ``sensor_msgs/msg/Image``.

    :raises BagError: the bag cannot be read.
    """
    with _opened(path) as bag:
        return bag.topics


def image_topic(path: str | Path, topic: str | None = None) -> str:
    """
    Return a bag's image topic of this name; without a name, its only image topic.

    :raises BagError: as :meth:`Bag.image_topics`.
    """
    with _opened(path) as bag:
        return bag.image_topics([topic] if topic else [])[0]


def read_messages(
    path: str | Path, topics: Sequence[str] | None = None
) -> Iterator[tuple[str, str, int, bytes]]:
    """
    Yield topic, type, recording time in ns and CDR bytes of each message, in recorded order.

    :param topics: the topics to read, all if left out.
    :raises BagError: the bag cannot be read, or lacks one of these topics.
    """
    with _opened(path) as bag:
        for message in bag.messages(topics):
            yield message.topic, message.kind, message.time, bag.types.to_cdr(message)


def read_images(path: str | Path, topic: str | None = None) -> Iterator[tuple[int, str, Image]]:
    """
    Yield header stamp in ns, frame id and RGB pixels (H, W, 3) of a topic's images.

    :param topic: raw or compressed images; may be left out if the bag has one image topic.
    :raises BagError: as :meth:`Bag.image_topics` and :meth:`Bag.to_rgb`.
    """
    with _opened(path) as bag:
        for message in bag.messages(bag.image_topics([topic] if topic else [])):
            yield bag.to_rgb(message)


def read_stamps(path: str | Path, topic: str | None = None) -> list[int]:
    """Return the header stamps of a topic's images, in ns; errors as for :func:`image_topic`."""
    with _opened(path) as bag:
        names = bag.image_topics([topic] if topic else [])
        return [bag.stamp(message) for message in bag.messages(names)]


def read_labels(path: str | Path, topic: str) -> Iterator[tuple[int, Image]]:
    """
    Yield header stamp in ns and class ids, uint8 (H, W), of a topic's label images.

    :raises BagError: as :meth:`Bag.image_topics` and :meth:`Bag.to_labels`.
    """
    with _opened(path) as bag:
        for message in bag.messages(bag.image_topics([topic])):
            yield bag.to_labels(message)


def read_labelled_images(path: str | Path) -> Iterator[tuple[Image, Image]]:
    """
    Yield each image, RGB (H, W, 3), with the class ids, uint8 (H, W), of the same stamp.

    :raises BagError: the bag has not exactly one image topic with a topic ``labels`` beside it.
    """
    with _opened(path) as bag:
        (images,) = bag.image_topics()
        labels = f'{images.removesuffix("/compressed").rpartition("/")[0]}/{LABELS}'
        bag.image_topics([labels])
        waiting: dict[str, dict[int, Image]] = {images: {}, labels: {}}
        for message in bag.messages([images, labels]):
            if message.topic == images:
                stamp, _, image = bag.to_rgb(message)
            else:
                stamp, image = bag.to_labels(message)
            waiting[message.topic][stamp] = image
            if all(stamp in of_topic for of_topic in waiting.values()):
                yield waiting[images].pop(stamp), waiting[labels].pop(stamp)


def _is_of_camera(topic: str) -> bool:
    *above, name = topic.removesuffix('/compressed').split('/')
    return name != LABELS and not (name in RESULTS and above[-1:] == ['segmentation'])


def _listed(names: Sequence[str]) -> str:
    return ', '.join(names) or 'none'


def _stamp(image: Any) -> int:
    stamp = image.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)
