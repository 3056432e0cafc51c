# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Safe reading and writing of files: only regular files are read, and writes are atomic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import errno
import os
from pathlib import Path
import stat
import tempfile

MAX_FILE = 2**30
"""The most bytes that a file may have to be read: far more than any image or network needs."""


def read_regular(path: str | Path) -> bytes:
    """
    Read a whole file. Devices and pipes are refused, as reading them may block or never end.

    :raises OSError: the file cannot be read, is not a regular file, or is larger than
        :data:`MAX_FILE`.
    """
    # O_NONBLOCK: opening a pipe that nobody writes to would otherwise wait for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, 'rb') as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            reason = 'expected a regular file; found a device, a pipe or a folder'
            raise OSError(errno.EINVAL, f'{reason}. Give the path of a file', str(path))
        if status.st_size > MAX_FILE:
            reason = f'expected {MAX_FILE} bytes at most; found {status.st_size}'
            raise OSError(errno.EFBIG, f'{reason}. Check that it is the right file', str(path))
        return file.read(status.st_size)


def write_atomically(path: str | Path, content: bytes) -> None:
    """
    Write a file atomically: readers see the old content or the new, also after a crash.

    Missing parent folders are made.

    :raises OSError: the file cannot be written, for example because the disk is full. The old file
        is then unchanged, and no temporary file is left beside it.
    """
    with replacing(path) as temporary, unwritable(path):
        temporary.write_bytes(content)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """
    Yield the path of a new, empty file that replaces ``path`` when the block ends.

    If the block raises, the new file is deleted and the old one stays. Missing parent folders are
    made.

    :raises OSError: as :func:`write_atomically`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with unwritable(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    temporary = Path(name)
    try:
        os.close(handle)
        yield temporary
        with unwritable(path):
            with temporary.open('rb+') as file:
                os.fsync(file.fileno())
            # mkstemp makes files that only their owner may read.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


@contextmanager
def unwritable(path: str | Path) -> Iterator[None]:
    """Re-raise an OSError from writing a file with the file's path and a remedy."""
    try:
        yield
    except OSError as error:
        reason = (
            f'{error.strerror}. An older file there is unchanged. Make room there, or choose '
            'another place, and repeat'
        )
        raise OSError(error.errno, reason, str(path)) from error
