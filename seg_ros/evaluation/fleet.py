# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Many recordings: finding them, and sharing them among processes and machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
import os
from pathlib import Path

import torch
from tqdm import tqdm

from ..inference.segmenter import Segmenter
from .drive import DriveScores
from .processes import gathered, rank, world_size
from .replay import replay, Settings

STORAGE = ('.mcap', '.db3', '.bag')

Job = tuple[Path, Settings]

_segmenter: Segmenter | None = None
"""Of a worker process, which loads it once."""


def find_bags(paths: Sequence[str]) -> list[Path]:
    """
    Return the bags that paths stand for.

    :param paths: of bags, of folders of bags, or of text files with the path of one a line,
        relative to the file; a line that starts with # is none.
    :raises ValueError: a folder or a list has none, or a bag comes twice.
    """
    bags = [bag for path in map(Path, paths) for bag in _bags_of(path)]
    twice = {bag.resolve() for bag in bags if [b.resolve() for b in bags].count(bag.resolve()) > 1}
    if twice:
        raise ValueError(f'expected each bag once; found {min(twice)} more often')
    return bags


def _bags_of(path: Path) -> Iterator[Path]:
    if path.suffix == '.txt' and path.is_file():
        lines = map(str.strip, path.read_text(errors='replace').splitlines())
        found = [path.parent / line for line in lines if line and not line.startswith('#')]
        if not found:
            raise ValueError(f'{path}: expected the path of a bag a line; found none')
        yield from found
    elif path.is_dir() and not _is_bag(path):
        found = sorted(child for child in path.iterdir() if _is_bag(child))
        if not found:
            raise ValueError(
                f'{path}: expected a bag (metadata.yaml, {", ".join(STORAGE)}) or a folder of '
                'bags; found neither'
            )
        yield from found
    else:
        yield path


def _is_bag(path: Path) -> bool:
    if not path.is_dir():
        return path.suffix in STORAGE
    # Where the recorder was killed there is no metadata, but its files have the folder's name.
    return (path / 'metadata.yaml').exists() or any(
        file.suffix in STORAGE and file.stem.startswith(path.name) for file in path.iterdir()
    )


def replay_all(
    make: Callable[[], Segmenter], jobs: Sequence[Job], processes: int = 1
) -> list[DriveScores]:
    """
    Replay recordings, those of this process's share where torchrun started several.

    One that fails is named in its result, and the others go on.

    :param make: loads the network; called in each process.
    :param processes: that share the work on this machine.
    :returns: the scores of all of them, in their order, in every process.
    """
    mine = range(rank(), len(jobs), world_size())
    if processes == 1:
        segmenter = make()
        scores = [_tolerant(segmenter, jobs[i]) for i in mine]
    else:
        threads = max(1, (os.cpu_count() or 1) // processes)
        with ProcessPoolExecutor(
            processes,
            # A fork would inherit PyTorch's threads, but not their running.
            mp_context=multiprocessing.get_context('spawn'),
            initializer=_start,
            initargs=(make, threads),
        ) as pool:
            done = pool.map(_work, [jobs[i] for i in mine])
            scores = [*tqdm(done, 'replaying', total=len(mine), unit='bag', disable=rank() > 0)]
    places = dict(pair for part in gathered([*zip(mine, scores)]) for pair in part)
    return [places[i] for i in range(len(jobs))]


def _start(make: Callable[[], Segmenter], threads: int) -> None:
    global _segmenter
    torch.set_num_threads(threads)
    _segmenter = make()


def _work(job: Job) -> DriveScores:
    assert _segmenter is not None
    return _tolerant(_segmenter, job)


def _tolerant(segmenter: Segmenter, job: Job) -> DriveScores:
    path, settings = job
    try:
        return replay(segmenter, path, settings)
    except (OSError, ValueError) as error:
        return DriveScores(str(path), error=str(error))
