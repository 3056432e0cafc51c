# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Finding and opening the files of a recording, whole or damaged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path, PurePath
import re
import shutil
import tempfile
from typing import Any, NamedTuple, Protocol

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2
from rosbags.rosbag2.storage_mcap import zstd  # type: ignore[attr-defined]
import yaml

from .mcap_recovery import doubt, Scan, SqliteScan
from .records import McapScan, Ros1Scan

_SCANS: dict[str, Callable[[Path], Scan]] = {
    '.mcap': McapScan,
    '.db3': SqliteScan,
    '.bag': Ros1Scan,
}
SUFFIXES = tuple(_SCANS)
"""The suffixes of the files of recordings."""

_REMEDIES = {
    '.mcap': '`mcap recover` makes a whole file of it',
    '.db3': "sqlite3's `.recover`, then `ros2 bag reindex`, make a whole one of it",
    '.bag': '`rosbag reindex` makes a whole file of it',
}
_PART = re.compile(r'(.*?)(?:_(\d+))?(\.mcap|\.db3)(\.zstd)?')


class Storage(Protocol):
    """One file of a recording, with the interface of rosbags' readers."""

    @property
    def path(self) -> Any:
        """The file's path."""

    @property
    def connections(self) -> list[Connection]:
        """The recorded connections, each of which has a topic and a type."""

    @property
    def start_time(self) -> int:
        """The time of the first message in ns; 2**63 - 1 if there is none."""

    @property
    def end_time(self) -> int:
        """The time of the last message in ns, plus 1; 0 if there is none."""

    def messages(
        self, connections: Collection[Connection]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield connection, recording time in ns and content of each message, in time order."""


class Recording(NamedTuple):
    """
    The readable files of a recording and its metadata.

    :param storages: the open files, in their order.
    :param counts: each topic's number of messages according to the metadata.
    :param custom: the custom data that the writer added to the metadata, by key.
    :param damage: why not all of the recording can be read, empty if all can.
    """

    storages: list[Storage]
    counts: dict[str, int]
    custom: dict[str, str]
    damage: str


def open_recording(path: Path, stack: ExitStack) -> Recording:
    """
    Open a recording's files up to the first damaged one.

    :param stack: closes the files.
    :raises Exception: any kind, if nothing can be read.
    """
    files, counts, custom, damage = _find_files(path) if path.is_dir() else ([path], {}, {}, '')
    storages: list[Storage] = []
    for file in files:
        if not file.exists():
            damage = f'{file.name} is missing. Copy it again, or use `ros2 bag reindex`'
            break
        try:
            storage, flaw = _open_file(file, stack)
            storages.append(storage)
        # A file of another format can raise any exception.
        except Exception as error:
            flaw = f'cannot be read ({error})'
        if flaw:
            damage = f'{file.name} {flaw}. {remedy(file)}'
            break
    if not files:
        raise ValueError('metadata.yaml lists no files')
    if damage and not any(c.msgcount for storage in storages for c in storage.connections):
        raise ValueError(damage)
    return Recording(storages, counts, custom, damage)


def is_storage(path: Path) -> bool:
    """Return whether a file has the name of a recording's storage file."""
    return path.with_suffix('' if path.suffix == '.zstd' else path.suffix).suffix in SUFFIXES


def is_recording(folder: Path) -> bool:
    """Return whether a folder is one recording, not a folder of several or any other."""
    if (folder / 'metadata.yaml').exists():
        return True
    # A killed recorder leaves no metadata, but its files are named after the folder.
    files = [path for path in folder.iterdir() if is_storage(path)]
    return bool(files) and all(path.name.startswith(folder.name) for path in files)


def remedy(path: Path) -> str:
    """Return the advice on how to repair a damaged file."""
    return _REMEDIES.get(Path(path.name.removesuffix('.zstd')).suffix, 'Name a recording')


def _find_files(folder: Path) -> tuple[list[Path], dict[str, int], dict[str, str], str]:
    """Return a rosbag2's files in order, and counts, custom and damage of :class:`Recording`."""
    text = ''
    try:
        with suppress(FileNotFoundError):
            text = (folder / 'metadata.yaml').read_text()
        info: dict[str, Any] = yaml.safe_load(text)['rosbag2_bagfile_information']
        names = [PurePath(name).name for name in info['relative_file_paths']]
        topics = info['topics_with_message_count']
        storage = info['storage_identifier']
        counts = {topic['topic_metadata']['name']: topic['message_count'] for topic in topics}
    # The metadata is absent, empty or cut short: a recorder writes it last.
    except (TypeError, KeyError, ValueError, yaml.YAMLError):
        flaw = 'breaks off' if text else 'is missing'
        damage = f'metadata.yaml {flaw}: the recording was not ended. Use `ros2 bag reindex`'
        return _find_parts(folder), {}, {}, damage
    compression = info.get('compression_format') or 'zstd'
    if compression != 'zstd':
        raise ValueError(f'compression {compression!r}. Decompress it with `ros2 bag convert`')
    if storage not in ('mcap', 'sqlite3'):
        raise ValueError(f'storage {storage!r}. Convert it with `ros2 bag convert`')
    custom = info.get('custom_data') or {}
    return [folder / name for name in names], counts, custom, ''


def _find_parts(folder: Path) -> list[Path]:
    """Return a folder's storage files in the order of the numbers that rosbag2 gave them."""
    parts = [(match, path) for path in folder.iterdir() if (match := _PART.fullmatch(path.name))]
    if not parts or len({match[1] for match, _ in parts}) > 1:
        raise ValueError('no metadata.yaml, and no files of one recording')
    return [path for _, path in sorted(parts, key=lambda part: int(part[0][2] or 0))]


def _open_file(path: Path, stack: ExitStack) -> tuple[Storage, str]:
    """Return an open file and a description of its damage, empty if it is whole."""
    if path.suffix == '.zstd':
        path = _decompressed(path, stack)
    if path.suffix not in _SCANS:
        raise ValueError(f'its ending is none of {", ".join(_SCANS)}')
    error: object = doubt(path) if path.suffix == '.db3' else ''
    if not error:
        try:
            if path.suffix == '.bag':
                return stack.enter_context(Reader1(path)), ''
            reader = stack.enter_context(Reader2(path))
            # Without chunks, rosbags expects messages in time order, so such a file is scanned.
            if getattr(reader.storage, 'chunks', True):
                return reader, ''
        # A damaged file, or one of another format, can raise any exception.
        except Exception as failure:
            error = failure
    scan = _SCANS[path.suffix](path)
    stack.callback(scan.close)
    return scan, scan.damage or (f'is not whole ({error})' if error else '')


def _decompressed(path: Path, stack: ExitStack) -> Path:
    """Decompress a .zstd file into a temporary folder, which `stack` removes; return the path."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    target = folder / path.stem
    # An early end of the input is ignored here, as the decompressed file then breaks off, too.
    with (
        zstd.open(path, 'rb') as content,
        target.open('wb') as file,
        suppress(EOFError, zstd.ZstdError),
    ):
        shutil.copyfileobj(content, file)
    return target
