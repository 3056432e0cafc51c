# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A cache of compiled engines on disk, named by network, settings and machine.

The folder is $SEG_ROS_CACHE, else $XDG_CACHE_HOME/seg_ros, else ~/.cache/seg_ros. Its files can be
deleted at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
import json
import os
from pathlib import Path
import tempfile
from threading import Event, Thread
from time import monotonic
from typing import Any

from ...images.files import write_atomically
from ..checkpoint import Checkpoint

Report = Callable[[str], None]
"""A function that takes one line of text for users: what is being built, and what went wrong."""

SUFFIX = '.engine'
FORMAT = 2
"""The version of the cache. Raise it when the same checkpoint compiles to a different engine."""

PROGRESS_SECONDS = 5.0
"""The seconds between two reports that an engine is still being built."""


def folder() -> Path:
    """Return the cache's folder, which need not exist."""
    if own := os.environ.get('SEG_ROS_CACHE'):
        return Path(own)
    if base := os.environ.get('XDG_CACHE_HOME'):
        return Path(base) / 'seg_ros'
    try:
        return Path.home() / '.cache' / 'seg_ros'
    except RuntimeError:  # there is no home, as in some containers
        return Path(tempfile.gettempdir()) / f'seg_ros_{os.getuid()}'


def content_key(checkpoint: Checkpoint, **settings: Any) -> str:
    """
    Return the name under which an engine compiled from a checkpoint is stored.

    :param settings: all else that the engine depends on: size, precision, versions, machine.
    """
    digest = sha256()
    for name, tensor in checkpoint.network.state_dict().items():
        digest.update(f'{name}{tuple(tensor.shape)}{tensor.dtype}'.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().data)
    settings |= {
        'format': FORMAT,
        'architecture': checkpoint.architecture,
        'exit': getattr(checkpoint.network, 'exit', None),
        'preprocessing': repr(checkpoint.preprocessing),
        'ranges': checkpoint.activation_ranges,
    }
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:32]


def load(key: str, report: Report) -> bytes | None:
    """Return a stored engine; None if there is none, or if it is damaged or not trusted."""
    path = folder() / f'{key}{SUFFIX}'
    try:
        owner, content = path.stat().st_uid, path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        report(f'cannot read the engine cache: {error}')
        return None
    # Engines contain native code, so only this user's and root's are run.
    if owner not in (os.getuid(), 0):
        report(
            f'{path} belongs to another user (id {owner}), and is not trusted: building anew. Set '
            'SEG_ROS_CACHE to a folder of your own'
        )
        return None
    # Native libraries may crash on a damaged engine.
    digest, payload = content[:32], content[32:]
    if sha256(payload).digest() != digest:
        report(f'{path} is damaged: building anew')
        return None
    return payload


def store(key: str, payload: bytes, report: Report) -> None:
    """Store a compiled engine. If that fails it is reported, and no error is raised."""
    path = folder() / f'{key}{SUFFIX}'
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, sha256(payload).digest() + payload)
    except OSError as error:
        report(
            f'cannot keep the engine for the next start: {error}. Make room, or set SEG_ROS_CACHE '
            'to another folder'
        )


@contextmanager
def building(what: str, report: Report) -> Iterator[None]:
    """Report that something is being built, every few seconds again, and how long it took."""
    start, done = monotonic(), Event()

    def remind() -> None:
        while not done.wait(PROGRESS_SECONDS):
            report(f'still building {what}: {monotonic() - start:.0f} s')

    report(f'building {what}')
    thread = Thread(target=remind, name='progress', daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    report(f'built {what} in {monotonic() - start:.1f} s')
