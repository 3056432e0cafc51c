# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded messages of ROS 1 and ROS 2, and their types in ROS 2's terms."""

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
"""The line that separates a message's definition from those of the types that it uses."""


class BagError(ValueError):
    """A bag cannot be read or written; the message says what was expected and found."""


class Message(NamedTuple):
    """
    A recorded message, not decoded.

    :param kind: the type, such as ``sensor_msgs/msg/Image``.
    :param time: the recording time in nanoseconds.
    :param content: the serialised message.
    """

    topic: str
    kind: str
    time: int
    content: bytes

    def __str__(self) -> str:
        seconds, nanoseconds = divmod(self.time, 10**9)
        return f'{self.topic} at {seconds}.{nanoseconds:09d} s'


class TopicType(NamedTuple):
    """
    A topic's type as a rosbag2 describes it.

    :param definition: the message definition.
    :param digest: the definition's hash (RIHS01).
    :param encoding: the serialization format, such as ``cdr``.
    :param qos: the QoS profiles that publishers offered.
    """

    definition: str
    digest: str
    encoding: str
    qos: list[Qos]


class MessageTypes:
    """
    The types of a recording's messages.

    :param connections: one connection of each topic.
    :param is_ros1: whether ROS 1 recorded the messages.
    """

    def __init__(self, connections: dict[str, Connection], is_ros1: bool) -> None:
        self._connections = connections
        self._is_ros1 = is_ros1
        # The image types are the same in all distributions of ROS 1, and in all of ROS 2.
        self._images = get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_JAZZY)
        self._stores: dict[str, Typestore] = {}

    def to_image(self, message: Message) -> Any:
        """
        Return the fields of an image message, raw or compressed, without copying its data.

        :raises BagError: the message is not a readable image message.
        """
        content = memoryview(message.content)  # a slice of a memoryview is not a copy
        try:
            if message.kind not in (IMAGE, COMPRESSED):
                raise ValueError(f'a {message.kind}')
            if self._is_ros1:
                return self._images.deserialize_ros1(content, message.kind)
            return self._images.deserialize_cdr(content, message.kind)
        # Damaged bytes can raise any exception, wherever a parser first meets them.
        except Exception as error:
            raise BagError(
                f'{message}: expected an image message; found none that can be read: {error}'
            ) from error

    def to_cdr(self, message: Message) -> bytes:
        """
        Return a message's content as ROS 2 serialises it (CDR).

        :raises BagError: a ROS 1 message's type is unknown, or its content does not fit the type.
        """
        if not self._is_ros1:
            return message.content
        try:
            return bytes(self._store(message.topic).ros1_to_cdr(message.content, message.kind))
        # Damaged definitions and bytes can raise any exception.
        except Exception as error:
            raise BagError(
                f'{message}: expected a {message.kind}; found none that can be read: {error}'
            ) from error

    def describe(self, topic: str) -> TopicType | None:
        """
        Return a rosbag2's description of a topic's type; None if the type is unknown.

        A definition that cannot be parsed counts as unknown, as it would make the bag that it is
        written to unreadable.
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
        # Damaged definitions can raise any exception.
        except Exception:
            return None

    def _store(self, topic: str) -> Typestore:
        if topic not in self._stores:
            self._stores[topic] = _types_of(self._connections[topic])
        return self._stores[topic]


def _types_of(connection: Connection) -> Typestore:
    """Return Jazzy's types and a connection's, as the recording (else Jazzy) defines it."""
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
        types[_HEADER] = store.fielddefs[_HEADER]  # ROS 2's header lacks the field seq of ROS 1's
    try:
        store.register(types)
    except TypesysError:  # Jazzy defines one of these types differently
        store = get_typestore(Stores.EMPTY)
        store.register(types)
    return store


def _check_names(types: Mapping[str, Any]) -> None:
    """
    Raise ValueError if a definition holds anything but names.

    rosbags generates Python code from definitions and runs it. Its own grammar lets only names
    through; this is a second barrier against a recording that tries to run code.
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
    """Return a definition, marked as IDL if it is IDL instead of MSG; empty if there is none."""
    form, text = connection.msgdef
    if form == MessageDefinitionFormat.IDL and not text.startswith(_RULE):
        return f'{_RULE}IDL: {connection.msgtype}\n{text}'
    return text
