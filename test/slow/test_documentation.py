# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The README and doc/: every command of every shell block runs, in the order of its page.

A page's commands run in a folder of its own, which has what a clone of the repository has. What no
test can run is in one list, `NOT_RUN` of `pages`, with the reason. `# exits with 1` after a
command says which exit code is right, where it is not 0.
"""

from collections.abc import Iterable
import contextlib
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import time

from import_fixtures import load_pair, make_weights
from installation import install
from pages import Command, commands, GOES_ON, NOT_RUN, PAGES, ROOT
import pytest
import torch

SECONDS = 300
"""The most seconds that a command may take to end, or to say what is waited for."""

NODE = (
    r'(OMP_\w+=\w+ )?ros2 launch seg_ros segment|'
    r'(\.venv/bin/|ros2 run seg_ros )segmentation_node'
)
LONG = {
    NODE: 'subscribing to',
    'ros2 run seg_ros listen': 'listening to',
    'ros2 run seg_ros play .*--loop': 'playing',
}
"""Patterns of what runs on until the next of its kind or the page's end; what it says first."""

ENDS_BY_ITSELF = ('ros2 run seg_ros listen',)
"""Those of them that are waited for, not interrupted."""

ENOUGH = {'ros2 topic hz': 'average rate'}
"""Patterns of what is interrupted as soon as it has said that."""

STAND_INS = {
    'bin/ros2': 'shift 2; verb=$1; shift; exec {executables}/$verb "$@"',
    'page/.venv/bin/python': 'exec {python} "$@"',
    'page/.venv/bin/segmentation_node': 'exec {executables}/segmentation_node "$@"',
}
"""Scripts: `ros2 run` where there is no ros2, and the environment that `make venv` makes."""


def kind_of(text: str, patterns: Iterable[str]) -> str | None:
    """Return the first pattern that a command begins with."""
    return next((pattern for pattern in patterns if re.match(pattern, text)), None)


class Shell:
    """
    Where the commands of a page run.

    :param folder: its own.
    :ivar broken: the command that failed, after which no other can be expected to work.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.broken: Command | None = None
        self._beside: dict[str, tuple[subprocess.Popen, Path]] = {}

    def run(self, text: str) -> str:
        """Run a command to its end, and return what it showed."""
        export = text.startswith('export ')
        process, log = self._start(f'{text}\nenv -0 > ../variables' if export else text)
        try:
            process.wait(SECONDS)
        finally:
            kill(process, signal.SIGKILL)
        expected = re.search(r'# exits with (\d+)', text)
        assert process.returncode == (int(expected[1]) if expected else 0), log.read_text()
        if export:
            variables = Path(self.folder, '../variables').read_text().split('\0')
            self.environment |= dict(v.split('=', 1) for v in variables if v)
        return log.read_text()

    def run_until(self, text: str, said: str) -> None:
        """Run a command until it has said something, then interrupt it."""
        process, log = self._start(text)
        self._await(process, log, said)
        kill(process, signal.SIGINT)
        try:
            process.wait(SECONDS)
        finally:
            kill(process, signal.SIGKILL)

    def run_beside(self, text: str, kind: str) -> None:
        """Start a command that runs on, in place of the one of its kind that does."""
        self.end(kind)
        self._beside[kind] = process, log = self._start(text)
        self._await(process, log, LONG[kind])

    def end(self, kind: str = '') -> None:
        """End what runs on, all of it or that of one kind; it must end well."""
        for name in [name for name in self._beside if kind in ('', name)]:
            process, log = self._beside.pop(name)
            if name not in ENDS_BY_ITSELF:
                kill(process, signal.SIGINT)
            try:
                assert process.wait(SECONDS) == 0, log.read_text()
            finally:
                kill(process, signal.SIGKILL)

    def _start(self, script: str) -> tuple[subprocess.Popen, Path]:
        log = self.folder.parent / f'{len(list(self.folder.parent.glob("*.log")))}.log'
        with log.open('wb') as output:
            process = subprocess.Popen(
                ['bash', '-e', '-o', 'pipefail', '-c', script],
                cwd=self.folder, env=self.environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                # A shell's background jobs ignore the signal, and so would their children.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )  # fmt: skip
        return process, log

    def _await(self, process: subprocess.Popen, log: Path, said: str) -> None:
        start = time.monotonic()
        while said not in log.read_text():
            if process.poll() is not None or time.monotonic() > start + SECONDS:
                kill(process, signal.SIGKILL)
                pytest.fail(f'expected {said!r}; found {log.read_text()}')
            time.sleep(0.1)


def kill(process: subprocess.Popen, number: int) -> None:
    """Send a signal to a command and all that it has started, as a terminal does."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@pytest.fixture(scope='module')
