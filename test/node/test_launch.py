# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The launch files, run for real: what they start answers, and has the parameters asked for."""

import array
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
from threading import Thread
import time

import numpy as np
import pytest

launch_pytest = pytest.importorskip('launch_pytest', reason='launch_pytest is not installed')
rclpy = pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytest.importorskip('launch_ros', reason='launch_ros is not installed')

from bag_files import write_bag
from installation import install
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from node_fixtures import picture
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
import torch

from seg_ros.bags.bag import topics
from seg_ros.images.labels import CAMVID, CITYSCAPES
from seg_ros.inference.checkpoint import Checkpoint, save_checkpoint
from seg_ros.models import build_model

ROOT = Path(__file__).parents[2]
SECONDS = 120
PARAMETERS_FILE = """
{node}:
  ros__parameters:
    cameras: [left, right]
    left:
      image_topic: from_the_file
    model: {model}
    input_height: 64
    input_width: 96
    device: cpu
    overlay_opacity: 0.25
"""
needs_ros2 = pytest.mark.skipif(not shutil.which('ros2'), reason='ros2cli is not installed')
exit_codes: list[int] = []


@pytest.fixture(scope='module', autouse=True)
def installed(tmp_path_factory):
    """Install this checkout, by links, where launch looks for packages."""
    prefix = tmp_path_factory.mktemp('prefix')
    install(prefix)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('AMENT_PREFIX_PATH', str(prefix), prepend=os.pathsep)
        patch.setenv('PATH', str(Path(sys.executable).parent), prepend=os.pathsep)
        patch.setenv('PYTHONPATH', str(ROOT), prepend=os.pathsep)
        yield


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Make a network that starts quickly; what it answers does not matter."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('checkpoint') / 'random.safetensors'
    spec = {'name': 'bisenetv2', 'num_classes': len(CAMVID)}
    save_checkpoint(path, Checkpoint(build_model(spec), spec, CAMVID, (96, 128)))
    return path


