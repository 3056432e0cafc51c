# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node's parameters: one table, by which they are declared and checked.

``config/segment.yaml`` lists the same, and ``doc/parameters.md`` is generated from here; a test
compares the three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.node import Node
from rclpy.validate_full_topic_name import validate_full_topic_name

from ..images.palette import PALETTES
from ..inference import DEFAULT_MODEL

LONGEST = 'overlay/compressed'
"""The longest of the topics' names below a camera's name."""


class ParameterError(ValueError):
    """The value of a parameter is not allowed; the message says which values are."""


@dataclass(frozen=True)
class Parameter:
    """
    A parameter of the node, whose type is that of its default.

    :param name: the name; for a parameter of each camera, without the camera's name.
    :param default: the default value.
    :param description: the description that `ros2 param describe` shows.
    :param choices: the allowed values, if they can be listed.
    :param limits: the smallest and the largest allowed value of a number.
    :param start_only: whether the parameter cannot change while the node runs.
    """

    name: str
    default: str | bool | int | float | list[str]
    description: str
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    start_only: bool = False

    @property
    def expected(self) -> str:
        """Return a description of the allowed values."""
        if self.choices:
            return f'one of {", ".join(self.choices)}'
        kind = 'list of strings' if isinstance(self.default, list) else type(self.default).__name__
        return f'{kind} from {self.limits[0]} to {self.limits[1]}' if self.limits else kind

    def descriptor(self) -> ParameterDescriptor:
        """Return the descriptor that `ros2 param describe` shows."""
        descriptor = ParameterDescriptor(
            description=self.description + (' Start only.' if self.start_only else ''),
            additional_constraints=self.expected if self.choices else '',
            read_only=self.start_only,
        )
        if self.limits:
            low, high = self.limits
            if isinstance(self.default, int):
                descriptor.integer_range = [
                    IntegerRange(from_value=int(low), to_value=int(high), step=1)
                ]
            else:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=low, to_value=high)
                ]
        return descriptor


PARAMETERS = (
    Parameter(
        'cameras',
        ['camera'],
        'Names of the cameras, each the prefix of its topics. All share one network.',
        start_only=True,
    ),
    Parameter(
        'transport',
        'raw',
        'How images come: raw (sensor_msgs/Image), or compressed (sensor_msgs/CompressedImage on '
        'the image topic with /compressed appended).',
        choices=('raw', 'compressed'),
        start_only=True,
    ),
    Parameter(
        'reliability',
        'auto',
        'Reliability of the image subscriptions. auto follows the publishers: reliable where '
        'every one of them offers it, as large images get lost otherwise, and best effort if not.',
        choices=('auto', 'reliable', 'best_effort'),
    ),
    Parameter(
        'model',
        DEFAULT_MODEL,
        "A shipped network's name, or a checkpoint's path.",
    ),
    Parameter(
        'input_height',
        0,
        "Height in pixels of what the network sees; 0 is the checkpoint's own.",
        limits=(0, 8192),
    ),
    Parameter(
        'input_width',
        0,
        "Width in pixels of what the network sees; 0 is the checkpoint's own.",
        limits=(0, 8192),
    ),
    Parameter(
        'device',
        'auto',
        'Where the network runs: auto (CUDA where there is one), cpu, cuda or cuda:N.',
    ),
    Parameter(
        'on_device_lost',
        'exit',
        'After a CUDA error that only a new process can get over: exit ends the node with exit '
        'code 3, and the launch file starts it again; cpu goes on with the network on the CPU.',
        choices=('exit', 'cpu'),
    ),
    Parameter(
        'backend',
        'auto',
        'What runs the network. auto is the fastest that is installed and computes what PyTorch '
        'does; the log says which, and why.',
        choices=(
            'auto',
            'openvino',
            'onnxruntime',
            'torch',
            *(f'onnxruntime:{name}' for name in ('cpu', 'openvino', 'dnnl', 'tensorrt', 'cuda')),
        ),
    ),
    Parameter(
        'precision',
        'auto',
        'What the network computes in. auto is half precision where the hardware has it. int8 '
        'is for checkpoints that were calibrated.',
        choices=('auto', 'fp32', 'bf16', 'fp16', 'int8'),
    ),
    Parameter(
        'max_age_ms',
        0,
        'A frame that is older than this when its turn comes is counted and dropped; 0 is off.',
        limits=(0, 600_000),
    ),
    Parameter(
        'deadline_ms',
        0,
        "How old a frame may be when its mask is published. For each frame the network's deepest "
        'exit, or its largest input size, is taken that is expected to be done by then; 0 is off.',
        limits=(0, 600_000),
    ),
    Parameter(
        'confidence_threshold',
        0.0,
        'A pixel whose class is less probable than this becomes 255, unlabeled.',
        limits=(0.0, 1.0),
    ),
    Parameter(
        'output_size',
        'camera',
        "Size of what is published: the camera's own, or the network's input.",
        choices=('camera', 'network'),
    ),
    Parameter(
        'mask_rle',
        False,
        "Whether to offer the mask as runs of Autoware's ids, too, on mask_rle.",
    ),
    Parameter(
        'overlay_opacity',
        0.5,
        'Opacity of the class colours over the image in overlay.',
        limits=(0.0, 1.0),
    ),
    Parameter(
        'palette',
        'model',
        "Colours of color and overlay: the network's own (model), or ones that a colour-blind "
        'person can tell apart (colorblind).',
        choices=PALETTES,
    ),
    Parameter(
        'diagnostics.stale_ms',
        2000,
        'A camera that sent no image for this long is STALE; 0 is off.',
        limits=(0, 600_000),
    ),
    Parameter(
        'diagnostics.min_rate',
        0.0,
        'WARN when fewer masks a second than this come; 0 is off.',
        limits=(0.0, 1000.0),
    ),
    Parameter(
        'diagnostics.max_age_ms',
        0,
        'WARN where 5 % of the masks or more are older than this when they are published; 0 is '
        'off.',
        limits=(0, 600_000),
    ),
    Parameter(
        'diagnostics.max_failed',
        0.0,
        'WARN above this share of images that fail; ERROR where all do.',
        limits=(0.0, 1.0),
    ),
    Parameter(
        'diagnostics.max_replaced',
        1.0,
        'WARN above this share of images that newer ones replace before their turn.',
        limits=(0.0, 1.0),
    ),
    Parameter(
        'diagnostics.max_late',
        0.05,
        'WARN above this share of masks that miss deadline_ms.',
        limits=(0.0, 1.0),
    ),
    Parameter(
        'diagnostics.frozen_ms',
        3000,
        'WARN where a camera sends the same picture for longer; 0 is off, for simulated scenes at '
        'rest.',
        limits=(0, 600_000),
    ),
    Parameter(
        'diagnostics.min_brightness',
        8.0,
        'WARN where the mean of the pictures, 0 to 255, is below this.',
        limits=(0.0, 255.0),
    ),
    Parameter(
        'diagnostics.max_saturated',
        0.5,
        'WARN above this share of pixels that are as bright as a pixel can be.',
        limits=(0.0, 1.0),
    ),
    Parameter(
        'diagnostics.max_low_confidence',
        0.5,
        'WARN above this share of pixels whose class is less probable than one half.',
        limits=(0.0, 1.0),
    ),
    Parameter(
        'diagnostics.max_low_confidence_rise',
        0.2,
        'WARN where that share rises by more than this against the minute before.',
        limits=(0.0, 1.0),
    ),
    Parameter(
        'autostart',
        True,
        'Whether the node configures and activates itself. false is for a lifecycle manager.',
        start_only=True,
    ),
)

