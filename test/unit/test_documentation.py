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

OF_ROS_ALONE = {
    'CONTRIBUTING.md',
    'README.md',
    'doc/README.md',
    'doc/architecture.md',
    'doc/distributions.md',
    'doc/installation.md',
    'doc/launch.md',
    'doc/parameters.md',
    'doc/performance.md',
    'doc/reliability.md',
    'doc/status.md',
    'doc/viewers.md',
}
"""Pages that name none of our commands but the node."""

LONGEST = 1300
"""Words of the README, as `wc -w` counts them."""


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


def test_the_readme_is_short_and_begins_with_a_picture():
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    assert readme.index('![') < readme.index('\n- ') < readme.index('\n## ')
    assert len(readme.split()) <= LONGEST
    assert '(doc/README.md)' in readme


def test_the_index_has_every_page_and_the_page_of_commands_every_verb():
    index = (ROOT / 'doc/README.md').read_text(encoding='utf-8')
    pages = {path.relative_to(ROOT / 'doc') for path in (ROOT / 'doc').rglob('*.md')}
    missing = {str(page) for page in pages if f'({page})' not in index}
    # The former are parts of studies.md, the latter are linked by benchmarks/README.md.
    of_other_pages = {name for name in missing if re.match(r'(studies|benchmarks)/', name)}
    assert missing - of_other_pages == {'README.md'}
    for name in re.findall(r'\]\(([\w/.-]+)', index):
        assert (ROOT / 'doc' / name).is_file(), name
    page = (ROOT / 'doc/commands.md').read_text(encoding='utf-8')
    assert set(verbs()) <= set(re.findall(r'^\| `(\w+)', page, re.MULTILINE))


def test_what_an_integration_server_shall_run_is_run_here():
    text = (ROOT / 'doc/bag.md').read_text(encoding='utf-8')
    runs = re.findall(r'^ *(?:- )?run: (ros2 .*)$', text, re.MULTILINE)
    assert runs
    assert set(runs) <= {command.text for command in COMMANDS}