def describe(arguments, file='segment.launch.py'):
    """Include a launch file, and note how its processes end."""
    exit_codes.clear()
    source = PythonLaunchDescriptionSource(str(ROOT / 'launch' / file))

    def note(event, context):
        exit_codes.append(event.returncode)

    return LaunchDescription(
        [
            RegisterEventHandler(OnProcessExit(on_exit=note)),
            IncludeLaunchDescription(source, launch_arguments=arguments.items()),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


@pytest.fixture
def ros():
    """Make a node to ask with; spin it with `until`."""
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node('tester', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def until(condition, every=lambda: None):
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end, f'nothing came in {SECONDS} s'
            every()
            executor.spin_once(timeout_sec=0.2)

    node.until = until
    yield node
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def read_parameters(ros, node, names):
    """Ask a node for its parameters."""
    client = ros.create_client(GetParameters, f'{node}/get_parameters')
    ros.until(client.service_is_ready)
    futures = []

    def ask():
        # again now and then: a service does not always know its client from the start
        if time.monotonic() > start + 3 * len(futures):
            futures.append(client.call_async(GetParameters.Request(names=names)))

    start = time.monotonic()
    ros.until(lambda: any(future.done() for future in futures), every=ask)
    (values, *_) = [future.result().values for future in futures if future.done()]
    fields = {
        ParameterType.PARAMETER_BOOL: 'bool_value',
        ParameterType.PARAMETER_INTEGER: 'integer_value',
        ParameterType.PARAMETER_DOUBLE: 'double_value',
        ParameterType.PARAMETER_STRING: 'string_value',
        ParameterType.PARAMETER_STRING_ARRAY: 'string_array_value',
    }
    return dict(zip(names, (getattr(value, fields[value.type]) for value in values)))


def image(height, width, stamp):
    """Make an image message that is recognised by its stamp."""
    message = Image(height=height, width=width, encoding='bgr8', step=3 * width)
    message.header.stamp.sec = stamp
    message.header.frame_id = 'optical'
    pixels = np.random.default_rng(stamp).integers(0, 256, height * width * 3, np.uint8)
    message.data = array.array('B', pixels.tobytes())
    return message


def answer(ros, topic, mask_topic, height=90, width=160):
    """Send images until a mask comes back."""
    masks = []
    subscription = ros.create_subscription(Image, mask_topic, masks.append, QoSProfile(depth=1))
    publisher = ros.create_publisher(Image, topic, QoSProfile(depth=1))
    ros.until(lambda: masks, every=lambda: publisher.publish(image(height, width, 7)))
    ros.destroy_subscription(subscription)
    ros.destroy_publisher(publisher)
    return masks[0]


# No arguments: the shipped network on the default camera.


@launch_pytest.fixture
def as_it_is():
    return describe({})


@pytest.mark.launch(fixture=as_it_is)
def test_an_image_sent_gets_a_mask_back(ros):
    mask = answer(ros, '/camera/image_raw', '/camera/segmentation/mask')
    assert (mask.height, mask.width, mask.encoding, mask.step) == (90, 160, 'mono8', 160)
    assert (mask.header.stamp.sec, mask.header.frame_id) == (7, 'optical')
    assert len(mask.data) == 90 * 160
    assert max(mask.data) < len(CITYSCAPES)
    yield
    assert exit_codes == [0]


# Every argument set to another value.


@launch_pytest.fixture
def with_every_argument(checkpoint):
    return describe(
        {
            'namespace': 'robot',
            'cameras': 'front,rear',
            'image_topic': '/driver/image',
            'transport': 'raw',
            'model': str(checkpoint),
            'input_height': '64',
            'input_width': '96',
            'device': 'cpu',
            'use_sim_time': 'true',
        }
    )


@pytest.mark.launch(fixture=with_every_argument)
def test_each_argument_takes_effect(ros, checkpoint):
    expected = {
        'cameras': ['front', 'rear'],
        'front.image_topic': '/driver/image',
        'rear.image_topic': '',
        'transport': 'raw',
        'model': str(checkpoint),
        'input_height': 64,
        'input_width': 96,
        'device': 'cpu',
        'use_sim_time': True,
        'overlay_opacity': 0.5,
    }
    assert read_parameters(ros, '/robot/segmentation_node', list(expected)) == expected
    answer(ros, '/driver/image', '/robot/front/segmentation/mask')
    answer(ros, '/robot/rear/image_raw', '/robot/rear/segmentation/mask')
    yield
    assert exit_codes == [0]


# A file of the user's own, in each of the ways that nodes are named in one; arguments left out do
# not override it, those given do.


@launch_pytest.fixture(params=['/**', 'segmentation_node', '/segmentation_node'])
def with_a_file(request, tmp_path, checkpoint):
    path = tmp_path / 'mine.yaml'
    path.write_text(PARAMETERS_FILE.format(node=request.param, model=checkpoint))
    return describe({'params_file': str(path), 'input_height': '32', 'image_topic': 'given'})


@pytest.mark.launch(fixture=with_a_file)
def test_only_arguments_that_are_given_override_the_file(ros, checkpoint):
    expected = {
        'cameras': ['left', 'right'],
        'left.image_topic': 'given',
        'right.image_topic': '',
        'model': str(checkpoint),
        'input_height': 32,
        'input_width': 96,
        'device': 'cpu',
        'use_sim_time': False,
        'overlay_opacity': 0.25,
    }
    assert read_parameters(ros, '/segmentation_node', list(expected)) == expected


# The Fast DDS profile.


def environment_of_node():
    """Read the environment of the node that was launched from here."""
    processes = Path('/proc').glob('[0-9]*')
    for process in processes:
        try:
            command = (process / 'cmdline').read_bytes()
            environment = (process / 'environ').read_bytes().decode()
        except OSError:
            continue
        own = f'AMENT_PREFIX_PATH={os.environ["AMENT_PREFIX_PATH"]}' in environment
        if own and b'lib/seg_ros/segmentation_node' in command:
            return dict(line.split('=', 1) for line in environment.split('\0') if '=' in line)
    return {}


@launch_pytest.fixture
def with_a_profile_of_the_user(checkpoint, monkeypatch):
    monkeypatch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', str(ROOT / 'config/segment.rviz'))
    return describe({'model': str(checkpoint)})


@launch_pytest.fixture
def with_our_profile(checkpoint):
    return describe({'model': str(checkpoint), 'rviz': 'true'})


@pytest.mark.skipif(
    shutil.disk_usage('/dev/shm').free < 2**27, reason='there is too little shared memory'
)
@pytest.mark.launch(fixture=with_our_profile)
def test_the_node_and_only_it_gets_our_profile(ros):
    read_parameters(ros, '/segmentation_node', ['model'])
    environment = environment_of_node()
    for name in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
        assert environment[name].endswith('share/seg_ros/config/fastdds_large_images.xml')
        assert Path(environment[name]).is_file()
        assert name not in os.environ


@pytest.mark.launch(fixture=with_a_profile_of_the_user)
def test_a_profile_of_the_user_stays(ros):
    read_parameters(ros, '/segmentation_node', ['model'])
    environment = environment_of_node()
    assert environment['FASTDDS_DEFAULT_PROFILES_FILE'].endswith('segment.rviz')
    assert 'FASTRTPS_DEFAULT_PROFILES_FILE' not in environment


# A bag.


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """Record a second of sample drive."""
    path = tmp_path_factory.mktemp('bags') / 'drive'
    command = [sys.executable, '-m', 'seg_ros', 'sample_drive', '--out', path]
    subprocess.run([*command, '--frames', '10', '--size', '160x90'], check=True)
    return path


@launch_pytest.fixture
def with_a_bag(bag, checkpoint):
    arguments = {'bag': str(bag), 'rate': '4.0', 'loop': 'true', 'model': str(checkpoint)}
    return describe(arguments, file='replay.launch.py')


@pytest.mark.launch(fixture=with_a_bag)
def test_a_bag_is_replayed_over_and_over_in_its_own_time(ros):
    masks = []
    ros.create_subscription(Image, '/camera/segmentation/mask', masks.append, QoSProfile(depth=9))
    # a stamp that comes again has come from the second round
    ros.until(lambda: len({mask.header.stamp.nanosec for mask in masks}) < len(masks))
    assert (masks[0].height, masks[0].width) == (90, 160)
    parameters = read_parameters(ros, '/segmentation_node', ['use_sim_time'])
    assert parameters == {'use_sim_time': True}
    yield
    assert exit_codes == [0, 0, 0]  # player, listener, node


# As a user types it.


def ros2_launch(*arguments):
    return subprocess.Popen(
        ['ros2', 'launch', 'seg_ros', *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # A shell's background jobs ignore the signal, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


@needs_ros2
@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['model:=no_such_model'], r'expected a shipped network .* found .?.no_such_model'),
        (['input_height:=tall'], "input_height: expected a whole number, found 'tall'"),
        (['use_sim_time:=perhaps'], "use_sim_time: expected true or false, found 'perhaps'"),
        (['rviz:=perhaps'], "rviz: expected true or false, found 'perhaps'"),
        (['params_file:=/none.yaml'], 'params_file: expected a YAML file, .* none at /none.yaml'),
    ],
)
def test_mistakes_end_the_launch_and_say_why(arguments, said):
    process = ros2_launch('segment.launch.py', *arguments)
    shown, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert re.search(said, shown), shown


@needs_ros2
def test_replay_reports_what_a_subscriber_saw(checkpoint, tmp_path):
    """The bag's images are compressed; the network is that of a file, which the listener finds."""
    frames = [
        (i * 100_000_000, picture(i, 90, 160), np.full((90, 160), i, np.uint8)) for i in range(10)
    ]
    bag = write_bag(tmp_path / 'drive', 'mcap', frames, image_format='png')
    params_file, out = tmp_path / 'mine.yaml', tmp_path / 'out'
    params_file.write_text(PARAMETERS_FILE.format(node='/**', model=checkpoint))
    process = ros2_launch(
        'replay.launch.py', f'bag:={bag}', f'params_file:={params_file}', 'namespace:=robot',
        'labels:=/camera/labels', 'check:=true', f'out:={out}',
    )  # fmt: skip
    shown, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, shown
    assert re.search(r'listener.* images answered, .* as offline', shown)
    report = json.loads((out / 'report.json').read_text())
    assert report['topic'] == '/camera/image_raw/compressed'
    assert report['mask'] == '/robot/left/segmentation/mask'
    assert report['frames_in'] == len(frames)
    assert 7 <= report['frames_out'] <= len(frames)
    check = report['check']
    assert (check['model'], check['input_size']) == (str(checkpoint), [64, 96])
    assert (check['compared'], check['different']) == (report['frames_out'], 0)
    assert 0 < report['age_ms']['p50'] < 1000
    assert 9 < report['played_hz'] < 11
    assert 0 <= report['miou'] < 1
    assert '<svg' in (out / 'report.html').read_text()
    expected = {report['mask'], report['mask'].replace('mask', 'overlay')}
    assert set(topics(out / 'received')) == expected


@needs_ros2
def test_replay_fails_with_its_listener(bag, checkpoint, tmp_path):
    params_file = tmp_path / 'unsure.yaml'
    params_file.write_text(f"""
/**:
  ros__parameters:
    model: {checkpoint}
    confidence_threshold: 0.9
""")
    process = ros2_launch(
        'replay.launch.py', f'bag:={bag}', 'rate:=4', f'params_file:={params_file}', 'check:=true'
    )
    shown, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, shown
    assert f'expected the masks that {checkpoint} computes offline' in shown
    assert 'the listener ended with exit code 1' in shown


@needs_ros2
def test_replay_of_a_loop_reports_on_ctrl_c(ros, bag, checkpoint, tmp_path):
    process = ros2_launch(
        'replay.launch.py', f'bag:={bag}', 'rate:=2', 'loop:=true', f'model:={checkpoint}',
        f'out:={tmp_path}', 'check:=true',
    )  # fmt: skip
    masks = []
    ros.create_subscription(Image, '/camera/segmentation/mask', masks.append, QoSProfile(depth=9))
    ros.until(lambda: len({mask.header.stamp.nanosec for mask in masks}) < len(masks) - 3)
    process.send_signal(signal.SIGINT)
    shown, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, shown
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['rounds'] >= 2
    assert 10 < report['frames_in'] <= 10 * report['rounds']
    assert report['check']['compared'] > 0 and report['check']['different'] == 0
    assert (tmp_path / 'report.html').is_file()


@needs_ros2
@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['bag:=/no/bag'], '/no/bag: expected a bag; found nothing there'),
        (['topic:=/rear'], 'expected the image topic /rear; found /camera/image_raw'),
        (['loop:=perhaps'], "loop: expected true or false, found 'perhaps'"),
        (
            ['rate:=0'],
            r'expected a rate above 0; found 0(.|\n)*the player ended with exit code 2',
        ),
    ],
)
def test_replay_with_a_mistake_ends_and_says_why(bag, checkpoint, arguments, said):
    arguments = [f'model:={checkpoint}', *arguments]
    if not arguments[-1].startswith('bag:'):
        arguments.append(f'bag:={bag}')
    process = ros2_launch('replay.launch.py', *arguments)
    shown, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, shown
    assert re.search(said, shown), shown


