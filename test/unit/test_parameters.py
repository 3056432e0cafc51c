# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page, the parameter file and the code list the same parameters and defaults."""

from pathlib import Path
import re
import runpy

import pytest
import yaml

from seg_ros.inference import DEFAULT_MODEL
from seg_ros.inference.backends import BACKENDS, PRECISIONS
from seg_ros.node.parameters import (
    CAMERA_PARAMETERS,
    check,
    ParameterError,
    PARAMETERS,
)

ROOT = Path(__file__).parents[2]
DEFAULTS = {p.name: p.default for p in PARAMETERS}
CAMERA_DEFAULTS = {p.name: p.default for p in CAMERA_PARAMETERS}
VALUES = {**DEFAULTS, **{f'camera.{name}': value for name, value in CAMERA_DEFAULTS.items()}}


def test_the_parameter_file_lists_every_parameter_with_its_default():
    content = yaml.safe_load((ROOT / 'config/segment.yaml').read_text(encoding='utf-8'))
    values = content['/**']['segmentation_node']['ros__parameters']
    cameras = {name: values.pop(name) for name in values['cameras']}
    values |= {f'diagnostics.{name}': v for name, v in values.pop('diagnostics').items()}
    assert values == DEFAULTS
    assert cameras == {'camera': CAMERA_DEFAULTS}
    for name, value in values.items():
        assert type(value) is type(DEFAULTS[name]), name


def test_the_page_is_what_is_generated_from_the_declarations():
    page = runpy.run_path(str(ROOT / 'doc/make_parameters_page.py'))['page']
    remedy = 'run `make parameters`'
    assert (ROOT / 'doc/parameters.md').read_text(encoding='utf-8') == page(), remedy


def test_the_page_lists_every_parameter_with_its_default():
    page = (ROOT / 'doc/parameters.md').read_text(encoding='utf-8')
    rows = re.findall(r'^\| `([\w.]+)` \| `?([^|`]*?)`? \|', page, re.MULTILINE)
    documented = {name: yaml.safe_load(default) for name, default in rows}
    assert documented == {**DEFAULTS, **{f'C.{n}': v for n, v in CAMERA_DEFAULTS.items()}}


def test_names_that_the_table_repeats_are_those_of_the_segmenter():
    assert DEFAULTS['model'] == DEFAULT_MODEL
    choices = {parameter.name: parameter.choices for parameter in PARAMETERS}
    assert choices['precision'] == PRECISIONS
    assert choices['backend'] == BACKENDS


@pytest.mark.parametrize('parameter', PARAMETERS + CAMERA_PARAMETERS, ids=lambda p: p.name)
def test_descriptors_say_type_range_and_whether_it_can_change(parameter):
    descriptor = parameter.descriptor()
    assert descriptor.description.startswith(parameter.description)
    assert descriptor.read_only == parameter.start_only
    assert ('Start only' in descriptor.description) == parameter.start_only
    for choice in parameter.choices:
        assert choice in descriptor.additional_constraints
    ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
    assert [(r.from_value, r.to_value) for r in ranges] == [parameter.limits][: len(ranges)]
    assert bool(ranges) == bool(parameter.limits)


def test_a_value_that_is_no_choice_is_refused():
    check(VALUES)
    with pytest.raises(ParameterError, match="transport: expected one of raw, .*found 'pigeon'"):
        check({**VALUES, 'transport': 'pigeon'})


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ParameterError, match='overlay_opacity: expected float .*found nan'):
        check({**VALUES, 'overlay_opacity': float('nan')})