CAMERA_PARAMETERS = (
    Parameter(
        'image_topic',
        '',
        "The camera's image topic; empty is NAME/image_raw.",
    ),
    Parameter(
        'ego_mask',
        '',
        'An image file whose non-zero pixels show the vehicle itself; they become 255, unlabeled.',
    ),
)
"""The parameters of each camera, declared with the camera's name and a dot before their names."""


def declare(node: Node) -> dict[str, Any]:
    """
    Declare all parameters and return their values by name, such as ``NAME.image_topic``.

    :raises ParameterError: a given value is not allowed.
    """
    values = _declare(node, PARAMETERS)
    cameras = values['cameras']
    if not cameras or '' in cameras or len(set(cameras)) < len(cameras):
        raise ParameterError(
            f"cameras: expected one or more different names, such as ['front', 'rear']; found "
            f'{list(cameras)}'
        )
    for camera in cameras:
        _check_topic(node, 'cameras', camera)
        values.update(_declare(node, CAMERA_PARAMETERS, f'{camera}.'))
    if len({node.resolve_topic_name(camera) for camera in cameras}) < len(cameras):
        raise ParameterError(
            f'cameras: expected names that stand for different topics; found {list(cameras)}'
        )
    check(values)
    check_topics(node, values)
    return values


def _declare(node: Node, parameters: Iterable[Parameter], prefix: str = '') -> dict[str, Any]:
    values: dict[str, Any] = {}
    for parameter in parameters:
        name = prefix + parameter.name
        try:
            given: Any = node.declare_parameter(name, parameter.default, parameter.descriptor())
        except ParameterException as error:
            raise ParameterError(
                f'{name}: expected {parameter.expected}; found otherwise: {error}. Correct it '
                'where the node is started: its parameter file, launch file or command line'
            ) from error
        values[name] = given.value
    return values


def check(values: Mapping[str, Any]) -> None:
    """
    Check what ROS does not check: choices, and numbers that are nan.

    :param values: the values of all parameters by name.
    :raises ParameterError: a value is not allowed.
    """
    for parameter in PARAMETERS:
        value = values[parameter.name]
        right = not parameter.choices or value in parameter.choices
        if parameter.limits:
            low, high = parameter.limits
            right = low <= value <= high
        if not right:
            raise ParameterError(
                f'{parameter.name}: expected {parameter.expected}; found {value!r}'
            )


def check_topics(node: Node, values: Mapping[str, Any]) -> None:
    """
    Check that the parameters `image_topic` of all cameras are valid topic names.

    :raises ParameterError: one is not.
    """
    for camera in values['cameras']:
        topic = f'{camera}.image_topic'
        if values[topic]:
            _check_topic(node, topic, values[topic])


def _check_topic(node: Node, name: str, topic: str) -> None:
    try:
        # Checked with the longest name that is appended, as the length of names is limited.
        validate_full_topic_name(node.resolve_topic_name(f'{topic}/segmentation/{LONGEST}'))
    except (NameValidationException, RuntimeError) as error:  # RuntimeError: of substitutions
        raise ParameterError(
            f'{name}: expected what can stand in a topic name: letters, digits, _ and / between '
            f'them, and not too many; found {topic!r}: {error}'
        ) from error
