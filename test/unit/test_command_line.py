# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The dispatcher of `python -m seg_ros`: its verbs, its exit codes, the file of `--json`."""

import json
import math
import os
import sys

import numpy as np
import pytest

from seg_ros import __main__ as command_line
from seg_ros import commands
from seg_ros.commands._result import plain

COMMAND = '''"""Do what a test wants.

More of it.
"""
from pathlib import Path
import numpy as np
from seg_ros.commands import CheckFailed
def add_arguments(parser):
    parser.add_argument('what', choices=['work', 'fail', 'value', 'file', 'stop', 'module', 'bug'])
def run(args):
    if args.what == 'fail':
        raise CheckFailed('expected mIoU of 0.5, found 0.4', {'miou': 0.4})
    if args.what == 'value':
        raise ValueError('expected a, found b')
    if args.what == 'file':
        raise FileNotFoundError(2, 'No such file or directory', 'gone.png')
    if args.what == 'stop':
        raise KeyboardInterrupt
    if args.what == 'module':
        import a_module_that_nobody_has
    if args.what == 'bug':
        import seg_ros.a_module_that_we_forgot
    return {'miou': np.float32(0.5), 'iou': np.array([0.25, np.nan]), 'out': Path('a/b')}
'''


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Add a verb `try_out`, and one that cannot even be imported."""
    folder = tmp_path / 'commands'
    folder.mkdir()
    (folder / 'try_out.py').write_text(COMMAND)
    (folder / 'broken.py').write_text('"""Break when imported."""\nraise SystemError\n')
    (folder / '_shared.py').write_text('"""No verb."""\n')
    monkeypatch.setattr(commands, '__path__', [str(folder)])
    yield
    for name in ('try_out', 'broken'):
        sys.modules.pop(f'seg_ros.commands.{name}', None)


def test_help_lists_every_verb_and_imports_none(command, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(['--help'])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert 'try_out  Do what a test wants.' in shown
    assert 'broken   Break when imported.' in shown
    assert '_shared' not in shown


def test_a_verb_describes_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(['try_out', '--help'])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert 'More of it.' in shown and '--json PATH' in shown and 'usage: seg_ros try_out' in shown


@pytest.mark.parametrize('arguments', [[], ['nonsense'], ['try_out'], ['try_out', 'dance']])
def test_usage_errors_are_exit_code_2(command, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(arguments)
    assert stop.value.code == 2
    assert 'usage:' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('what', 'code', 'said'),
    [
        ('work', 0, ''),
        ('fail', 1, 'seg_ros try_out: failed: expected mIoU of 0.5, found 0.4'),
        ('value', 2, 'seg_ros try_out: error: expected a, found b'),
        ('file', 2, "seg_ros try_out: error: [Errno 2] No such file or directory: 'gone.png'"),
        ('stop', 130, 'seg_ros try_out: interrupted'),
        ('module', 2, 'expected the Python module a_module_that_nobody_has, but it is not'),
    ],
)
def test_exit_codes(command, what, code, said, capsys):
    assert command_line.main(['try_out', what]) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count('\n') == bool(said)
    assert 'Traceback' not in shown


def test_our_own_mistakes_are_not_hidden(command):
    with pytest.raises(ModuleNotFoundError, match='a_module_that_we_forgot'):
        command_line.main(['try_out', 'bug'])


def test_json_holds_the_result_in_plain_values(command, tmp_path):
    path = tmp_path / 'new' / 'result.json'
    assert command_line.main(['try_out', 'work', '--json', str(path)]) == 0
    assert json.loads(path.read_text()) == {'miou': 0.5, 'iou': [0.25, None], 'out': 'a/b'}
    assert [entry.name for entry in path.parent.iterdir()] == ['result.json']
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_json_is_written_when_the_check_fails_and_only_then(command, tmp_path):
    path = tmp_path / 'result.json'
    assert command_line.main(['try_out', 'fail', '--json', str(path)]) == 1
    assert json.loads(path.read_text()) == {'miou': 0.4}
    path.write_text('old')
    assert command_line.main(['try_out', 'value', '--json', str(path)]) == 2
    assert path.read_text() == 'old'


def test_json_that_cannot_be_written_is_exit_code_2(command, tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert command_line.main(['try_out', 'work', '--json', str(tmp_path / 'file' / 'x.json')]) == 2
    assert 'seg_ros try_out: error:' in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:  # and a folder is noticed before the work
        command_line.main(['try_out', 'bug', '--json', str(tmp_path)])
    assert stop.value.code == 2
    assert 'expected a file to write, found the folder' in capsys.readouterr().err


def test_plain_values():
    result = {1: (np.int64(3), math.inf), 'deep': [{'x': np.bool_(True)}], 'none': None}
    assert plain(result) == {'1': [3, None], 'deep': [{'x': True}], 'none': None}


@pytest.mark.parametrize('verb', sorted(command_line.verbs()))
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main([verb, '--help'])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f'usage: seg_ros {verb} ' in shown
    assert command_line.verbs()[verb] in shown