def installation(tmp_path_factory):
    """Install this checkout, by links, where ros2 looks for packages."""
    prefix = tmp_path_factory.mktemp('prefix')
    install(prefix)
    return prefix


@pytest.fixture(scope='module')
def shells(installation, tmp_path_factory):
    """Return where the commands of each page run."""
    path = [str(Path(sys.executable).parent), os.environ['PATH']]
    prefixes = [str(installation), os.environ.get('AMENT_PREFIX_PATH', '')]
    environment = {
        **os.environ,
        'PATH': ':'.join(path),
        'PYTHONPATH': str(ROOT),
        'AMENT_PREFIX_PATH': ':'.join(filter(None, prefixes)),
        'OMP_WAIT_POLICY': 'PASSIVE',  # other processes may have the cores
    }
    opened = {}
    for page in PAGES:
        if page in GOES_ON:
            folder = opened[GOES_ON[page]].folder
        else:
            folder = tmp_path_factory.mktemp('page') / 'page'
            furnish(folder)
            if page == 'doc/weights.md':
                publish(folder / 'model_final_v2_city.pth')
        opened[page] = Shell(folder, dict(environment))
        if not shutil.which('ros2'):
            opened[page].environment['PATH'] = ':'.join([str(folder.parent / 'bin'), *path])
    yield opened
    for shell in opened.values():
        shell.end()
    if shutil.which('ros2'):  # its commands have started a daemon
        opened['README.md'].run('ros2 daemon stop')


def furnish(folder: Path) -> None:
    """Make a page's folder like a clone of the repository, after `make venv`."""
    folder.mkdir()
    for name in ('config', 'seg_ros'):
        (folder / name).symlink_to(ROOT / name)
    if 'SEG_ROS_CAMVID' in os.environ:
        (folder / 'CAMVID').symlink_to(Path(os.environ['SEG_ROS_CAMVID']).resolve())
    for name, script in STAND_INS.items():
        path = folder.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        executables = ROOT / 'resource/executables'
        script = script.format(executables=executables, python=sys.executable)
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)


def publish(path: Path) -> None:
    """Make what a reader downloads: CoinCheung's names and shapes, with weights of no use."""
    weights = make_weights(load_pair('coincheung_bisenetv2').shapes)
    torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, path)


@pytest.mark.parametrize(
    'command',
    [
        pytest.param(command, id=f'{page}:{command.line or "end"}')
        for page in PAGES
        for command in [*commands(page), Command(page, 0, '')]
    ],
)
def test_commands_of_the_pages_run_in_their_order(shells, command):
    """After the last of a page what it has left running has to end."""
    shell = shells[command.page]
    if not command.text:
        shell.end()
        return
    text = command.text
    if kind := kind_of(text, NOT_RUN):
        pytest.skip(NOT_RUN[kind])
    if 'CAMVID' in text and 'SEG_ROS_CAMVID' not in os.environ:
        pytest.skip('SEG_ROS_CAMVID does not name the folder of CamVid')
    if re.search(r'\bros2 (?!run seg_ros )', text) and not shutil.which('ros2'):
        pytest.skip('the command ros2 is not installed')
    if re.search(r'seg_ros (play|listen|benchmark (?!engine|table))|segmentation_node', text):
        pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    if shell.broken:
        pytest.skip(f'the command in line {shell.broken.line} has failed')
    shell.broken = command
    if 'replay.launch.py' in text:  # which starts one of its own
        shell.end(NODE)
    if text.startswith('make '):  # that it exists; it would take minutes
        text = text.replace('make ', f'make -n -C {ROOT} ', 1)
    if kind := kind_of(text, LONG):
        shell.run_beside(text, kind)
    elif kind := kind_of(text, ENOUGH):
        shell.run_until(text, ENOUGH[kind])
    else:
        shown = shell.run(text)
        assert 'Traceback' not in shown
        assert 'Set parameter successful' in shown or not text.startswith('ros2 param set')
    shell.broken = None
