# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Starting and ending the ROS processes of a measurement, each with its own transport."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
import json
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
from typing import Any

from ...node.dds_profile import PROFILE_VARIABLES

Environment = Mapping[str, str]
"""The environment variables of a new process that differ from this process's."""

PROFILE = 'fastdds_large_images.xml'

END_SECONDS = 20.0
"""How long a process may take to end after its signal before it is killed."""

PROGRAMS = {
    'segmentation_node': 'seg_ros.node.segmentation_node',
    'relay': f'{__package__}.relay',
}
"""The modules of the nodes that :class:`Program` starts."""


class ProcessError(ValueError):
    """A needed process has ended, or sends nothing; the message says which one."""


def profile_environment() -> Environment:
    """
    Return the variables that make a process use `config/fastdds_large_images.xml`.

    :raises ProcessError: the file is neither beside these sources nor installed with them.
    """
    for folder in Path(__file__).resolve().parents:
        for place in ('config', 'share/seg_ros/config'):
            if (path := folder / place / PROFILE).is_file():
                return dict.fromkeys(PROFILE_VARIABLES, str(path))
    raise ProcessError(
        f'expected config/{PROFILE} beside the sources, or in share/seg_ros of the installation; '
        f'found none above {Path(__file__).parent}. Install the package anew'
    )


def _environment(changes: Environment) -> dict[str, str]:
    """
    Return the environment of a new process.

    It is this process's, with ``changes`` in place of its settings of the transport, and limits
    discovery to this computer.
    """
    transport = (*PROFILE_VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS')
    kept = {name: value for name, value in os.environ.items() if name not in transport}
    return {**kept, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', **changes}


class Program:
    """
    A context manager: a node in a process of its own, which is ended as by Ctrl-C.

    :param module: segmentation_node or relay.
    :param parameters: the node's parameters.
    :param environment: the variables that select its transport.
    """

    def __init__(
        self, module: str, parameters: Mapping[str, Any], environment: Environment
    ) -> None:
        command = [sys.executable, '-m', PROGRAMS[module], '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={json.dumps(value)}']
        self.name = module
        self._process = subprocess.Popen(
            [*command, '--log-level', 'warn'],
            env=_environment(environment),
            stdin=subprocess.DEVNULL,
        )

    @property
    def running(self) -> bool:
        """Return whether the process has not ended yet."""
        return self._process.poll() is None

    def memory_mb(self) -> float | None:
        """Return the process's peak memory so far in megabytes; None if this is not Linux."""
        return self._memory_mb('VmHWM')

    def own_memory_mb(self) -> float | None:
        """
        Return the memory that the process does not share, in megabytes; None if not on Linux.

        Shared memory is left out, as it seems to grow: the more of a sender's segment of 64 MB
        was ever in use at once, the more of its pages count as resident.
        """
        return self._memory_mb('RssAnon')

    def _memory_mb(self, key: str) -> float | None:
        try:
            status = Path(f'/proc/{self._process.pid}/status').read_text(encoding='utf-8')
        except OSError:
            return None
        found = re.search(rf'^{key}:\s+(\d+) kB$', status, re.MULTILINE)
        return int(found[1]) / 1024 if found else None

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *error: object) -> None:
        if self.running:
            self._process.send_signal(signal.SIGINT)
        _end(self._process)


class Helper:
    """
    A context manager: a process of :mod:`.dds_load` that executes commands.

    :param kind: dds_load or network.
    :param arguments: the arguments of the kind's class.
    :param environment: the variables that select its transport.
    """

    def __init__(self, kind: str, arguments: Mapping[str, Any], environment: Environment) -> None:
        self._kind = kind
        self._process = subprocess.Popen(
            [sys.executable, '-m', f'{__package__}.dds_load', kind, json.dumps(arguments)],
            env=_environment(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, method: str, *arguments: Any) -> Any:
        """
        Call a method in the process and return its result.

        :raises ProcessError: the process has ended.
        """
        assert self._process.stdin and self._process.stdout
        try:
            print(json.dumps([method, *arguments]), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            answer = ''
        else:
            answer = self._process.stdout.readline()
        if not answer:
            raise ProcessError(
                f'expected an answer of the process {self._kind}; found that it has ended with '
                f'exit code {self._process.wait()}. What it printed above says why'
            )
        return json.loads(answer)

    def __enter__(self) -> Helper:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()  # the process ends at the end of its input
        self._process.stdout.close()
        _end(self._process)


def start_dds_load(
    sent: Mapping[str, Mapping[str, Any]],
    heard: Mapping[str, bool] | Sequence[str],
    environment: Environment,
    reliability: str = 'reliable',
    keep: bool = True,
    told_apart: bool = False,
) -> Helper:
    """Start a process with a :class:`.dds_load.DdsLoad`, which has the same parameters."""
    arguments = {
        'sent': sent,
        'heard': heard if isinstance(heard, Mapping) else dict.fromkeys(heard, False),
        'reliability': reliability,
        'keep': keep,
        'told_apart': told_apart,
    }
    return Helper('dds_load', arguments, environment)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run ``count`` processes that only use up processor time; they end with this process."""
    work = f'import os\nwhile os.getppid() == {os.getpid()}: pass'
    running = [subprocess.Popen([sys.executable, '-c', work]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def _end(process: subprocess.Popen[Any]) -> None:
    # A process that is killed at once leaves its shared memory behind.
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
