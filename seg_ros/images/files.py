# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reading what is a file, and writing one so that nobody ever meets half of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import errno
import os
from pathlib import Path
import stat
import tempfile

MAX_FILE = 2**30
"""Bytes of a file that is read as a whole: far more than any image or network here has."""


def read_regular(path: str | Path) -> bytes:
    """
    Read a whole file, but nothing that never ends or never begins, as devices and pipes can.

    :raises OSError: it cannot be read, is no regular file, or larger than :data:`MAX_FILE`.
    """
    # A pipe that nobody writes to is opened without waiting, and then refused.
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
    Write a file so that a reader, or a crash, sees the old one or the new one, never a part.

    Folders on the way to it are made.

    :raises OSError: it cannot be written, a full disk included; the old file is whole and nothing
        is left beside it.
    """
    with replacing(path) as temporary, unwritable(path):
        temporary.write_bytes(content)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """
    Give a new, empty file beside ``path``, which takes its place when the block ends.

    Where the block raises, the new one goes and the old one stays. Folders on the way are made.

    :raises OSError: as :func:`write_atomically`'s.
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
            # mkstemp makes files that only their owner reads.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


@contextmanager
def unwritable(path: str | Path) -> Iterator[None]:
    """Let the errors of what writes a file name it, and say what to do."""
    try:
        yield
    except OSError as error:
        reason = (
            f'{error.strerror}. What was there before is whole. Make room there, or choose '
            'another place, and repeat'
        )
        raise OSError(error.errno, reason, str(path)) from error
