# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scanning storage files that are a sequence of records, each of which states its own length."""

from __future__ import annotations

from abc import abstractmethod
import bz2
from collections.abc import Callable, Collection, Iterator
from io import BytesIO
from pathlib import Path
from struct import unpack
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag1,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.rosbag2.metadata import parse_qos
from rosbags.rosbag2.storage_mcap import lz4_decompress, zstd  # type: ignore[attr-defined]

from .mcap_recovery import FORMATS, Record, Scan

DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    '': bytes,
    'none': bytes,
    'bz2': bz2.decompress,
    'lz4': lz4_decompress,
    'zstd': zstd.decompress,
}


class _Record(NamedTuple):
    """
    A complete record.

    :param where: the position at which the record begins.
    :param head: its type (mcap) or header fields (ROS 1).
    :param start: the position at which its data begins.
    :param length: the length of its data in bytes.
    """

    where: int
    head: Any
    start: int
    length: int


class _ScanOfRecords(Scan):
    """A scanned file of records, some of which (chunks) hold further records."""

    def _scan(self) -> None:
        self._stream = self._stack.enter_context(self.path.open('rb'))
        size = self.path.stat().st_size
        end, reason = 0, ''
        try:
            for record in self._records(self._stream, size):
                if self._is_end(record):
                    return
                end = record.where
                times = []
                for time, key, _ in self._messages(self._stream, record, None):
                    times.append(time)
                    self._counts[key] = self._counts.get(key, 0) + 1
                self._add_block(record.where, times)
                end = record.start + record.length
        # Damaged bytes can raise any exception, wherever a parser first meets them.
        except Exception as error:
            reason = f', where its bytes make no sense ({error})'
        self.damage = f'breaks off at byte {end} of {size}{reason}'

    def _read(self, where: int, keys: Collection[int]) -> Iterator[Record]:
        self._stream.seek(where)
        record = next(self._records(self._stream, 2**63))
        yield from self._messages(self._stream, record, keys)

    @abstractmethod
    def _records(self, stream: BinaryIO, end: int) -> Iterator[_Record]:
        """
        Yield the complete records from the stream's position up to ``end``.

        The caller may move the stream's position between two records.
        """

    @abstractmethod
    def _is_end(self, record: _Record) -> bool:
        """Return whether this record is the first of those that end an undamaged file."""

    @abstractmethod
    def _messages(
        self, stream: BinaryIO, record: _Record, keys: Collection[int] | None
    ) -> Iterator[Record]:
        """Yield a record's messages of these connections; for None all, without content."""


class McapScan(_ScanOfRecords):
    """A scanned .mcap file (mcap.dev/spec), with or without chunks."""

    def __init__(self, path: Path) -> None:
        self._schemas: dict[int, tuple[str, MessageDefinition]] = {}
        super().__init__(path)

    def _records(self, stream: BinaryIO, end: int) -> Iterator[_Record]:
        where = stream.tell()
        if stream is self._stream and where == 0:
            where = 8  # the magic bytes
        while where + 9 <= end:
            stream.seek(where)
            kind, length = unpack('<BQ', stream.read(9))
            if not kind:
                raise ValueError('zeros')  # space in the file that was never written
            if where + 9 + length > end:
                return
            yield _Record(where, kind, where + 9, length)
            where += 9 + length

    def _is_end(self, record: _Record) -> bool:
        return record.head in (0x02, 0x0F)  # footer, end of data

    def _messages(
        self, stream: BinaryIO, record: _Record, keys: Collection[int] | None
    ) -> Iterator[Record]:
        if record.head == 0x05:
            key, _, time, _ = unpack('<HIQQ', stream.read(min(record.length, 22)))
            if keys is None:
                yield time, key, b''
            elif key in keys:
                yield time, key, stream.read(record.length - 22)
        elif record.head == 0x06:
            _, _, size, checksum = unpack('<QQQI', stream.read(28))
            compression = _text(stream)
            content = DECOMPRESS[compression](stream.read(*unpack('<Q', stream.read(8))))
            if checksum and crc32(content) != checksum:
                raise ValueError('checksum')
            chunk = BytesIO(content)
            for inner in self._records(chunk, size):
                yield from self._messages(chunk, inner, keys)
        elif record.head == 0x01:
            if (profile := _text(stream)) != 'ros2':
                raise ValueError(f'profile {profile!r} instead of ros2')
        elif record.head == 0x03:
            (key,) = unpack('<H', stream.read(2))
            name, encoding, text = _text(stream), _text(stream), _text(stream)
            form = FORMATS.get(encoding, MessageDefinitionFormat.NONE)
            self._schemas[key] = name, MessageDefinition(form, text)
        elif record.head == 0x04:
            key, schema = unpack('<HH', stream.read(4))
            topic, encoding = _text(stream), _text(stream)
            (end,) = unpack('<I', stream.read(4))
            end += stream.tell()
            more = {}
            while stream.tell() < end:
                name = _text(stream)
                more[name] = _text(stream)
            extra = ConnectionExtRosbag2(encoding, parse_qos(more.get('offered_qos_profiles', '')))
            self._known[key] = Connection(key, topic, *self._schemas[schema], '', 0, extra, self)


