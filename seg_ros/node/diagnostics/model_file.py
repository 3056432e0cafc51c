# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a network's file is still what the network was read from."""

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
    """What changes when a file does."""

    path: Path
    device: int
    inode: int
    size: int
    modified: int


class ModelFile:
    """
    Watches a network's file, by its size and time; its content is read again where these change.

    So to touch a file, or to copy the same one over it, is no change.
    """

    def __init__(self) -> None:
        self._expected = ''
        self._size: int | None = None
        self._seen: _Signature | None = None
        self._problem = ''

    def problem(self, model: str, expected: str) -> str:
        """
        Return what became of the file, and what to do; empty where it is as it was.

        :param model: a shipped network's name or a checkpoint's path; empty for neither.
        :param expected: the SHA-256 of what the network was read from; empty where unknown.
        """
        if not model or not expected:
            return ''
        # Here, as PyTorch comes with it.
        from ...inference.checkpoint import CheckpointError, find_checkpoint

        if expected != self._expected:
            self._expected, self._size, self._seen = expected, None, None
        try:
            path = find_checkpoint(model)
            facts = path.stat()
            found = _Signature(path, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
            if found != self._seen:
                self._problem = '' if self._is_same(found) else REPLACED.format(path)
                self._seen = found
            return self._problem
        except (CheckpointError, OSError):
            self._seen = None
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
