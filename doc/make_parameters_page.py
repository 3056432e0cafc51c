# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Write doc/parameters.md from the node's own declarations; `make parameters` runs this.

The page is a table of `seg_ros/node/parameters.py`, and a unit test holds it equal to that.
"""

from pathlib import Path

import yaml

from seg_ros.node.parameters import CAMERA_PARAMETERS, Parameter, PARAMETERS

PAGE = Path(__file__).with_name('parameters.md')

INTRODUCTION = """\
# Parameters

This page is generated from the declarations in `seg_ros/node/parameters.py`; `make parameters`
writes it anew. A parameter is set in a parameter file such as `config/segment.yaml`, which lists
the same defaults, on the command line, or while the node runs:

```bash
ros2 run seg_ros segmentation_node --ros-args -p model:=icnet_camvid -p deadline_ms:=100
```

```bash
ros2 param set /segmentation_node confidence_threshold 0.4
ros2 param describe /segmentation_node deadline_ms
```

A parameter that is marked "start only" cannot change while the node runs; all others can. A value
of another type, or outside the values shown, is refused with the reason, and the old value stays.
QoS can be overridden with `qos_overrides.TOPIC.publisher.*`, as usual in ROS 2."""

SECTIONS = {
    'Each camera': (
        'These two are declared for each name `C` in `cameras`, as `front.image_topic` and '
        '`front.ego_mask` for a camera named `front`.'
    ),
    'The node': 'These hold for all cameras.',
    'Diagnostics': (
        'These are the limits at which `/diagnostics` warns: see [diagnostics](diagnostics.md). '
        'Shares and rates are over the last 10 s.'
    ),
}

MORE = {
    'transport': 'camera.md#compressed-images',
    'reliability': 'camera.md#no-masks',
    'model': 'networks.md',
    'input_height': 'latency.md#the-network-size-precision-model',
    'input_width': 'latency.md#the-network-size-precision-model',
    'backend': 'latency.md#the-engine-backend-precision',
    'precision': 'latency.md#the-engine-backend-precision',
    'max_age_ms': 'latency.md#deadlines',
    'deadline_ms': 'latency.md#deadlines',
    'mask_rle': 'transport.md#smaller-masks',
    'palette': 'viewers.md#colours',
    'autostart': 'integration.md#nav2',
    'ego_mask': 'integration.md#cameras',
}
"""Where the other pages say more of a parameter."""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding='utf-8')


def page() -> str:
    """Return the page's text."""
    node = [p for p in PARAMETERS if not p.name.startswith('diagnostics.')]
    diagnostics = [p for p in PARAMETERS if p.name.startswith('diagnostics.')]
    sections = zip(SECTIONS.items(), (CAMERA_PARAMETERS, node, diagnostics), strict=True)
    parts = [INTRODUCTION]
    for (title, introduction), parameters in sections:
        prefix = 'C.' if parameters is CAMERA_PARAMETERS else ''
        rows = [row(parameter, prefix) for parameter in parameters]
        header = ['| Parameter | Default | Values | Meaning |', '|---|---|---|---|']
        parts.append('\n'.join([f'## {title}\n', f'{introduction}\n', *header, *rows]))
    return '\n\n'.join(parts) + '\n'


def row(parameter: Parameter, prefix: str) -> str:
    """Return a parameter's row of the table."""
    more = MORE.get(parameter.name)
    meaning = (
        parameter.description
        + (' Start only.' if parameter.start_only else '')
        + (f' More: [{more.partition("#")[0]}]({more}).' if more else '')
    )
    cells = [f'`{prefix}{parameter.name}`', f'`{default(parameter)}`', values(parameter), meaning]
    return f'| {" | ".join(cells)} |'


def default(parameter: Parameter) -> str:
    """Return the default value as YAML, in one line."""
    if isinstance(parameter.default, (str, list)):
        return repr(parameter.default)
    return yaml.safe_dump(parameter.default).splitlines()[0]


def values(parameter: Parameter) -> str:
    """Return which values a parameter can have, in words."""
    if parameter.choices:
        return ', '.join(f'`{choice}`' for choice in parameter.choices)
    if parameter.limits:
        kind = 'whole number' if isinstance(parameter.default, int) else 'number'
        low, high = parameter.limits
        return f'{kind}, {low} to {high}'
    if isinstance(parameter.default, bool):
        return '`true`, `false`'
    return 'list of texts' if isinstance(parameter.default, list) else 'text'


if __name__ == '__main__':
    main()
