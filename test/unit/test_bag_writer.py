# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of any recording, written again: content, type and QoS are what they were."""

import re

from bag_files import KINDS, write_bag
from full_disk import full_disk
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores

from seg_ros.bags.bag import Bag
from seg_ros.bags.writer import BagWriter

GRIP = 'hand_msgs/msg/Grip'
GRIP_TEXT = """\
std_msgs/Header header
uint8 OPEN=1
hand_msgs/Finger[] fingers  # of both hands
"""
GRIP_ROS1 = f'{GRIP_TEXT}{80 * "="}\nMSG: hand_msgs/Finger\nstring name\nduration held\n'
FINGER_TEXT = 'string name\nbuiltin_interfaces/Duration held\n'
GRIP_IDL = """\
module hand_msgs {
  module msg {
    struct Tap {
      double force;
    };
  };
};
"""
LATCHED = Qos(
    QosHistory.KEEP_LAST,
    3,
    QosReliability.BEST_EFFORT,
    QosDurability.TRANSIENT_LOCAL,
    QosTime(1, 2),
    QosTime(3, 4),
    QosLiveliness.AUTOMATIC,
    QosTime(5, 6),
    False,
)


def copied(source, target):
    """Copy all messages; return the topics that were left out."""
    left_out = set()
    with Bag(source) as bag, BagWriter(target) as writer:
        for message in bag.messages():
            if not writer.copy(bag, message):
                left_out.add(message.topic)
        assert bag.damage == ''
    return left_out


def content(path):
    """Read all with rosbags alone: topic, time, type, bytes and message."""
    jazzy = get_typestore(Stores.ROS2_JAZZY)
    with AnyReader([path], default_typestore=jazzy) as reader:
        return [
            (c.topic, time, c.msgtype, bytes(data), reader.deserialize(data, c.msgtype))
            for c, time, data in reader.messages()
        ]


def connections(path):
    with AnyReader([path]) as reader:
        return {
            c.topic: (c.msgtype, c.msgdef.data, c.digest, c.ext.offered_qos_profiles)
            for c in reader.connections
        }


@pytest.mark.parametrize('kind', KINDS)
def test_a_copy_of_every_kind_holds_the_same(tmp_path, kind):
    rng = np.random.RandomState(0)
    frames = [
        (10**18 + i, rng.randint(0, 256, (5, 7, 3)).astype(np.uint8), np.full((5, 7), i, np.uint8))
        for i in range(6)
    ]
    source = write_bag(tmp_path / 'source', kind, frames)
    target = tmp_path / 'target'
    assert copied(source, target) == set()
    before, after = content(source), content(target)
    assert [row[:3] for row in after] == [row[:3] for row in before]
    if not kind.startswith('ros1'):
        assert [row[3] for row in after] == [row[3] for row in before]
    for (*_, old), (*_, new) in zip(before, after):
        assert (new.encoding, new.step, new.header.frame_id) == (old.encoding, old.step, 'camera')
        assert (new.header.stamp.sec, new.header.stamp.nanosec) == (
            old.header.stamp.sec,
            old.header.stamp.nanosec,
        )
        np.testing.assert_array_equal(new.data, old.data)
    with Bag(source) as old, Bag(target) as new:
        assert (new.topics, new.counts, new.duration) == (old.topics, old.counts, old.duration)


def hand_types(store):
    types = get_types_from_msg(GRIP_TEXT, GRIP)
    types |= get_types_from_msg(FINGER_TEXT, 'hand_msgs/msg/Finger')
    store.register(types)
    return store


def grip(store, **count):
    types = store.types
    time = types['builtin_interfaces/msg/Time'](sec=5, nanosec=6)
    held = types['builtin_interfaces/msg/Duration'](sec=7, nanosec=8)
    return types[GRIP](
        header=types['std_msgs/msg/Header'](stamp=time, frame_id='wrist', **count),
        fingers=[types['hand_msgs/msg/Finger'](name='thumb', held=held)],
    )


@pytest.mark.parametrize('plugin', list(StoragePlugin))
def test_definition_and_qos_go_along(tmp_path, plugin):
    store = hand_types(get_typestore(Stores.ROS2_HUMBLE))
    tap = f'{80 * "="}\nIDL: hand_msgs/msg/Tap\n{GRIP_IDL}'
    store.register(get_types_from_idl(GRIP_IDL))
    with Writer(tmp_path / 'source', version=9, storage_plugin=plugin) as writer:
        connection = writer.add_connection(
            '/grip', GRIP, typestore=store, offered_qos_profiles=[LATCHED]
        )
        writer.write(connection, 9, store.serialize_cdr(grip(store), GRIP, little_endian=False))
        connection = writer.add_connection(
            '/tap', 'hand_msgs/msg/Tap', msgdef=tap, rihs01=store.hash_rihs01('hand_msgs/msg/Tap')
        )
        message = store.types['hand_msgs/msg/Tap'](force=1.5)
        writer.write(connection, 11, store.serialize_cdr(message, 'hand_msgs/msg/Tap'))
    target = tmp_path / 'target'
    assert copied(tmp_path / 'source', target) == set()
    rows = content(target)
    assert [row[:4] for row in rows] == [row[:4] for row in content(tmp_path / 'source')]
    assert rows[0][4].fingers[0].held.nanosec == 8
    assert rows[1][4].force == 1.5
    before, after = connections(tmp_path / 'source'), connections(target)
    assert after['/grip'] == before['/grip']
    assert after['/grip'][3] == [LATCHED]
    assert after['/tap'][:3] == before['/tap'][:3]
    assert after['/tap'][3][0].reliability is QosReliability.RELIABLE  # where none was said


