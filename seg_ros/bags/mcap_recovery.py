# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Recovery of damaged storage files: read from the start, without the index at their end.

A recorder that loses its power writes no index, and rosbags refuses such a file. The messages
written before are still there, in records (or database rows) that state their own length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from heapq import heappop, heappush
from itertools import count
import os
from pathlib import Path
import shutil
import sqlite3
from struct import unpack
import tempfile

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.rosbag2.metadata import parse_qos

Record = tuple[int, int, bytes]
"""A message's recording time in ns, the id of its connection, and its content."""

FORMATS = {
    'ros2msg': MessageDefinitionFormat.MSG,
    'ros2idl': MessageDefinitionFormat.IDL,
    'omgidl': MessageDefinitionFormat.IDL,
}
"""The definition languages by the names that mcap files and databases give them."""


class Scan(ABC):
    """
    A storage file whose blocks (mcap chunks or database rows) were found by scanning it.

    :param path: the file.
    :raises Exception: any kind, if the file is not of this format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ''
        """Where and why the file breaks off; empty if it does not."""
        self._known: dict[int, Connection] = {}
        self._counts: dict[int, int] = {}
        self._blocks: list[tuple[int, int]] = []  # (time of the first message, position)
        self.start_time, self.end_time = 2**63 - 1, 0
        self._stack = ExitStack()
        try:
            self._scan()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    @property
    def connections(self) -> list[Connection]:
        """The recorded connections, each with the number of its messages that were found."""
        return [c._replace(msgcount=self._counts.get(c.id, 0)) for c in self._known.values()]

    def messages(
        self, connections: Collection[Connection]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield connection, recording time in ns and content of each message, in time order."""
        chosen = {connection.id: connection for connection in connections}
        number = count()  # of two messages with equal times, the first in the file comes first
        waiting: list[tuple[int, int, int, bytes]] = []
        for start, where in [*sorted(self._blocks), (2**63, -1)]:
            while waiting and waiting[0][0] <= start:
                time, _, key, content = heappop(waiting)
                yield chosen[key], time, content
            if where >= 0:
                for time, key, content in self._read(where, chosen.keys()):
                    heappush(waiting, (time, next(number), key, content))

    def _add_block(self, where: int, times: list[int]) -> None:
        """Note the position of a block whose messages were recorded at these times."""
        if times:
            self._blocks.append((min(times), where))
            self.start_time = min(self.start_time, *times)
            self.end_time = max(self.end_time, *(time + 1 for time in times))

    @abstractmethod
    def _scan(self) -> None:
        """Find connections and blocks; set :attr:`damage` if the file ends too early."""

    @abstractmethod
    def _read(self, where: int, keys: Collection[int]) -> Iterator[Record]:
        """Yield the messages of the block at ``where`` that belong to these connections."""


def doubt(path: Path) -> str:
    """Return why a .db3 file must be scanned even if SQLite opens it; empty if it need not."""
    log = _log(path)
    if log.exists() and log.stat().st_size:
        return f'{log.name} is beside it'
    if path.stat().st_size % _page_size(path):
        return 'its last page is cut'  # SQLite would read the missing bytes as zeros
    return ''


class SqliteScan(Scan):
    """A scanned .db3 file, some of whose pages may be missing."""

    def _scan(self) -> None:
        path = self.path
        mode = 'mode=ro' if _log(path).exists() else 'mode=ro&immutable=1'
        surplus = path.stat().st_size % _page_size(path)
        if surplus:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory())
            path = Path(shutil.copy(path, folder))
            os.truncate(path, path.stat().st_size - surplus)
        self._database = sqlite3.connect(
            f'{path.absolute().as_uri()}?{mode}', uri=True, check_same_thread=False
        )
        self._stack.callback(self._database.close)
        execute = self._database.execute
        execute('PRAGMA writable_schema = ON')  # without it SQLite refuses all of a cut file
        columns = [row[1] for row in execute('PRAGMA table_info(topics)')]
        qos = 'offered_qos_profiles' if 'offered_qos_profiles' in columns else "''"
        definitions = {}
        with suppress(sqlite3.Error):  # older distributions have no such table
            definitions = {
                kind: MessageDefinition(FORMATS[encoding], text)
                for kind, encoding, text in execute(
                    'SELECT topic_type, encoding, encoded_message_definition '
                    'FROM message_definitions'
                )
            }
        unknown = MessageDefinition(MessageDefinitionFormat.NONE, '')
        for key, topic, kind, encoding, profiles in execute(
            f'SELECT id, name, type, serialization_format, {qos} FROM topics'
        ):
            extra = ConnectionExtRosbag2(encoding, parse_qos(profiles))
            definition = definitions.get(kind, unknown)
            self._known[key] = Connection(key, topic, kind, definition, '', 0, extra, self)
        try:
            for where, key, time in execute(
                'SELECT id, topic_id, timestamp FROM messages NOT INDEXED ORDER BY id'
            ):
                self._add_block(where, [time])
                self._counts[key] = self._counts.get(key, 0) + 1
        # An overwritten page can raise any exception, depending on the values read from it.
        except Exception as error:
            self.damage = f'breaks off after {len(self._blocks)} rows ({error})'

    def _read(self, where: int, keys: Collection[int]) -> Iterator[Record]:
        chosen = ', '.join(map(str, keys))
        yield from self._database.execute(
            'SELECT timestamp, topic_id, data FROM messages '
            f'WHERE id = ? AND topic_id IN ({chosen})',
            [where],
        )


def _log(path: Path) -> Path:
    """Return the path of the write-ahead log of a database in WAL mode."""
    return path.with_name(f'{path.name}-wal')


def _page_size(path: Path) -> int:
    with path.open('rb') as file:
        (size,) = unpack('>16xH', file.read(18))
    return 65536 if size == 1 else int(size)
