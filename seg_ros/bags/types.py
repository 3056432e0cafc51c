# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded messages and their types, in terms of ROS 2 whichever ROS recorded them."""

from __future__ import annotations

from collections.abc import Mapping
import re
from typing import Any, NamedTuple

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinitionFormat,
    Nodetype,
    Qos,
)
from rosbags.typesys import (
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
    Stores,
    TypesysError,
)
from rosbags.typesys.store import Typestore

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'

_HEADER = 'std_msgs/msg/Header'
_NAME = re.compile(r'[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*')
_RULE = 80 * '=' + '\n'
"""What parts a definition from those that it is made of."""


class BagError(ValueError):
    """A bag that cannot be read or written; the message says what was expected and found."""


class Message(NamedTuple):
    """A recorded message, undecoded; `time` is when it was recorded, in nanoseconds."""

    topic: str
    kind: str
    time: int
    content: bytes

    def __str__(self) -> str:
        seconds, nanoseconds = divmod(self.time, 10**9)
        return f'{self.topic} at {seconds}.{nanoseconds:09d} s'


class TopicType(NamedTuple):
    """A topic's type as a rosbag2 describes it: definition, its hash, QoS that were offered."""

    definition: str
    digest: str
    encoding: str
    qos: list[Qos]


class MessageTypes:
    """
    What the messages of a recording are.

    :param connections: by topic.
    :param is_ros1: ROS 1 recorded them.
    """

    def __init__(self, connections: dict[str, Connection], is_ros1: bool) -> None:
        self._connections = connections
        self._is_ros1 = is_ros1
        # Those of images are the same in all distributions of a ROS.
        self._images = get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_JAZZY)
        self._stores: dict[str, Typestore] = {}

    def to_image(self, message: Message) -> Any:
        """
        Return the fields of an image message, raw or compressed, without copying its data.

        :raises BagError: it is none.
        """
        content = memoryview(message.content)  # of which a part is no copy
        try:
            if message.kind not in (IMAGE, COMPRESSED):
                raise ValueError(f'a {message.kind}')
            if self._is_ros1:
                return self._images.deserialize_ros1(content, message.kind)
            return self._images.deserialize_cdr(content, message.kind)
        # Odd bytes fail wherever they first make no sense, and as anything.
        except Exception as error:
            raise BagError(
                f'{message}: expected an image message; found none that can be read: {error}'
            ) from error

    def to_cdr(self, message: Message) -> bytes:
        """
        Return a message's content as ROS 2 has it.

        :raises BagError: the type of a ROS 1 message is unknown, or its content not of it.
        """
        if not self._is_ros1:
            return message.content
        try:
            return bytes(self._store(message.topic).ros1_to_cdr(message.content, message.kind))
        # Odd definitions and bytes fail wherever they first make no sense, and as anything.
        except Exception as error:
            raise BagError(
                f'{message}: expected a {message.kind}; found none that can be read: {error}'
            ) from error

    def describe(self, topic: str) -> TopicType | None:
        """
        Return how a rosbag2 describes a topic; None where its type is unknown.

        A definition that makes no sense counts as none: it would spoil the bag it is written to.
        """
        connection = self._connections[topic]
        kind, extra = connection.msgtype, connection.ext
        try:
            store = self._store(topic)
            digest = store.hash_rihs01(kind)
            generated, _ = store.generate_msgdef(kind, 2)
            if not isinstance(extra, ConnectionExtRosbag2):
                return TopicType(generated, digest, 'cdr', [])
            definition = _definition(connection) or generated
            return TopicType(
                definition, digest, extra.serialization_format, extra.offered_qos_profiles
            )
        # Odd definitions fail wherever they first make no sense, and as anything.
        except Exception:
            return None

    def _store(self, topic: str) -> Typestore:
        if topic not in self._stores:
            self._stores[topic] = _types_of(self._connections[topic])
        return self._stores[topic]


def _types_of(connection: Connection) -> Typestore:
    """Return ROS 2's types with a connection's, as the recording defines it, or else Jazzy."""
    store = get_typestore(Stores.ROS2_JAZZY)
    text = _definition(connection)
    if not text:
        return store
    if connection.msgdef.format == MessageDefinitionFormat.MSG:
        types = get_types_from_msg(text, connection.msgtype)
    else:
        parts = [part.partition('\n')[2] for part in text.split(_RULE)]
        types = {k: v for part in parts if part for k, v in get_types_from_idl(part).items()}
    _check_names(types)
    if _HEADER in types:
        types[_HEADER] = store.fielddefs[_HEADER]  # ROS 1's has a count, which ROS 2 leaves out
    try:
        store.register(types)
    except TypesysError:  # one of them is another in Jazzy
        store = get_typestore(Stores.EMPTY)
        store.register(types)
    return store


def _check_names(types: Mapping[str, Any]) -> None:
    """
    Raise unless definitions hold nothing but names: rosbags makes Python of them, and runs it.

    Its own grammar lets nothing else through. That shall not be all that stands between a
    recording and the machine of who opens it.
    """
    for kind, (constants, fields) in types.items():
        used = [kind, *(constant[0] for constant in constants)]
        for field, (node, description) in fields:
            if node in (Nodetype.ARRAY, Nodetype.SEQUENCE):
                (node, description), size = description
                used.append(f'_{int(size)}')
            used += [field, description[0] if node == Nodetype.BASE else description]
        for name in used:
            if not _NAME.fullmatch(name):
                raise ValueError(f'expected names in a definition; found {name!r:.100}')


def _definition(connection: Connection) -> str:
    """Return a definition by which its reader can tell the two languages apart, '' if none."""
    form, text = connection.msgdef
    if form == MessageDefinitionFormat.IDL and not text.startswith(_RULE):
        return f'{_RULE}IDL: {connection.msgtype}\n{text}'
    return text
