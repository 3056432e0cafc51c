# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The package as a whole: versions, dependencies, direction of imports."""

import ast
from graphlib import TopologicalSorter
import os
from pathlib import Path
import re
import sys
import xml.etree.ElementTree as ET

import pytest
import yaml

from seg_ros.__main__ import verbs

ROOT = Path(__file__).parents[2]
MANIFEST = ET.parse(ROOT / 'package.xml').getroot()
SETUP = next(
    {keyword.arg: keyword.value for keyword in node.keywords}
    for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8')))
    if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'setup'
)
EXECUTABLES = {'segmentation_node', *verbs()}

# What each room may import of the others; `models` and `images` at the bottom.
BOTTOM = {'models', 'images'}
INFERENCE = {'inference', *BOTTOM}
DATA = {'datasets', 'bags', 'interop', *INFERENCE}
SCORES = {'metrics', 'reports', *DATA}
IMPORTS = {
    'models': set(),
    'images': set(),
    'inference': BOTTOM,
    'interop': INFERENCE,
    'bags': {'images'},
    'datasets': INFERENCE,
    'metrics': {'datasets', *INFERENCE},
    'reports': {'metrics', 'images'},
    'training': SCORES,
    'pruning': SCORES,
    'replay': SCORES,
    'replay.live': SCORES,
    'benchmark': SCORES,
    'benchmark.live': {'node', *INFERENCE},
    'studies': {'benchmark', 'training', 'pruning', *SCORES},
    'node': INFERENCE,
    'commands': {
        'benchmark', 'benchmark.live', 'studies', 'training', 'pruning', 'replay', 'replay.live',
        *SCORES,
    },
    '__main__': {'commands'},
    '__init__': set(),
}  # fmt: skip
SPEAK_ROS = {'node', 'replay.live', 'benchmark.live'}

# Names that occur twice, and why.
SAME_MODULES = {
    'bisenetv2': 'the network, and how its public weights are read',
    'icnet': 'the network, and how its public weights are read',
    'cityscapes': 'the data set, and the scores that its scripts define',
    'evaluate': 'the function, and the command that calls it',
    'export': 'the functions, and the command that calls them',
    'sample_drive': 'the drive, and the command that writes it',
    'study': 'the studies, and the command that runs one',
}
ROS = re.compile(r'rclpy|\w+_msgs|\w+_srvs|\w+_interfaces|cv_bridge|launch\w*|ament_\w+|rosidl\w*')

# Imported name: what pip calls it, and the key of rosdep, where there is one.
DEPENDENCIES = {
    'av': ('av', None),
    'cv2': ('opencv-python-headless', 'python3-opencv'),
    'jinja2': ('jinja2', 'python3-jinja2'),
    'matplotlib': ('matplotlib', 'python3-matplotlib'),
    'numpy': ('numpy', 'python3-numpy'),
    'rosbags': ('rosbags', 'python3-rosbags-pip'),
    'safetensors': ('safetensors', None),
    'torch': ('torch', 'python3-pytorch-pip'),
    'tqdm': ('tqdm', 'python3-tqdm'),
    'yaml': ('PyYAML', 'python3-yaml'),
}
OPTIONAL = {'tensorboard', 'openvino', 'onnx', 'onnxruntime', 'onnxscript'}


