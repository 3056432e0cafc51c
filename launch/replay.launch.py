# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Play a bag through the segmentation node: `ros2 launch seg_ros replay.launch.py bag:=PATH`.

A listener receives the masks, as any subscriber would, and says at the end how old they were when
they came, how many and how often; with `out:=DIR` it leaves a report there and what it received.
All arguments of segment.launch.py can be given too; the first camera listens to the bag. Node,
listener and player start one after another, each when the one before is ready, and the launch ends
with the bag. With `loop:=true` Ctrl-C ends it, and the report comes all the same.
"""

from pathlib import Path
import re
import subprocess

from ament_index_python.packages import get_package_share_directory, get_packages_with_prefixes
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessIO
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage

SECONDS_TO_BE_FOUND = '2'
# Time to draw the report in, after the signal to end.
SECONDS_TO_REPORT = '60'

ARGUMENTS = {
    'bag': 'the recorded bag to play',
    'topic': "the bag's image topic, raw or compressed, if it has several",
    'rate': 'speed of playing',
    'loop': 'true: play it forever',
    'labels': "topic in the bag with the images' true class ids, to score the masks by",
    'check': 'true: afterwards compute the masks offline, and fail if one differs',
    'out': 'folder for report.html, report.json and the bag `received`',
}
DEFAULTS = {'topic': '', 'rate': '1.0', 'loop': 'false', 'labels': '', 'check': 'false', 'out': ''}

# What node and listener say when they are ready. The node's lifecycle event would go over DDS,
# where one who is found too late misses it.
NODE_LISTENS = r'camera (\S+): subscribing to {},'
LISTENER_LISTENS = 'listening to'

# What the node says that it computes with, so that the listener does, whatever params_file holds.
LOADING = r': loading (.+)'
LOADED = r'input (\d+)x(\d+), (\S+) in (\S+) on (\S+)'


def start(context):
    """Find what the bag has, and name it to the node; then wait for whom it makes ready."""
    given = context.launch_configurations
    loops, checks = (to_bool(name, given[name]) for name in ('loop', 'check'))
    listen = ExecutableInPackage('listen', 'seg_ros').perform(context)
    bag = [given['bag'], *option('labels', given['labels'])]
    # As a process: what reads bags may be installed for the package's executables alone.
    found = subprocess.run(
        [listen, *bag, *option('topic', given['topic']), '--dry-run'],
        capture_output=True, text=True,
    )  # fmt: skip
    if found.returncode:
        raise RuntimeError(found.stderr.strip())
    topics = found.stdout.split()
    compressed = topics[0].endswith('/compressed')
    given['image_topic'] = topics[0][: -len('/compressed')] if compressed else topics[0]
    given['transport'] = 'compressed' if compressed else 'raw'

    def listener(said):
        camera = re.search(NODE_LISTENS.format(re.escape(topics[0])), said)
        if not camera:
            return None
        (*_, model), (*_, (width, height, backend, precision, device)) = (
            re.findall(pattern, said) for pattern in (LOADING, LOADED)
        )
        names = [given['namespace'].strip('/'), camera.group(1).strip('/'), 'segmentation']
        base = '/'.join(['', *filter(None, names)])
        wanted = {
            'topic': topics[0], 'mask': f'{base}/mask', 'out': given['out'],
            'overlay': f'{base}/overlay' if given['out'] else '',
            'model': model, 'input-height': height, 'input-width': width,
            'backend': backend, 'precision': precision, 'device': device,
        }  # fmt: skip
        options = [text for name, value in wanted.items() for text in option(name, value)]
        return ExecuteProcess(
            cmd=[listen, *bag, *options, *(['--check'] if checks else [])],
            name='listener',
            output='screen',
            on_exit=listened,
            sigterm_timeout=SECONDS_TO_REPORT,
        )

    def player(said):
        if LISTENER_LISTENS not in said:
            return None
        # That of rosbag2 reads no bags of ROS 1.
        rosbag2 = 'ros2bag' in get_packages_with_prefixes() and not bag[0].endswith('.bag')
        play = ExecutableInPackage('play', 'seg_ros')
        # The others listen; now they and the player have to find each other.
        patience = ['--delay' if rosbag2 else '--wait-for-subscribers', SECONDS_TO_BE_FOUND]
        return ExecuteProcess(
            cmd=[
                *(['ros2', 'bag', 'play'] if rosbag2 else [play]), bag[0], '--topics', *topics,
                '--clock', '--rate', given['rate'], *patience, *(['--loop'] if loops else []),
            ],
            name='player',
            output='screen',
            on_exit=played,
        )  # fmt: skip

    return [when_said(listener), when_said(player)]


def option(name, value):
    """Return an argument that is given only where it has a value."""
    return [f'--{name}', value] if value else []


def to_bool(name, text):
    """Read true or false, as ROS users write it."""
    values = {'true': True, '1': True, 'on': True, 'false': False, '0': False, 'off': False}
    if text.lower() not in values:
        raise RuntimeError(f'{name}: expected true or false, found {text!r}')
    return values[text.lower()]


def when_said(answer):
    """Ask at each output, with all that was said so far, what to start; once."""
    said, waiting = [], [answer]

    def ask(event):
        if not waiting:
            return None
        said.append(event.text.decode(errors='replace'))
        action = answer(''.join(said))
        if action:
            waiting.clear()
        return action

    return RegisterEventHandler(OnProcessIO(on_stdout=ask, on_stderr=ask))


def played(event, context):
    """Leave it to the listener to end the launch, but fail if the player did."""
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f'the player ended with exit code {event.returncode}')


def listened(event, context):
    """Bring the launch down with the listener, and fail if that did."""
    if context.is_shutdown:
        return None
    if event.returncode:
        raise RuntimeError(f'the listener ended with exit code {event.returncode}')
    return Shutdown(reason='the bag has been played')


def generate_launch_description():
    """Declare the bag's arguments, and include the node's launch file with its own."""
    segment = Path(get_package_share_directory('seg_ros'), 'launch', 'segment.launch.py')
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=DEFAULTS.get(name), description=text)
                for name, text in ARGUMENTS.items()
            ),
            DeclareLaunchArgument(
                'use_sim_time', default_value='true', description='time comes from the bag'
            ),
            DeclareLaunchArgument(
                'respawn', default_value='false', description='false: a crash ends the replay'
            ),
            OpaqueFunction(function=start),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(segment)),
                launch_arguments=[
                    (name, LaunchConfiguration(name)) for name in ('use_sim_time', 'respawn')
                ],
            ),
        ]
    )
