# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Replaying many recordings: finding them and sharing them among processes and machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
import multiprocessing
import os
from pathlib import Path
import signal
from types import FrameType

import torch
from tqdm import tqdm

from ..bags.storage import is_recording, is_storage, SUFFIXES
from ..inference.segmenter import Segmenter
from ..metrics.process_group import gathered, rank, world_size
from .drive_scores import DriveScores
from .offline import replay, ReplaySettings

Job = tuple[Path, ReplaySettings]

_segmenter: Segmenter | None = None
"""The network of a worker process, which loads it once."""

_stopped = False
"""Whether this worker process was told to end."""


def find_bags(paths: Sequence[str]) -> list[Path]:
    """
    Return the bags that these paths lead to.

    :param paths: paths of bags, of folders of bags, or of text files that list one bag's path on
        each line, relative to the text file; lines that start with # are comments.
    :raises ValueError: a folder or a text file has no bags, or a bag occurs twice.
    """
    bags = [bag for path in map(Path, paths) for bag in _bags_of(path)]
    twice = {bag.resolve() for bag in bags if [b.resolve() for b in bags].count(bag.resolve()) > 1}
    if twice:
        raise ValueError(f'expected each bag once; found {min(twice)} more often')
    return bags


def _bags_of(path: Path) -> Iterator[Path]:
    if path.suffix == '.txt' and path.is_file():
        text = path.read_text(encoding='utf-8-sig', errors='replace')
        lines = [line.strip() for line in text.splitlines()]
        found = [Path(line).expanduser() for line in lines if line and not line.startswith('#')]
        if not found:
            raise ValueError(f'{path}: expected the path of a bag a line; found none')
        yield from (path.parent / bag for bag in found)
    elif path.is_dir() and not is_recording(path):
        found = sorted(child for child in path.iterdir() if _holds_recording(child))
        if not found:
            raise ValueError(
                f'{path}: expected a bag (metadata.yaml, {", ".join(SUFFIXES)}) or a folder of '
                'bags; found neither'
            )
        yield from found
    else:
        yield path


def _holds_recording(path: Path) -> bool:
    if not path.is_dir():
        return is_storage(path)
    return is_recording(path) or any(map(is_storage, path.iterdir()))


def replay_all(
    make: Callable[[], Segmenter], jobs: Sequence[Job], processes: int = 1
) -> list[DriveScores]:
    """
    Replay recordings; if torchrun started several processes, each replays its share.

    A recording that fails has its error in its scores, and the others go on.

    :param make: a function that loads the network; called in each process.
    :param jobs: the recordings, each with its settings.
    :param processes: the number of processes that share the work on this machine.
    :returns: the scores of all recordings, in the order of the jobs, in every process.
    """
    mine = range(rank(), len(jobs), world_size())
    if processes == 1:
        segmenter = make()
        scores = [_tolerant(segmenter, jobs[i]) for i in mine]
    else:
        scores = _shared([jobs[i] for i in mine], make, processes)
    places = dict(pair for part in gathered([*zip(mine, scores)]) for pair in part)
    return [places[i] for i in range(len(jobs))]


def _shared(
    jobs: Sequence[Job], make: Callable[[], Segmenter], processes: int
) -> list[DriveScores]:
    """Share jobs among processes; a job whose process is killed has the error in its scores."""
    scores = _pooled(jobs, make, min(processes, len(jobs)))
    for i, (path, settings) in enumerate(jobs):
        if scores[i] is None:  # this job or one beside it was killed: run it alone to find out
            scores[i] = _pooled([(path, settings)], make, 1)[0]
        reason = 'expected to finish; found its process killed. Is there enough memory?'
        scores[i] = scores[i] or DriveScores(str(path), error=f'{path}: {reason}')
    return [drive for drive in scores if drive is not None]


def _pooled(
    jobs: Sequence[Job], make: Callable[[], Segmenter], processes: int
) -> list[DriveScores | None]:
    """Run jobs in a pool of processes; return None for jobs lost because one was killed."""
    pool = ProcessPoolExecutor(
        processes,
        # A forked process would believe that it has PyTorch's threads, which do not run in it.
        mp_context=multiprocessing.get_context('spawn'),
        initializer=_start,
        initargs=(make, max(1, (os.cpu_count() or 1) // processes)),
    )
    scores: list[DriveScores | None] = []
    try:
        futures = [pool.submit(_work, job) for job in jobs]
        for future in tqdm(futures, 'replaying', unit='bag', disable=None):
            try:
                scores.append(future.result())
            except BrokenProcessPool:
                scores.append(None)
    except KeyboardInterrupt:
        # Ctrl-C in a terminal reaches all processes, but a signal from elsewhere only this one.
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGINT)
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return scores


def _start(make: Callable[[], Segmenter], threads: int) -> None:
    global _segmenter

    def stop(number: int, frame: FrameType | None) -> None:
        global _stopped
        if not _stopped:  # a second signal would disturb the cleanup after the first
            _stopped = True
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    torch.set_num_threads(threads)
    _segmenter = make()


def _work(job: Job) -> DriveScores:
    assert _segmenter is not None
    if _stopped:
        raise KeyboardInterrupt
    return _tolerant(_segmenter, job)


def _tolerant(segmenter: Segmenter, job: Job) -> DriveScores:
    path, settings = job
    try:
        return replay(segmenter, path, settings)
    except (OSError, ValueError) as error:
        return DriveScores(str(path), error=str(error))
    except Exception as error:  # such as OpenCV's or CUDA's; the other drives must go on
        return DriveScores(str(path), error=f'{path}: {type(error).__name__}: {error}')