@needs_ros2
def test_a_node_that_is_killed_comes_back(ros, checkpoint):
    process = ros2_launch('segment.launch.py', f'model:={checkpoint}')
    shown = []

    def read():
        for line in process.stdout:
            shown.append(line)

    def started():
        return re.findall(r'process started with pid \[(\d+)', ''.join(shown))

    reader = Thread(target=read)
    reader.start()
    try:
        answer(ros, '/camera/image_raw', '/camera/segmentation/mask')
        os.kill(int(started()[0]), signal.SIGKILL)
        ros.until(lambda: len(started()) == 2)
        answer(ros, '/camera/image_raw', '/camera/segmentation/mask')
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=SECONDS)
    reader.join()
    assert process.returncode == 0
    assert 'ended with exit code -9: it is started again in 2 s' in ''.join(shown)


@needs_ros2
def test_ctrl_c_ends_the_launch_cleanly_and_rviz_may_be_absent(checkpoint):
    process = ros2_launch('segment.launch.py', f'model:={checkpoint}', 'rviz:=true')
    shown = []
    for line in process.stdout:
        if 'subscribing' in line and line not in shown:  # launch may show its last line twice
            process.send_signal(signal.SIGINT)
        shown.append(line)
    assert process.wait(timeout=SECONDS) == 0, shown
    assert any('process has finished cleanly' in line for line in shown)
    if not shutil.which('rviz2'):
        assert any('there is no package rviz2; going on without it' in line for line in shown)