def imports(path):
    """List the absolute names of the modules that a file of the package imports."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = '.'.join([*base, *([node.module] if node.module else [])])
            yield module
            if module == 'seg_ros':
                yield from (f'seg_ros.{alias.name}' for alias in node.names)


SOURCES = sorted((ROOT / 'seg_ros').rglob('*.py'))


def room_of(name):
    """Return the room of a module: `replay` and `benchmark` have one more inside."""
    parts = name.split('.')[1:]
    return '.'.join(parts[:2]) if parts[1:2] == ['live'] else parts[0]


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    room = room_of('.'.join(path.relative_to(ROOT).with_suffix('').parts))
    for name in imports(path):
        own = name.split('.')
        if own[0] == 'seg_ros' and len(own) > 1:
            assert room_of(name) in {room, *IMPORTS[room]}, f'{room} must not import {name}'
        if room not in SPEAK_ROS:
            assert not ROS.fullmatch(own[0]), f'{room} must not speak ROS; this imports {name}'


def test_the_arrows_make_no_circle():
    order = TopologicalSorter({room: above - {room} for room, above in IMPORTS.items()})
    assert set(order.static_order()) == set(IMPORTS)


def test_no_name_means_two_things():
    modules = [path.stem for path in SOURCES if not path.stem.startswith('_')]
    assert {name for name in modules if modules.count(name) > 1} == set(SAME_MODULES)
    classes = [
        node.name
        for path in SOURCES
        for node in ast.parse(path.read_text(encoding='utf-8')).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith('_')
    ]
    assert sorted({name for name in classes if classes.count(name) > 1}) == []


def test_progress_bars_are_drawn_on_terminals_alone():
    bars = [
        (path.name, call)
        for path in SOURCES
        for call in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(call, ast.Call) and getattr(call.func, 'id', '') == 'tqdm'
    ]
    assert len(bars) > 10
    for name, call in bars:
        # tqdm's own default draws them into log files, too; None asks whether there is a terminal.
        disable = {argument.arg: argument.value for argument in call.keywords}.get('disable')
        last = disable.values[-1] if isinstance(disable, ast.BoolOp) else disable
        assert isinstance(last, ast.Constant) and last.value is None, f'{name}:{call.lineno}'


def test_that_test_sees_relative_imports():
    names = set(imports(ROOT / 'seg_ros/__main__.py'))
    assert {'seg_ros.commands', 'seg_ros.commands._result', 'argparse'} <= names


def test_versions_agree():
    changelog = (ROOT / 'CHANGELOG.rst').read_text(encoding='utf-8')
    newest = re.search(r'^(\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)\n-{5,}$', changelog, re.MULTILINE)[1]
    assert MANIFEST.findtext('version') == SETUP['version'].value == newest


def test_every_import_is_a_declared_dependency():
    modules = {name for path in SOURCES for name in imports(path)}
    tops = {name.split('.')[0] for name in modules if name}
    foreign = tops - sys.stdlib_module_names - {'seg_ros'} - OPTIONAL
    required = set(ast.literal_eval(SETUP['install_requires']))
    keys = {element.text for element in MANIFEST.findall('exec_depend')}
    for name in sorted(foreign):
        if ROS.fullmatch(name):
            assert name in keys
        else:
            distribution, key = DEPENDENCIES[name]
            assert distribution in required
            assert key is None or key in keys


@pytest.mark.parametrize('ros', ['jazzy', 'kilted'])
def test_everything_installed_is_pinned(ros):
    lines = (ROOT / f'.ci/constraints-{ros}.txt').read_text(encoding='utf-8').splitlines()
    pinned = {re.match(r'[\w-]*', line)[0].lower() for line in lines}
    extras = SETUP['extras_require']
    extras = {key.value: value for key, value in zip(extras.keys, extras.values)}
    tested = ast.literal_eval(extras['test'])
    wanted = [*ast.literal_eval(SETUP['install_requires']), *tested, 'setuptools']
    assert ros in extras
    assert {'pytest', 'hypothesis', 'ruff', 'mypy'} <= set(tested)
    assert {name.lower() for name in wanted} <= pinned
    assert 'torch==2.13.0' in lines
    assert {f'ros-{ros}-rclpy', f'ros-{ros}-rmw-fastrtps-cpp', f'ros-{ros}-sensor-msgs'} <= pinned
    assert not [line for line in lines if '+' in line or ' @ ' in line]


def test_there_is_one_executable_for_each_verb():
    folder = ROOT / 'resource' / 'executables'
    assert {path.name for path in folder.iterdir()} == EXECUTABLES
    assert all(os.access(path, os.X_OK) for path in folder.iterdir())


@pytest.mark.parametrize('path', sorted((ROOT / 'launch').iterdir()), ids=lambda path: path.name)
def test_launch_files_compile(path):
    assert path.name.endswith('.launch.py')
    compile(path.read_text(encoding='utf-8'), str(path), 'exec')


def test_rviz_shows_overlay_and_colour_of_the_default_camera():
    config = yaml.safe_load((ROOT / 'config/segment.rviz').read_text(encoding='utf-8'))
    shown = {
        display['Name']: display['Topic']
        for display in config['Visualization Manager']['Displays']
    }
    assert {name: topic['Value'] for name, topic in shown.items()} == {
        'Overlay': '/camera/segmentation/overlay',
        'Color': '/camera/segmentation/color',
    }
    for topic in shown.values():
        assert topic['Reliability Policy'] == 'Reliable'
        assert topic['Durability Policy'] == 'Volatile'
        assert topic['Depth'] == 1


def test_the_fastdds_profile_is_the_default_of_every_participant():
    space = '{http://www.eprosima.com}'
    profile = ET.parse(ROOT / 'config/fastdds_large_images.xml').getroot()
    transports = {
        transport.findtext(f'{space}transport_id'): transport
        for transport in profile.iter(f'{space}transport_descriptor')
    }
    assert {t.findtext(f'{space}type') for t in transports.values()} == {'SHM', 'UDPv4'}
    sizes = [t.findtext(f'{space}segment_size') for t in transports.values()]
    assert str(64 * 2**20) in sizes
    (participant,) = profile.iter(f'{space}participant')
    assert participant.get('is_default_profile') == 'true'
    used = participant.find(f'{space}rtps/{space}userTransports')
    assert {transport.text for transport in used} == set(transports)
    assert participant.findtext(f'{space}rtps/{space}useBuiltinTransports') == 'false'
