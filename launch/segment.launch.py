# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Start the segmentation node: `ros2 launch seg_ros segment.launch.py cameras:=front,rear`.

The parameters come from `params_file`; an argument given on the command line, and only that,
overrides what the file says.
"""

from pathlib import Path
import shutil
from time import monotonic
from typing import List  # noqa: UP035  (the type that launch_ros knows)

from ament_index_python.packages import get_package_share_directory, get_packages_with_prefixes
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown, TimerAction
import launch.logging
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
import yaml

SHARE = Path(get_package_share_directory('seg_ros'))

ARGUMENTS = {
    'params_file': 'a YAML file of parameters; the one installed with the package by default',
    'namespace': 'of the node and of its relative topics',
    'cameras': "the cameras' names, separated by commas: front,rear",
    'image_topic': 'image topic of the first camera, instead of CAMERA/image_raw',
    'transport': 'raw or compressed: which form of the images is subscribed to',
    'model': "a shipped network's name, or a checkpoint's path",
    'input_height': "network input height; 0 is the checkpoint's own",
    'input_width': "network input width; 0 is the checkpoint's own",
    'device': 'auto, cpu, cuda or cuda:N',
    'use_sim_time': 'true: time comes from /clock, as when a bag is played',
    'respawn': 'true: start the node again after a crash, and after the loss of its GPU',
    'rviz': 'true: show the overlay and the colours of the first camera in RViz',
}
DEFAULTS = {
    'params_file': str(SHARE / 'config' / 'segment.yaml'),
    'respawn': 'true',
    'rviz': 'false',
}

# The node's exit code for a start that cannot work, after which another one would not either.
CANNOT_START = 1

# The seconds before the node is started again.
RESPAWN_DELAY = 2.0

# The node is started again at most so many times within so many seconds.
RESPAWN_LIMIT, RESPAWN_WINDOW = 5, 300.0

# Any of these set means that the user has chosen how Fast DDS transports.
TRANSPORT_VARIABLES = (
    'FASTRTPS_DEFAULT_PROFILES_FILE',
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'FASTDDS_BUILTIN_TRANSPORTS',
)

# In bytes: the segment that fastdds_large_images.xml asks for, and some small ones beside it.
SHARED_MEMORY = 80 * 2**20


def to_text(name, text):
    """Take the text as it is."""
    return text


def to_number(name, text):
    """Read a whole number."""
    try:
        return int(text)
    except ValueError as error:
        raise RuntimeError(f'{name}: expected a whole number, found {text!r}') from error


def to_bool(name, text):
    """Read true or false, as ROS users write it."""
    values = {'true': True, '1': True, 'on': True, 'false': False, '0': False, 'off': False}
    if text.lower() not in values:
        raise RuntimeError(f'{name}: expected true or false, found {text!r}')
    return values[text.lower()]


def to_list(name, text):
    """Split `front,rear`, or YAML's `[front, rear]`, into names."""
    names = [part.strip(' \'"') for part in text.strip(' []').split(',')]
    return [part for part in names if part]


# The arguments that are parameters too: how their text becomes which type of value.
PARAMETERS = {
    'cameras': (to_list, List[str]),  # noqa: UP006
    'transport': (to_text, str),
    'model': (to_text, str),
    'input_height': (to_number, int),
    'input_width': (to_number, int),
    'device': (to_text, str),
    'use_sim_time': (to_bool, bool),
}


def cameras_in(tree):
    """Find the value of `cameras` in a parameter file, however its nodes are named and nested."""
    for key, value in tree.items() if isinstance(tree, dict) else ():
        found = value.get('cameras') if key == 'ros__parameters' else cameras_in(value)
        if found:
            return found
    return None


