# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node may do to the graph and to the disk, and what odd messages and values do to it."""

from array import array
import importlib.util
import os
from pathlib import Path
import signal
from xml.etree import ElementTree

from node_fixtures import (
    find,
    INPUT_SIZE,
    make_checkpoint,
    NodeProcess,
    Peer,
    picture,
    stamped,
    until_heard,
    wait_until,
)
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from seg_ros.images.image_file import encode_image, write_image
from seg_ros.images.image_header import MAX_PIXELS

ROOT = Path(__file__).parents[2]
NODE = 'segmentation_node'

SOMETIMES = {
    'subscribe': {'/camera/image_raw/compressed'},  # instead of the raw one
    'publish': set() if importlib.util.find_spec('vision_msgs') else {
        '/camera/segmentation/label_info'
    },
    'reply': {f'/{NODE}/get_type_description'},  # not in Humble
}  # fmt: skip
"""What the policy allows for other settings, or on other machines, than this one."""


@pytest.fixture(scope='module')
def peer():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp('models') / 'network.safetensors', 1)


# The policy.


def allowed(verb):
    """Return the names that the policy's rules of a verb have, as the graph has them."""
    (profile,) = ElementTree.parse(ROOT / 'config/sros2/policy.xml').iter('profile')
    assert (profile.get('ns'), profile.get('node')) == ('/', NODE)
    names = [
        name.text.replace('~', f'/{NODE}')
        for rule in profile
        if rule.get(verb) == 'ALLOW'
        for name in rule
    ]
    assert len(set(names)) == len(names)
    return {name if name.startswith('/') else f'/{name}' for name in names}


def test_the_policy_allows_what_the_node_has_on_the_graph_and_nothing_else(peer, model):
    with NodeProcess(model=model, mask_rle='true', use_sim_time='true', backend='torch') as node:
        node.wait_for_log('subscribing to /camera/image_raw')
        peer.listen(Image, '/camera/segmentation/mask_rle')
        assert wait_until(lambda: (NODE, '/') in peer.node.get_node_names_and_namespaces())
        graph = {
            'publish': peer.node.get_publisher_names_and_types_by_node,
            'subscribe': peer.node.get_subscriber_names_and_types_by_node,
            'reply': peer.node.get_service_names_and_types_by_node,
            'request': peer.node.get_client_names_and_types_by_node,
        }

        def missing():
            names = {verb: {name for name, _ in ask(NODE, '/')} for verb, ask in graph.items()}
            for verb, found in names.items():
                assert found <= allowed(verb), verb
            return [allowed(v) - names[v] - SOMETIMES.get(v, set()) for v in graph]

        assert wait_until(lambda: not any(missing())), missing()


# The disk.


