# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The README and doc/, as far as looking at them tells; test/slow runs their commands."""

import argparse
import importlib
from pathlib import Path
import re
import shlex

from pages import COMMANDS, NOT_RUN, PAGES, ROOT
import pytest

from seg_ros import commands
from seg_ros.__main__ import verbs

OF_ROS_ALONE = {'doc/viewers.md', 'doc/distributions.md', 'doc/reliability.md'}
"""Pages that name none of our commands but the node."""


def test_each_reason_not_to_run_has_its_commands():
    for pattern in NOT_RUN:
        assert any(re.match(pattern, c.text) for c in COMMANDS), f'nothing begins with {pattern}'


def parser_of(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(verb)
    importlib.import_module(f'{commands.__name__}.{verb}').add_arguments(parser)
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
