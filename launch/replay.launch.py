# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Start the segmentation node and play a bag to it: `ros2 launch seg_ros replay.launch.py bag:=PATH`.

All arguments of segment.launch.py can be given too. The bag starts when the node is active, and
the launch ends a little after the bag.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory, get_packages_with_prefixes
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessIO
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage

SECONDS_TO_BE_FOUND = '2'
SECONDS_FOR_THE_LAST_FRAMES = 3.0

# What the node says when it is active. Its lifecycle event would go over DDS, where a listener
# that is found too late misses it.
LISTENS = b'subscribing to'


def play(context):
    """Play the bag once the node listens, with rosbag2 where it is installed."""
    bag, rate, loop = (context.launch_configurations[name] for name in ('bag', 'rate', 'loop'))
    if not Path(bag).exists():
        raise RuntimeError(f'bag: expected a recorded bag, but there is none at {bag}')
    rosbag2 = 'ros2bag' in get_packages_with_prefixes()
    command = ['ros2', 'bag', 'play'] if rosbag2 else [ExecutableInPackage('play', 'seg_ros')]
    looped = ['--loop'] if loop.lower() in ('true', 'on', '1') else []
    # The node listens; now it and the player have to find each other.
    patience = ['--delay' if rosbag2 else '--wait-for-subscribers', SECONDS_TO_BE_FOUND]
    player = ExecuteProcess(
        cmd=[*command, bag, '--clock', '--rate', rate, *patience, *looped],
        name='player',
        output='screen',
        on_exit=played,
    )
    waiting = [player]

    def when_it_listens(event):
        return waiting.pop() if waiting and LISTENS in event.text else None

    handler = OnProcessIO(on_stdout=when_it_listens, on_stderr=when_it_listens)
    return [RegisterEventHandler(handler)]


def played(event, context):
    """Bring the launch down after the last frames, and fail if the player did."""
    if context.is_shutdown:
        return None
    if event.returncode:
        raise RuntimeError(f'the player ended with exit code {event.returncode}')
    end = Shutdown(reason='the bag has been played')
    return TimerAction(period=SECONDS_FOR_THE_LAST_FRAMES, actions=[end])


def generate_launch_description():
    """Declare the bag's arguments, and include the node's launch file with its own."""
    segment = Path(get_package_share_directory('seg_ros'), 'launch', 'segment.launch.py')
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='the recorded bag to play'),
            DeclareLaunchArgument('rate', default_value='1.0', description='speed of playing'),
            DeclareLaunchArgument('loop', default_value='false', description='play it forever'),
            DeclareLaunchArgument(
                'use_sim_time', default_value='true', description='time comes from the bag'
            ),
            OpaqueFunction(function=play),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(segment)),
                launch_arguments={'use_sim_time': LaunchConfiguration('use_sim_time')}.items(),
            ),
        ]
    )
