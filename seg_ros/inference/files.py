# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writing a file so that nobody ever meets half of it."""

from __future__ import annotations

import os
from pathlib import Path
import tempfile


def write_atomically(path: str | Path, content: bytes) -> None:
    """
    Write a file so that a reader, or a crash, sees the old one or the new one, never a part.

    Folders on the way to it are made.

    :raises OSError: it cannot be written, a full disk included; the old file is whole and nothing
        is left beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner reads.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink()
        reason = f'{error.strerror}. What was there before is whole. Make room and repeat'
        raise OSError(error.errno, reason, str(path)) from error
    except BaseException:
        Path(temporary).unlink()
        raise
