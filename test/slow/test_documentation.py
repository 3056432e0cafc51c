# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The README and doc/: every command of every shell block runs, in the order of its page.

A page's commands run in a folder of its own, which has what a clone of the repository has. What no
test can run is in one list, `NOT_RUN`, with the reason. `# exits with 1` after a command says
which exit code is right, where it is not 0.
"""

import argparse
from collections.abc import Iterable, Iterator
import contextlib
import importlib
import importlib.util
import os
from pathlib import Path
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

from import_fixtures import load_pair, make_weights
import pytest
import torch

from seg_ros import tools
from seg_ros.__main__ import verbs

ROOT = Path(__file__).parents[2]
GOES_ON = {
    'doc/compression.md': 'doc/own_data_set.md',
    'doc/own_weights.md': 'doc/own_data_set.md',
}
"""Pages that need what another one has made, and say so."""

PAGES = [
    'README.md',
    *sorted(
        (f'doc/{path.name}' for path in (ROOT / 'doc').glob('*.md')),
        key=lambda page: (GOES_ON.get(page, page), page in GOES_ON, page),
    ),
]

OF_ROS_ALONE = {'doc/viewers.md', 'doc/distributions.md', 'doc/reliability.md'}
"""Pages that name none of our commands but the node."""

SECONDS = 120
STARTED_AFTER = 3
"""Seconds after which what says nothing has started."""

NOT_RUN = {
    'cd seg_ros': 'every page begins in a folder like it',
    r'(source|mkdir|git|rosdep|python3 -m venv|pip|python -m colcon|\.) ': (
        "needs Ubuntu's ROS 2; what colcon builds is tested in test_package"
    ),
    r'ros2 launch seg_ros segment\.launch\.py cameras:=front,rear': 'needs two cameras, and RViz',
    'sudo apt': 'changes the machine',
    'ros2 run v4l2_camera': 'needs a camera',
    'ros2 bag': 'rosbag2 is not on PyPI',
    'ros2 launch foxglove_bridge': 'Foxglove is not on PyPI',
    'rviz2': 'RViz is not on PyPI',
    r'python -m seg_ros train .*_camvid\.yaml': 'takes hours; test_train_command takes moments',
    'python -m seg_ros evaluate --model runs/bisenetv2_camvid/': 'needs what those hours make',
    r'python -m seg_ros study .*--dataset camvid': 'trains for hours; test_study takes moments',
    '.*--dataset cityscapes --root CITYSCAPES': 'Cityscapes may not be passed on',
}
"""Patterns of commands' beginnings, and why those are not run."""

NODE = (
    r'(OMP_\w+=\w+ )?ros2 launch seg_ros segment|'
    r'(\.venv/bin/|ros2 run seg_ros )segmentation_node'
)
LONG = {
    NODE: 'subscribing to',
    'ros2 run seg_ros listen': 'listening to',
    'ros2 run seg_ros play .*--loop': '',
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


class Command(NamedTuple):
    """A command of a page, and the line it begins in."""

    page: str
    line: int
    text: str


def commands(page: str) -> Iterator[Command]:
    """Yield the commands of a page's ```bash blocks; backslash and here-document join lines."""
    lines = enumerate((ROOT / page).read_text(encoding='utf-8').splitlines(), 1)
    for _, line in lines:
        opened = re.fullmatch(r'( *)```bash', line)
        while opened and (block := next(lines))[1] != f'{opened[1]}```':
            number, text = block[0], block[1].removeprefix(opened[1])
            document = re.search(r"<<'(\w+)'", text)
            while text.endswith('\\') or (document and not text.endswith(f'\n{document[1]}')):
                text += '\n' + next(lines)[1].removeprefix(opened[1])
            if text.strip():
                yield Command(page, number, text)


COMMANDS = [command for page in PAGES for command in commands(page)]


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
        while not (said in log.read_text() if said else time.monotonic() > start + STARTED_AFTER):
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
    packages = prefix / 'share/ament_index/resource_index/packages'
    share = prefix / 'share/seg_ros'
    for folder in (packages, share / 'launch', prefix / 'lib'):
        folder.mkdir(parents=True)
    (packages / 'seg_ros').symlink_to(ROOT / 'resource/seg_ros')
    for path in (ROOT / 'package.xml', ROOT / 'config', *(ROOT / 'launch').iterdir()):
        # `ros2 launch` does not look into a folder that is a link
        (share / path.relative_to(ROOT)).symlink_to(path)
    (prefix / 'lib/seg_ros').symlink_to(ROOT / 'resource/executables')
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


def test_each_reason_not_to_run_has_its_commands():
    for pattern in NOT_RUN:
        assert any(re.match(pattern, c.text) for c in COMMANDS), f'nothing begins with {pattern}'


# What is not run can still be looked at.


def parser_of(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(verb)
    importlib.import_module(f'{tools.__name__}.{verb}').add_arguments(parser)
    parser.add_argument('--json')
    return parser


@pytest.mark.parametrize('page', PAGES)
def test_commands_have_the_arguments_that_they_are_given(page):
    """Those in running text and in tables, too."""
    text = (ROOT / page).read_text(encoding='utf-8').replace('\\\n', '')
    found = re.findall(r'(?:-m|ros2 run) seg_ros (\w+)([^`\n#|&>]*)', text)
    for verb, arguments in found:
        if verb not in ('VERB', 'segmentation_node') and '...' not in arguments:
            parser_of(verb).parse_args(shlex.split(arguments))
    assert found or page in OF_ROS_ALONE


@pytest.mark.parametrize('page', PAGES)
def test_what_is_linked_exists(page):
    text = (ROOT / page).read_text(encoding='utf-8')
    for target in re.findall(r'\]\(([^)]+)\)', text):
        path, _, heading = target.partition('#')
        assert '://' not in path, 'an address may be gone tomorrow'
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.is_file(), target
        assert not heading or heading in anchors(linked), target
    for name in re.findall(r'config/training/\w+\.yaml', text):
        assert (ROOT / name).is_file(), name


def anchors(path: Path) -> set[str]:
    """Return what headings are linked by: in small letters, with dashes, without punctuation."""
    headings = re.findall(r'^#+ (.*)$', path.read_text(encoding='utf-8'), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def test_the_readme_begins_with_a_picture_and_has_every_page_and_verb():
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    assert readme.index('![') < readme.index('\n- ') < readme.index('\n## ')
    listed = re.findall(r'^\| `(\w+)', readme[readme.index('\n## Commands') :], re.MULTILINE)
    assert set(verbs()) <= set(listed)
    assert all(f'({page})' in readme for page in PAGES[1:])


def test_what_an_integration_server_shall_run_is_run_here():
    text = (ROOT / 'doc/bag.md').read_text(encoding='utf-8')
    runs = re.findall(r'^ *(?:- )?run: (ros2 .*)$', text, re.MULTILINE)
    assert runs
    assert set(runs) <= {command.text for command in COMMANDS}