def start(context):
    """Turn the arguments into nodes."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    params_file = Path(given['params_file'])
    if not params_file.is_file():
        raise RuntimeError(
            f'params_file: expected a YAML file, but there is none at {params_file}. '
            f'{DEFAULTS["params_file"]} is one to copy.'
        )

    overrides = {
        name: ParameterValue(convert(name, given[name]), value_type=value_type)
        for name, (convert, value_type) in PARAMETERS.items()
        if given[name]
    }
    cameras = to_list('cameras', given['cameras']) or cameras_in(
        yaml.safe_load(params_file.read_text())
    )
    first = cameras[0] if cameras else 'camera'
    if given['image_topic']:
        overrides[f'{first}.image_topic'] = ParameterValue(given['image_topic'], value_type=str)

    respawns = to_bool('respawn', given['respawn'])
    ends = []

    def node():
        # A lifecycle node, but one that configures and activates itself (parameter `autostart`).
        return Node(
            package='seg_ros',
            executable='segmentation_node',
            name='segmentation_node',
            namespace=given['namespace'],
            parameters=[str(params_file), *([overrides] if overrides else [])],
            additional_env=transport(context.environment),
            output='screen',
            on_exit=again if respawns else ended,
        )

    # Instead of launch's own `respawn`, which would start again what cannot work, too.
    def again(event, context):
        if event.returncode == 0:
            return None
        if context.is_shutdown or event.returncode == CANNOT_START:
            return ended(event, context)
        logger = launch.logging.get_logger('segment.launch')
        reason = f'the segmentation node ended with exit code {event.returncode}'
        now = monotonic()
        ends[:] = [end for end in ends if now - end < RESPAWN_WINDOW]
        if len(ends) >= RESPAWN_LIMIT:
            logger.error(
                f'{reason}, for the {len(ends) + 1}th time in {RESPAWN_WINDOW:.0f} s: it is not '
                'started again'
            )
            return None
        ends.append(now)
        logger.error(f'{reason}: it is started again in {RESPAWN_DELAY:g} s')
        return TimerAction(period=RESPAWN_DELAY, actions=[node()])

    actions = [node()]
    if to_bool('rviz', given['rviz']):
        actions += rviz(given['namespace'], first)
    return actions


def transport(environment):
    """Choose shared memory for large images, unless the user has chosen or there is too little."""
    if any(environment.get(variable) for variable in TRANSPORT_VARIABLES):
        return {}
    if shutil.disk_usage('/dev/shm').free < SHARED_MEMORY:
        launch.logging.get_logger('segment.launch').warning(
            f'expected {SHARED_MEMORY >> 20} MB free in /dev/shm, found less: going on without '
            'fastdds_large_images.xml, so large images take longer (in Docker: --shm-size)'
        )
        return {}
    # Up to Jazzy the first name is the one read; later ones take both and warn of the first.
    profile = str(SHARE / 'config' / 'fastdds_large_images.xml')
    return dict.fromkeys(TRANSPORT_VARIABLES[:2], profile)


def ended(event, context):
    """Bring the launch down with the node, and fail if the node did."""
    if context.is_shutdown:
        return None
    if event.returncode:
        raise RuntimeError(f'the segmentation node ended with exit code {event.returncode}')
    return Shutdown(reason='the segmentation node has ended')


def rviz(namespace, camera):
    """Show a camera's results, or say why not: that is no reason not to compute them."""
    if 'rviz2' not in get_packages_with_prefixes():
        launch.logging.get_logger('segment.launch').warning(
            'rviz:=true, but there is no package rviz2; going on without it'
        )
        return []
    shown = ('segmentation/overlay', 'segmentation/color')
    return [
        Node(
            package='rviz2',
            executable='rviz2',
            namespace=namespace,
            arguments=['-d', str(SHARE / 'config' / 'segment.rviz')],
            remappings=[(f'/camera/{topic}', f'{camera}/{topic}') for topic in shown],
        )
    ]


def generate_launch_description():
    """Declare the arguments; their values are read when the launch runs."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=DEFAULTS.get(name, ''), description=text)
                for name, text in ARGUMENTS.items()
            ),
            OpaqueFunction(function=start),
        ]
    )
