# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What package.xml says to rosdep for each distribution, and what the Docker image is made of."""

from pathlib import Path
import re
import xml.etree.ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
MANIFEST = ET.parse(ROOT / 'package.xml').getroot()
# What tests import; for the other modules rosdep has no key, or one that installs from pip.
TESTED_WITH = {'hypothesis', 'pil', 'pytest', 'pytest-timeout', 'pytest-xdist', 'setuptools'}


def holds(condition: str, distribution: str) -> bool:
    """Evaluate a condition of REP 149, of comparisons with the distribution and `and` or `or`."""
    words = condition.replace('$ROS_DISTRO', distribution).split()
    results = [
        (words[i] == words[i + 2]) == (words[i + 1] == '==') for i in range(0, len(words), 4)
    ]
    return all(results) if 'and' in words else any(results)


@pytest.mark.parametrize(
    ('distribution', 'key'),
    [
        ('humble', 'python3-torch'),
        ('jazzy', 'python3-pytorch-pip'),
        ('kilted', 'python3-pytorch-pip'),
        ('lyrical', 'python3-torch'),
        ('rolling', 'python3-torch'),
    ],
)
def test_pytorch_comes_from_apt_where_ubuntu_has_it(distribution, key):
    wanted = [
        element.text
        for element in MANIFEST.findall('exec_depend')
        if re.search('torch', element.text)
        and holds(element.get('condition', 'a == a'), distribution)
    ]
    assert wanted == [key]


def test_the_weights_have_terms_of_their_own():
    code, weights = MANIFEST.findall('license')
    assert code.text == 'Apache-2.0'
    assert 'CamVid' in weights.text
    terms = ROOT / weights.get('file')
    shipped = {path.name for path in (ROOT / 'seg_ros/weights').glob('*.safetensors')}
    assert set(re.findall(r'\w+\.safetensors', terms.read_text(encoding='utf-8'))) == shipped


def test_rosdep_installs_what_the_tests_import():
    keys = {element.text for element in MANIFEST.findall('test_depend')}
    assert {f'python3-{name}' for name in TESTED_WITH} <= keys


def test_the_docker_image_is_made_by_make():
    lines = (ROOT / 'Dockerfile').read_text(encoding='utf-8').splitlines()
    (python,) = re.findall(r'^FROM python:3\.(\d+)-slim$', '\n'.join(lines), re.MULTILINE)
    assert 10 <= int(python) <= 13, 'the versions that the Makefile takes'
    assert 'RUN make venv' in lines
    assert not any('pip install' in line for line in lines)
    ignored = (ROOT / '.dockerignore').read_text(encoding='utf-8').splitlines()
    assert {'.git', '.venv*', 'build'} <= set(ignored)