class Ros1Scan(_ScanOfRecords):
    """A scanned ROS 1 .bag file (wiki.ros.org/Bags/Format/2.0)."""

    def _records(self, stream: BinaryIO, end: int) -> Iterator[_Record]:
        where = stream.tell()
        if stream is self._stream and where == 0:
            where = len(b'#ROSBAG V2.0\n')
        while where + 4 <= end:
            stream.seek(where)
            (length,) = unpack('<I', stream.read(4))
            start = where + 4 + length + 4
            if start > end:
                return
            head = _fields(stream.read(length))
            (length,) = unpack('<I', stream.read(4))
            if start + length > end:
                return
            yield _Record(where, head, start, length)
            where = start + length

    def _is_end(self, record: _Record) -> bool:
        return record.head['op'] in (b'\x06', b'\x07')  # the index: chunk info, connections

    def _messages(
        self, stream: BinaryIO, record: _Record, keys: Collection[int] | None
    ) -> Iterator[Record]:
        kind = record.head['op']
        if kind == b'\x02':
            (key,) = unpack('<I', record.head['conn'])
            seconds, nanoseconds = unpack('<II', record.head['time'])
            if keys is None or key in keys:
                content = b'' if keys is None else stream.read(record.length)
                yield seconds * 10**9 + nanoseconds, key, content
        elif kind == b'\x05':
            compression = record.head['compression'].decode()
            content = DECOMPRESS[compression](stream.read(record.length))
            chunk = BytesIO(content)
            for inner in self._records(chunk, len(content)):
                yield from self._messages(chunk, inner, keys)
        elif kind == b'\x07':
            (key,) = unpack('<I', record.head['conn'])
            fields = _fields(stream.read(record.length))
            package, _, name = fields['type'].decode().rpartition('/')
            text = fields['message_definition'].decode()
            self._known[key] = Connection(
                key,
                record.head['topic'].decode(),
                f'{package}/msg/{name}',
                MessageDefinition(MessageDefinitionFormat.MSG, text),
                fields['md5sum'].decode(),
                0,
                ConnectionExtRosbag1(None, None),
                self,
            )


def _text(stream: BinaryIO) -> str:
    return stream.read(*unpack('<I', stream.read(4))).decode()


def _fields(data: bytes) -> dict[str, bytes]:
    """Return the fields of a ROS 1 record header by name."""
    fields = {}
    while data:
        (length,) = unpack('<I', data[:4])
        name, _, value = data[4 : 4 + length].partition(b'=')
        fields[name.decode()] = value
        data = data[4 + length :]
    return fields
