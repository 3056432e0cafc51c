# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The same frames as a recording of every kind, written by rosbags alone, for tests to read."""

from pathlib import Path
import shutil
import sqlite3
import struct

import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
import yaml

from seg_ros.inference.image_file import encode_image

KINDS = (
    'sqlite3',
    'sqlite3_old',
    'sqlite3_file_zstd',
    'sqlite3_split',
    'mcap',
    'mcap_chunk_zstd',
    'mcap_message_zstd',
    'mcap_file_zstd',
    'mcap_split',
    'mcap_unchunked',
    'ros1',
    'ros1_bz2',
    'ros1_lz4',
)
"""
``old`` is a database without type definitions, as ROS 2 wrote until Humble; ``unchunked`` a file
without chunks, as rosbag2's preset ``fastwrite`` writes. Chunks hold a MiB of messages.
"""

DELAY = 5_000_000
"""Nanoseconds from a frame's stamp to its recording."""

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'

_COMPRESSION = {
    'chunk': CompressionMode.STORAGE,
    'message': CompressionMode.MESSAGE,
    'file': CompressionMode.FILE,
}
_ORDERS = {'rgb8': [0, 1, 2], 'bgr8': [2, 1, 0]}


def write_bag(
    path,
    kind,
    frames,
    *,
    topic='/camera/image_raw',
    labels='/camera/labels',
    encoding='bgr8',
    image_format=None,
):
    """
    Write a recording, and return the path to open it by.

    :param path: a name not in use; one of ROS 1 gets the ending ``.bag``.
    :param kind: of KINDS.
    :param frames: (stamp in ns, uint8 RGB (H, W, 3), uint8 ids (H, W) or None) of each.
    :param encoding: of the images, rgb8 or bgr8; the labels are mono8.
    :param image_format: 'jpg' or 'png' makes the images compressed ones, on
        ``TOPIC/compressed``.
    """
    path = Path(path)
    storage, _, variant = kind.partition('_')
    store = get_typestore(Stores.ROS1_NOETIC if storage == 'ros1' else Stores.ROS2_JAZZY)
    messages = list(_messages(store, frames, topic, labels, encoding, image_format))
    if storage == 'ros1':
        path = path.with_name(f'{path.name}.bag')
        _write_ros1(path, store, messages, variant)
    elif variant == 'split':
        _write_split(path, store, messages, storage)
    else:
        _write(path, store, messages, storage, _COMPRESSION.get(variant.partition('_')[0]))
        if variant == 'old':
            _make_old(path)
        elif variant == 'unchunked':
            _take_chunks_away(path)
    return path


def _messages(store, frames, topic, labels, encoding, image_format):
    """Yield topic, type, nanoseconds when recorded and message."""
    for sequence, (stamp, image, ids) in enumerate(frames):
        seconds, nanoseconds = divmod(stamp, 10**9)
        time = store.types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds)
        # Only ROS 1's headers count.
        count = {'seq': sequence} if 'seq' in str(store.fielddefs['std_msgs/msg/Header']) else {}
        header = store.types['std_msgs/msg/Header'](stamp=time, frame_id='camera', **count)
        if image_format:
            content = np.frombuffer(encode_image(image, f'.{image_format}'), np.uint8)
            name = {'jpg': 'jpeg'}.get(image_format, image_format)
            message = store.types[COMPRESSED](header=header, format=name, data=content)
            yield f'{topic}/compressed', COMPRESSED, stamp + DELAY, message
        else:
            pixels = np.ascontiguousarray(image[..., _ORDERS[encoding]])
            message = _image(store, header, encoding, pixels)
            yield topic, IMAGE, stamp + DELAY, message
        if ids is not None:
            yield labels, IMAGE, stamp + DELAY, _image(store, header, 'mono8', ids)


def _image(store, header, encoding, pixels):
    return store.types[IMAGE](
        header=header,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels[0].size,
        data=pixels.reshape(-1),
    )


def _write(path, store, messages, storage, compression):
    plugin = {'sqlite3': StoragePlugin.SQLITE3, 'mcap': StoragePlugin.MCAP}[storage]
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, kind, time, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], time, store.serialize_cdr(message, kind))


def _write_ros1(path, store, messages, compression):
    writer = Writer1(path)
    if compression:
        writer.set_compression(Writer1.CompressionFormat[compression.upper()])
    with writer:
        connections = {}
        for topic, kind, time, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], time, store.serialize_ros1(message, kind))


def _write_split(path, store, messages, storage):
    """Write two bags; their files and the sum of their metadata are one that was split."""
    half = (len(messages) + 1) // 2
    parts = [path.with_name(f'{path.name}_{i}') for i in range(2)]
    for part, share in zip(parts, (messages[:half], messages[half:])):
        _write(part, store, share, storage, None)
    first, second = map(_read_metadata, parts)
    path.mkdir()
    for part in parts:
        shutil.move(next(part.glob(f'{part.name}.*')), path)
        shutil.rmtree(part)
    counts = {
        topic['topic_metadata']['name']: topic['message_count']
        for topic in second['topics_with_message_count']
    }
    for topic in first['topics_with_message_count']:
        topic['message_count'] += counts.get(topic['topic_metadata']['name'], 0)
    for key in ('relative_file_paths', 'files'):
        first[key] += second[key]
    first['message_count'] += second['message_count']
    first['duration']['nanoseconds'] = messages[-1][2] - messages[0][2]
    _write_metadata(path, first)


def _make_old(path):
    """Take from a database, and from the metadata, what distributions up to Humble lacked."""
    with sqlite3.connect(next(path.glob('*.db3'))) as database:
        for table in ('message_definitions', 'schema', 'metadata'):
            database.execute(f'DROP TABLE {table}')
        database.execute('ALTER TABLE topics DROP COLUMN type_description_hash')
    database.close()
    metadata = _read_metadata(path)
    metadata['version'] = 5
    for key in ('custom_data', 'ros_distro'):
        del metadata[key]
    for topic in metadata['topics_with_message_count']:
        topic['topic_metadata'].pop('type_description_hash')
        topic['topic_metadata']['offered_qos_profiles'] = ''
    _write_metadata(path, metadata)


def _take_chunks_away(path):
    """Put what an mcap's chunks hold in their place, and leave out what indexes them."""
    file = next(path.glob('*.mcap'))
    content = file.read_bytes()
    records, where = [content[:8]], 8
    while (kind := content[where]) != 0x0F:
        (length,) = struct.unpack_from('<Q', content, where + 1)
        if kind == 0x06:  # times 16, size 8, checksum 4, no name of a compression 4, size 8
            records.append(content[where + 9 + 40 : where + 9 + length])
        elif kind == 0x01:
            records.append(content[where : where + 9 + length])
        where += 9 + length
    records += [struct.pack('<BQI', 0x0F, 4, 0), struct.pack('<BQQQI', 0x02, 20, 0, 0, 0)]
    file.write_bytes(b''.join([*records, content[:8]]))


def _read_metadata(path):
    return yaml.safe_load((path / 'metadata.yaml').read_text())['rosbag2_bagfile_information']


def _write_metadata(path, metadata):
    content = yaml.safe_dump({'rosbag2_bagfile_information': metadata})
    (path / 'metadata.yaml').write_text(content)
