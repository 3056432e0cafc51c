# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checking whether a network's file has changed since the network was read from it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

CHUNK = 2**20

REPLACED = (
    '{} has been replaced since the network was read from it. Call ~/reload to take the new one, '
    'or put the old one back'
)
REMOVED = (
    '{} cannot be read any more; the network that was read from it is still in use. Put the file '
    'back before the node starts again, or call ~/reload once there is another'
)


class _Signature(NamedTuple):
    """The properties of a file by which a change is noticed."""

    path: Path
    device: int
    inode: int
    size: int
    modified: int


class ModelFile:
    """
    Watches a network's file for changes.

    If its size or time changes, its content is read and compared, so that touching the file or
    copying the same file over it does not count as a change.
    """

    def __init__(self) -> None:
        self._expected = ''
        self._size: int | None = None
        self._checked: _Signature | None = None
        self._problem = ''

    def problem(self, model: str, expected: str) -> str:
        """
        Return how the file has changed and what to do about it; empty if it has not changed.

        :param model: a shipped network's name or a checkpoint's path; empty if the network was
            not read from a file.
        :param expected: the SHA-256 of the content that was read; empty if it is not known.
        """
        if not model or not expected:
            return ''
        # Imported here, as it imports PyTorch, which takes seconds.
        from ...inference.checkpoint import CheckpointError, find_checkpoint

        if expected != self._expected:
            self._expected, self._size, self._checked = expected, None, None
        try:
            path = find_checkpoint(model)
            stat = path.stat()
            found = _Signature(path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if found != self._checked:
                self._problem = '' if self._is_same(found) else REPLACED.format(path)
                self._checked = found
            return self._problem
        except (CheckpointError, OSError):
            self._checked = None
            return REMOVED.format(model)

    def _is_same(self, found: _Signature) -> bool:
        if self._size not in (None, found.size):
            return False
        content = sha256()
        with found.path.open('rb') as file:
            while chunk := file.read(CHUNK):
                content.update(chunk)
        if content.hexdigest() != self._expected:
            return False
        self._size = found.size
        return True