def test_no_parameter_lets_the_node_write_outside_its_cache_and_its_log(peer, model, tmp_path):
    own = {
        variable: str(tmp_path / variable)
        for variable in ('HOME', 'SEG_ROS_CACHE', 'ROS_LOG_DIR', 'TMPDIR', 'XDG_CACHE_HOME')
    }
    for folder in own.values():
        Path(folder).mkdir()
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    (elsewhere / 'pipe').unlink(missing_ok=True)
    os.mkfifo(elsewhere / 'pipe')
    (elsewhere / 'text').write_text('left alone')
    write_image(elsewhere / 'ego.png', np.full((4, 4), 255, np.uint8))
    before = {path: path.lstat().st_mtime_ns for path in elsewhere.iterdir()}

    with NodeProcess(
        environment={**own, 'PYTHONDONTWRITEBYTECODE': '1'},
        model=model,
        camera__ego_mask=elsewhere / 'ego.png',
    ) as node:
        node.wait_for_log('subscribing to')
        accepted = [
            (name, value)
            for name, value in {
                'model': [
                    '', '.', '..', '/', '../../etc/passwd', '/dev/zero', '/dev/stdin', '~',
                    str(elsewhere), str(elsewhere / 'pipe'), str(elsewhere / 'text'),
                    str(elsewhere / 'new'), str(elsewhere / 'new/'), 'a' * 5000, 'a\nb', '$(id)',
                    'bisenetv2_camvid/../../../x', 'http://127.0.0.1/x.safetensors',
                ],
                'camera.ego_mask': [
                    '/', '/dev/zero', str(elsewhere), str(elsewhere / 'pipe'),
                    str(elsewhere / 'text'), str(elsewhere / 'new.png'), str(model), 'a' * 5000,
                ],
                'device': ['cpu; id', 'cuda:-1', 'meta', 'mps', str(elsewhere / 'new'), '../x'],
                'backend': ['onnxruntime:../x', str(elsewhere / 'new.so'), ''],
                'precision': ['../x', ''],
                'output_size': ['../x'],
                'palette': [str(elsewhere / 'new')],
                'transport': ['../x'],
                'reliability': ['../x'],
                'camera.image_topic': ['../x', 'a b', '/x/../y', str(elsewhere / 'a.b')],
            }.items()
            for value in values_of(peer, name, value)
        ]  # fmt: skip
        assert not accepted
        images = peer.publisher(Image, '/camera/image_raw')
        masks = peer.listen(Image, '/camera/segmentation/mask')
        until_heard(lambda: images.publish(stamped(picture(1, *INPUT_SIZE))), masks)
        message = stamped(picture(1, *INPUT_SIZE))
        images.publish(message)
        mask = find(masks, (message.header.stamp.sec, message.header.stamp.nanosec))
        assert set(mask.data) == {255}  # the ego mask's
        node.send_signal(signal.SIGINT)
        assert node.wait() == 0

    assert {path: path.lstat().st_mtime_ns for path in elsewhere.iterdir()} == before
    assert (elsewhere / 'text').read_text() == 'left alone'
    written = {
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob('*')
        if path.is_file() and elsewhere not in path.parents
    }
    assert {path for path in written if not path.startswith(('SEG_ROS_CACHE', 'ROS_LOG'))} == set()
    cached = [path for path in (tmp_path / 'SEG_ROS_CACHE').rglob('*') if path.is_file()]
    assert all(path.suffix == '.engine' for path in cached)


def values_of(peer, name, values):
    """Return those values that the node takes."""
    return [
        value
        for value in values
        if peer.set_parameters(f'/{NODE}', **{name.replace('.', '__'): value}).successful
    ]


# Messages.


def test_images_that_promise_too_much_are_dropped_and_the_next_is_answered(peer, model):
    with NodeProcess(model=model, transport='compressed', backend='torch') as node:
        node.wait_for_log('subscribing to')
        images = peer.publisher(CompressedImage, '/camera/image_raw/compressed')
        masks = peer.listen(Image, '/camera/segmentation/mask')
        good = picture(1, *INPUT_SIZE)
        bomb = bytearray(encode_image(good, '.png'))
        bomb[16:24] = b'\0\0\xff\xff' * 2
        before = node.resources()['memory']
        send(images, 0, bytes(bomb))
        # First and alone: reports are few, and a newer image takes the place of one that waits.
        node.wait_for_log(f'expected {MAX_PIXELS} pixels at most.*; found 65535x65535, as PNG')
        for stamp in range(1, 4):
            for content in (bytes(bomb), encode_image(good, '.bmp'), b'\x1b[2J' * 1000):
                send(images, 0, content)
            send(images, stamp, encode_image(good, '.png'))
            find(masks, (stamp, 0))
        assert '\x1b[2J' not in node.log
        assert max(map(len, node.log.splitlines())) < 2000
        assert node.resources()['memory'] - before < 300_000


def send(images, second, content):
    message = CompressedImage(format='\x1b[2J' * 1000, data=array('B', content))
    message.header.stamp.sec = second
    images.publish(message)