def test_a_type_of_ros_1_becomes_one_of_ros_2(tmp_path):
    """Its header loses the count; its duration is builtin_interfaces' now."""
    store = hand_types(get_typestore(Stores.ROS1_NOETIC))
    with Writer1(tmp_path / 'old.bag') as writer:
        connection = writer.add_connection('/grip', GRIP, msgdef=GRIP_ROS1, md5sum='0' * 32)
        writer.write(connection, 9, store.serialize_ros1(grip(store, seq=4), GRIP))
    assert copied(tmp_path / 'old.bag', tmp_path / 'new') == set()
    ((topic, time, kind, _, message),) = content(tmp_path / 'new')
    assert (topic, time, kind) == ('/grip', 9, GRIP)
    assert (message.header.stamp.sec, message.header.frame_id) == (5, 'wrist')
    assert not hasattr(message.header, 'seq')
    (finger,) = message.fingers
    assert (finger.name, finger.held.sec, finger.held.nanosec) == ('thumb', 7, 8)
    expected = hand_types(get_typestore(Stores.ROS2_JAZZY)).hash_rihs01(GRIP)
    assert connections(tmp_path / 'new')['/grip'][2] == expected


def test_a_type_that_is_another_in_jazzy_stays_as_recorded(tmp_path):
    store = get_typestore(Stores.EMPTY)
    kind = 'sensor_msgs/msg/Range'
    text = 'float32 range\nuint8 older\n'
    store.register(get_types_from_msg(text, kind))
    with Writer(tmp_path / 'source', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/range', kind, typestore=store)
        message = store.types[kind](range=2.5, older=3)
        writer.write(connection, 9, store.serialize_cdr(message, kind))
    assert copied(tmp_path / 'source', tmp_path / 'target') == set()
    ((*_, message),) = content(tmp_path / 'target')
    assert (message.range, message.older) == (2.5, 3)


@pytest.mark.parametrize('text', ['', 'odd_msgs/Missing[] parts', '{]'])
def test_what_nobody_defines_is_left_out(tmp_path, text):
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(tmp_path / 'source', version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection(
            '/odd', 'odd_msgs/msg/Odd', msgdef=text, rihs01='RIHS01_0'
        )
        writer.write(connection, 9, b'\0\1\0\0\1\2\3\4')
        kind = 'std_msgs/msg/String'
        connection = writer.add_connection('/word', kind, typestore=store)
        writer.write(connection, 10, store.serialize_cdr(store.types[kind](data='yes'), kind))
    assert copied(tmp_path / 'source', tmp_path / 'target') == {'/odd'}
    ((topic, *_, message),) = content(tmp_path / 'target')
    assert (topic, message.data) == ('/word', 'yes')


def test_what_is_written_may_be_recorded_at_another_time(tmp_path):
    image = np.arange(105, dtype=np.uint8).reshape(5, 7, 3)
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_image('/image', image, 7, 'camera', 'rgb8', time_ns=30)
        writer.write_compressed_image('/image/compressed', b'jpeg', 'jpeg', 8, 'front', time_ns=40)
        writer.write_compressed_image('/image/compressed', b'more', 'jpeg', 50, 'front')
    first, second, third = content(tmp_path / 'bag')
    assert [row[1] for row in (first, second, third)] == [30, 40, 50]
    assert [row[4].header.stamp.nanosec for row in (first, second, third)] == [7, 8, 50]
    assert (second[4].format, second[4].header.frame_id) == ('jpeg', 'front')
    assert second[4].data.tobytes() == b'jpeg'


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    """A limit on the size of files stands for it."""
    message = f"Make room there, or choose another place, and repeat: '{tmp_path / 'bag'}'"

    def write():
        with BagWriter(tmp_path / 'bag') as writer:
            for i in range(4):
                image = np.zeros((480, 640, 3), np.uint8)
                writer.write_image('/image', image, i + 1, 'camera', 'rgb8')

    with full_disk(2**20), pytest.raises(OSError, match=re.escape(message)):
        write()
    assert not list(tmp_path.iterdir())


def test_an_interrupt_while_a_bag_is_begun_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(writer):
        raise KeyboardInterrupt

    monkeypatch.setattr(Writer, 'open', interrupted)
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / 'bag'):
        pass
    assert not list(tmp_path.iterdir())
