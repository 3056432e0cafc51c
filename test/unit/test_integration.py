# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What other stacks are given: parameter files, layouts and tables, against what the node does."""

import json
from pathlib import Path
import re

import pytest
import yaml

from seg_ros.images.labels import CAMVID, CAMVID32, CITYSCAPES
from seg_ros.images.run_length import AUTOWARE, AUTOWARE_IDS
from seg_ros.inference.checkpoint import find_checkpoint, load_checkpoint, shipped_models
from seg_ros.node.diagnostics.health import CameraHealth, Thresholds
from seg_ros.node.outputs import OUTPUTS, RUNS
from seg_ros.node.parameters import CAMERA_PARAMETERS, PARAMETERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'doc/integration.md').read_text(encoding='utf-8')
TOPICS = {
    '/diagnostics',
    *(f'/camera/segmentation/{output}' for output in (*OUTPUTS, RUNS, 'label_info')),
}


# Autoware.


def autoware_table():
    """Return the page's table: a row for each of Autoware's labels, with the classes it takes."""
    rows = [
        '| Id | Autoware | CamVid, 11 classes | CamVid, 32 | Cityscapes |',
        '|---|---|---|---|---|',
    ]
    for id_, label in AUTOWARE.items():
        cells = [
            ', '.join(name for name in names if AUTOWARE_IDS.get(name.lower(), 0) == id_)
            for names in (CAMVID.names, CAMVID32.names, CITYSCAPES.names)
        ]
        rows.append(f'| {id_} | {label} | {" | ".join(cells)} |'.replace('|  ', '| '))
    return rows


def test_the_page_has_the_table_of_autowares_ids():
    assert '\n'.join(autoware_table()) in PAGE


# Nav2.


@pytest.fixture(scope='module')
def layer():
    text = (ROOT / 'config/nav2_semantic_layer.yaml').read_text(encoding='utf-8')
    return yaml.safe_load(text)['semantic_segmentation_layer']


def test_nav2_knows_every_class_of_the_shipped_networks_and_each_once(layer):
    source = layer['camera']
    classes = [name for kind in source['class_types'] for name in source[kind]['classes']]
    assert len(set(classes)) == len(classes)
    shipped = {
        name
        for model in shipped_models()
        for name in load_checkpoint(find_checkpoint(model)).labels.names
    }
    assert shipped
    assert set(classes) == shipped


def test_nav2_is_given_all_that_the_layer_asks_for(layer):
    source = layer['camera']
    assert layer['observation_sources'] == 'camera'
    assert {source[f'{name}_topic'] for name in ('segmentation', 'confidence', 'labels')} <= TOPICS
    kinds = {name for name, value in source.items() if isinstance(value, dict)}
    assert kinds == set(source['class_types'])
    for kind in kinds:
        assert set(source[kind]) == {
            'classes', 'base_cost', 'max_cost', 'mark_confidence', 'samples_to_max_cost',
            'dominant_priority',
        }  # fmt: skip
        assert 0 <= source[kind]['base_cost'] <= source[kind]['max_cost'] <= 254


# Foxglove.


@pytest.fixture(scope='module')
def layout():
    return json.loads((ROOT / 'config/foxglove_layout.json').read_text(encoding='utf-8'))


def leaves(tree):
    if isinstance(tree, str):
        return [tree]
    assert tree['direction'] in ('row', 'column')
    assert 0 < tree['splitPercentage'] < 100
    return leaves(tree['first']) + leaves(tree['second'])


def test_foxglove_is_shown_every_panel_once(layout):
    shown = leaves(layout['layout'])
    assert sorted(shown) == sorted(layout['configById'])
    assert {name.partition('!')[0] for name in shown} == {
        'Image', 'Plot', 'DiagnosticSummary', 'DiagnosticStatusPanel',
    }  # fmt: skip


def test_foxglove_is_told_topics_and_figures_that_there_are(layout):
    camera = CameraHealth('camera')
    status = camera.status('segmentation_node', Thresholds(**limits()), True)
    figures = {value.key for value in status.values}
    for name, panel in layout['configById'].items():
        if name.startswith('Image!'):
            assert panel['imageMode']['imageTopic'] in TOPICS
        elif name.startswith('Diagnostic'):
            assert panel['topicToRender'] in TOPICS
            assert panel.get('selectedName', status.name) == status.name
            assert panel.get('selectedHardwareId', status.hardware_id) == status.hardware_id
        else:
            for path in panel['paths']:
                found = re.fullmatch(
                    r'/diagnostics\.status\[:\]\{name=="(.*)"\}\.values\[:\]\{key=="(.*)"\}\.value',
                    path['value'],
                )
                assert found, path
                assert found[1] == status.name
                assert found[2] in figures


def limits():
    return {
        parameter.name.removeprefix('diagnostics.'): parameter.default
        for parameter in PARAMETERS
        if parameter.name.startswith('diagnostics.')
    }


# The page.


def test_the_pages_parameter_files_name_parameters_that_there_are():
    blocks = [yaml.safe_load(text) for text in re.findall(r'```yaml\n(.*?)```', PAGE, re.DOTALL)]
    ours = [block for block in blocks if '/**/segmentation_node' in block]
    assert ours
    known = {parameter.name for parameter in PARAMETERS}
    of_camera = {parameter.name for parameter in CAMERA_PARAMETERS}
    for block in ours:
        values = block['/**/segmentation_node']['ros__parameters']
        cameras = values.pop('cameras', ['camera'])
        for name, value in values.items():
            if name in cameras:
                assert set(value) <= of_camera
            else:
                assert name in known


def test_the_pages_launch_lines_have_arguments_that_there_are():
    launch = (ROOT / 'launch/segment.launch.py').read_text(encoding='utf-8')
    lines = re.findall(r'ros2 launch seg_ros segment\.launch\.py ([^`\n]+)', PAGE)
    assert len(lines) >= 4
    for line in lines:
        for name in re.findall(r'(\w+):=', line):
            assert f"'{name}'" in launch, line
