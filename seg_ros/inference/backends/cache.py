# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Compiled engines on disk, by content: the same network, settings and machine find theirs again.

Below $SEG_ROS_CACHE, else $XDG_CACHE_HOME/seg_ros, else ~/.cache/seg_ros. What is there can be
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
"""Takes a line for people: what is being built, and what went wrong on the way."""

SUFFIX = '.engine'
FORMAT = 2
"""To be raised when the same checkpoint is compiled to something else than before."""

PROGRESS_SECONDS = 5.0
"""How often somebody who waits for an engine hears that it is still being built."""


def folder() -> Path:
    """Return where engines are kept; it need not exist."""
    if own := os.environ.get('SEG_ROS_CACHE'):
        return Path(own)
    if base := os.environ.get('XDG_CACHE_HOME'):
        return Path(base) / 'seg_ros'
    try:
        return Path.home() / '.cache' / 'seg_ros'
    except RuntimeError:  # there is no home, as in some containers
        return Path(tempfile.gettempdir()) / f'seg_ros_{os.getuid()}'


def content_key(checkpoint: Checkpoint, **facts: Any) -> str:
    """
    Return a name for what is compiled from a checkpoint.

    :param facts: all else that the result depends on: size, precision, versions, machine.
    """
    digest = sha256()
    for name, tensor in checkpoint.network.state_dict().items():
        digest.update(f'{name}{tuple(tensor.shape)}{tensor.dtype}'.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().data)
    facts |= {
        'format': FORMAT,
        'architecture': checkpoint.architecture,
        'exit': getattr(checkpoint.network, 'exit', None),
        'preprocessing': repr(checkpoint.preprocessing),
        'ranges': checkpoint.activation_ranges,
    }
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:32]


def load(key: str, report: Report) -> bytes | None:
    """Return what was stored, or None where it is not there or not whole."""
    path = folder() / f'{key}{SUFFIX}'
    try:
        owner, content = path.stat().st_uid, path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        report(f'cannot read the engine cache: {error}')
        return None
    # An engine is native code.
    if owner not in (os.getuid(), 0):
        report(
            f'{path} belongs to another user (id {owner}), and is not trusted: building anew. Let '
            'SEG_ROS_CACHE name a folder of your own'
        )
        return None
    # Engines are given to native code, which takes a damaged one badly.
    digest, payload = content[:32], content[32:]
    if sha256(payload).digest() != digest:
        report(f'{path} is damaged: building anew')
        return None
    return payload


def store(key: str, payload: bytes, report: Report) -> None:
    """Keep a compiled engine; that it cannot be kept stops nobody."""
    path = folder() / f'{key}{SUFFIX}'
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, sha256(payload).digest() + payload)
    except OSError as error:
        report(
            f'cannot keep the engine for the next start: {error}. Make room, or let SEG_ROS_CACHE '
            'name another folder'
        )


@contextmanager
def building(what: str, report: Report) -> Iterator[None]:
    """Say that something is being built, again every few seconds, and how long it took."""
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
