# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags: what is written is read by rosbags itself, what is read is what was written."""

import re

from bag_files import DELAY, KINDS, write_bag
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

from seg_ros.bags.bag import (
    Bag,
    BagError,
    image_topic,
    read_images,
    read_labelled_images,
    read_labels,
    read_messages,
    read_stamps,
    topics,
)
from seg_ros.bags.writer import BagWriter
from seg_ros.images.image_file import decode_image, encode_image

STAMPS = [1_000_000_000, 1_100_000_001, 2_147_483_647_999_999_999]
SHAPE = (5, 7, 3)
MATRIX = np.array([[50, 0, 3], [0, 51, 2], [0, 0, 1]], np.float64)
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'


def pictures(seed=0):
    rng = np.random.RandomState(seed)
    return [rng.randint(0, 256, SHAPE).astype(np.uint8) for _ in STAMPS]


def ids():
    return [image[..., 0] % 11 for image in pictures(1)]


@pytest.fixture
def bag(tmp_path):
    path = tmp_path / 'bag'
    with BagWriter(path) as writer:
        for stamp, image, labels in zip(STAMPS[:2], pictures(), ids()):
            writer.write_image('/camera/image_raw', image[..., ::-1], stamp, 'camera', 'bgr8')
            writer.write_camera_info('/camera/camera_info', MATRIX, (7, 5), stamp, 'camera')
            writer.write_image('/camera/labels', labels, stamp, 'camera', 'mono8')
    return path


def test_rosbags_reads_what_was_written(bag):
    """Independent reading: only rosbags, and the definitions that the bag itself carries."""
    assert sorted(file.name for file in bag.iterdir()) == ['bag.mcap', 'metadata.yaml']
    with AnyReader([bag]) as reader:
        assert reader.message_count == 6
        for connection in reader.connections:
            (qos,) = connection.ext.offered_qos_profiles
            assert qos.reliability is QosReliability.RELIABLE
            assert qos.durability is QosDurability.VOLATILE
        found = [
            (connection.topic, time, reader.deserialize(content, connection.msgtype))
            for connection, time, content in reader.messages()
        ]
    assert [topic for topic, _, _ in found[:3]] == [
        '/camera/image_raw', '/camera/camera_info', '/camera/labels',
    ]  # fmt: skip
    for index, (_, time, message) in enumerate(found):
        assert time == STAMPS[index // 3]
        stamp = message.header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == time
        assert message.header.frame_id == 'camera'
        assert (message.width, message.height) == (7, 5)
    image, info, labels = (message for _, _, message in found[3:])
    assert (image.encoding, image.step, image.is_bigendian) == ('bgr8', 21, 0)
    np.testing.assert_array_equal(image.data.reshape(SHAPE)[..., ::-1], pictures()[1])
    assert (labels.encoding, labels.step) == ('mono8', 7)
    np.testing.assert_array_equal(labels.data.reshape(5, 7), ids()[1])
    np.testing.assert_array_equal(info.k.reshape(3, 3), MATRIX)
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], MATRIX)
    np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))
    assert info.distortion_model == 'plumb_bob'
    assert not info.d.any()


def test_metadata_is_what_rosbag2_expects(bag):
    import yaml

    content = yaml.safe_load((bag / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert content['storage_identifier'] == 'mcap'
    assert content['relative_file_paths'] == ['bag.mcap']
    assert content['message_count'] == 6
    assert content['duration']['nanoseconds'] == STAMPS[1] - STAMPS[0]
    assert content['starting_time']['nanoseconds_since_epoch'] == STAMPS[0]


@pytest.mark.parametrize('target', ['folder', 'file'])
def test_reads_back(bag, target):
    path = bag if target == 'folder' else bag / 'bag.mcap'
    assert topics(path) == {
        '/camera/image_raw': IMAGE,
        '/camera/camera_info': 'sensor_msgs/msg/CameraInfo',
        '/camera/labels': IMAGE,
    }
    assert image_topic(path) == '/camera/image_raw'  # labels are no picture
    assert read_stamps(path) == STAMPS[:2]
    images = list(read_images(path))
    assert [(stamp, frame) for stamp, frame, _ in images] == [(s, 'camera') for s in STAMPS[:2]]
    for (_, _, image), expected in zip(images, pictures()):
        np.testing.assert_array_equal(image, expected)
    labels = list(read_labels(path, '/camera/labels'))
    assert [stamp for stamp, _ in labels] == STAMPS[:2]
    for (_, found), expected in zip(labels, ids()):
        np.testing.assert_array_equal(found, expected)
    pairs = list(read_labelled_images(path))
    assert len(pairs) == 2
    np.testing.assert_array_equal(pairs[1][0], pictures()[1])
    np.testing.assert_array_equal(pairs[1][1], ids()[1])


def test_messages_are_raw_cdr_in_their_order(bag):
    messages = list(read_messages(bag))
    assert [(topic, time) for topic, _, time, _ in messages[::3]] == [
        ('/camera/image_raw', stamp) for stamp in STAMPS[:2]
    ]
    store = get_typestore(Stores.ROS2_JAZZY)
    _, kind, _, content = messages[0]
    assert isinstance(content, bytes)
    assert store.deserialize_cdr(content, kind).encoding == 'bgr8'
    chosen = list(read_messages(bag, topics=['/camera/labels']))
    assert [topic for topic, *_ in chosen] == ['/camera/labels'] * 2


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8'])
def test_encodings(tmp_path, encoding):
    picture = pictures()[0]
    alpha = np.full((5, 7, 1), 9, np.uint8)
    stored = {
        'rgb8': picture, 'bgr8': picture[..., ::-1], 'mono8': picture[..., 0],
        'rgba8': np.dstack([picture, alpha]), 'bgra8': np.dstack([picture[..., ::-1], alpha]),
    }[encoding]  # fmt: skip
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_image('/image', stored, STAMPS[2], 'front', encoding)
    ((stamp, frame, image),) = read_images(tmp_path / 'bag')
    assert (stamp, frame) == (STAMPS[2], 'front')
    expected = picture if encoding != 'mono8' else np.repeat(picture[..., :1], 3, 2)
    np.testing.assert_array_equal(image, expected)


def write_others(path, messages):
    """Write with rosbags alone: sqlite3, as older distributions do."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connections = {}
        for topic, kind, fields in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            message = store.types[kind](header=header(store), **fields)
            writer.write(connections[topic], 5, store.serialize_cdr(message, kind))


def header(store, **more):
    stamp = store.types['builtin_interfaces/msg/Time'](sec=1, nanosec=2)
    return store.types['std_msgs/msg/Header'](stamp=stamp, frame_id='other', **more)


def raw(encoding, data, width, height, step):
    return {
        'height': height, 'width': width, 'encoding': encoding, 'is_bigendian': 0, 'step': step,
        'data': np.frombuffer(data, np.uint8),
    }  # fmt: skip


def test_padded_rows_compressed_images_and_rare_encodings(tmp_path):
    picture = pictures()[0]
    padded = np.full((5, 24), 77, np.uint8)
    padded[:, :21] = picture.reshape(5, 21)
    ramp = np.linspace(0, 65535, 35).astype(np.uint16)
    write_others(
        tmp_path / 'bag',
        [
            ('/padded', IMAGE, raw('rgb8', padded.tobytes(), 7, 5, 24)),
            ('/deep', IMAGE, raw('mono16', ramp.tobytes(), 7, 5, 14)),
            (
                '/png/compressed', COMPRESSED,
                {'format': 'png', 'data': np.frombuffer(encode_image(picture, '.png'), np.uint8)},
            ),
        ],
    )  # fmt: skip
    for topic in ('/padded', '/png/compressed'):
        ((stamp, frame, image),) = read_images(tmp_path / 'bag', topic)
        assert (stamp, frame) == (1_000_000_002, 'other')
        np.testing.assert_array_equal(image, picture)
    ((_, _, image),) = read_images(tmp_path / 'bag', '/deep')
    np.testing.assert_allclose(image[..., 1].reshape(-1), ramp / 257, atol=1)
    with pytest.raises(BagError, match='class ids as mono8; found rgb8'):
        list(read_labels(tmp_path / 'bag', '/padded'))


def test_pixels_that_do_not_fit_are_refused(tmp_path):
    write_others(tmp_path / 'bag', [('/short', IMAGE, raw('rgb8', bytes(20), 7, 5, 21))])
    expected = r'/short at 0\.000000005 s: expected 105 bytes of data .*found 20'
    with pytest.raises(BagError, match=expected):
        list(read_images(tmp_path / 'bag'))


def test_an_unknown_encoding_is_refused(tmp_path):
    write_others(tmp_path / 'bag', [('/odd', IMAGE, raw('strange', bytes(35), 7, 5, 7))])
    with pytest.raises(BagError, match="found 'strange'"):
        list(read_images(tmp_path / 'bag'))


@pytest.mark.parametrize('image_format', [None, 'png'])
@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_of_recording_reads_the_same(tmp_path, kind, image_format):
    frames = [
        (10**18 + i * 10**8 + i, image, image[..., 0] % 11)
        for i, image in enumerate(pictures() + pictures(1))
    ]
    path = write_bag(tmp_path / 'bag', kind, frames, image_format=image_format)
    images = '/camera/image_raw/compressed' if image_format else '/camera/image_raw'
    with Bag(path) as bag:
        assert bag.path == path
        assert bag.topics == {
            images: COMPRESSED if image_format else IMAGE,
            '/camera/labels': IMAGE,
        }
        assert bag.counts == {images: 6, '/camera/labels': 6}
        assert bag.duration == pytest.approx(0.5, abs=1e-6)
        assert bag.image_topics() == [images]
        found = {images: [], '/camera/labels': []}
        times = []
        for message in bag.messages():
            times.append(message.time)
            assert message.kind == bag.topics[message.topic]
            assert bag.stamp(message) == message.time - DELAY
            decode = bag.to_rgb if message.topic == images else bag.to_labels
            found[message.topic].append(decode(message))
        assert bag.damage == ''
        assert [m.topic for m in bag.messages(['/camera/labels'])] == ['/camera/labels'] * 6
        assert list(bag.messages([])) == []
    assert times == sorted(times)
    assert len(found[images]) == len(found['/camera/labels']) == 6
    for (stamp, image, ids), seen, labels in zip(frames, found[images], found['/camera/labels']):
        assert seen[:2] == (stamp, 'camera')
        np.testing.assert_array_equal(seen[2], image)
        assert labels[0] == stamp
        np.testing.assert_array_equal(labels[1], ids)


def test_a_jpeg_is_decoded_as_from_a_file(tmp_path):
    image = np.tile(pictures()[0], (8, 8, 1))
    path = write_bag(tmp_path / 'bag', 'mcap', [(7, image, None)], image_format='jpg')
    ((_, _, found),) = read_images(path)
    np.testing.assert_array_equal(found, decode_image(encode_image(image, '.jpg')))


def compressed(form, content):
    return {'format': form, 'data': np.frombuffer(content, np.uint8)}


def test_class_ids_may_be_compressed_if_that_keeps_them(tmp_path):
    labels = ids()[0]
    color = encode_image(pictures()[0], '.png')
    write_others(
        tmp_path / 'bag',
        [
            ('/good', COMPRESSED, compressed('png', encode_image(labels, '.png'))),
            ('/jpeg', COMPRESSED, compressed('jpeg', encode_image(labels, '.jpg'))),
            ('/color', COMPRESSED, compressed('png', color)),
            ('/cut', COMPRESSED, compressed('png', color[:60])),
            ('/rle', COMPRESSED, compressed('rle', b'runs')),
            ('/deep', COMPRESSED, compressed('png', encode_image(labels * np.uint16(9), '.png'))),
        ],
    )
    ((stamp, found),) = read_labels(tmp_path / 'bag', '/good')
    assert stamp == 1_000_000_002
    np.testing.assert_array_equal(found, labels)
    for topic, reason in (
        ('/jpeg', r"'jpeg': .* found a JPEG, which changes ids\. .* as PNG"),
        ('/color', r"'png': .* found shape \(5, 7, 3\) of uint8"),
        ('/cut', "'png': .* found no image"),
        ('/rle', "'rle': .* found no image"),
        ('/deep', r"'png': .* found shape \(5, 7\) of uint16"),
    ):
        expected = rf'{topic} at .* format {reason}'
        with pytest.raises(BagError, match=expected):
            list(read_labels(tmp_path / 'bag', topic))


@pytest.mark.parametrize(
    ('form', 'share'), [('h264', 1), ('jpeg', 0.4), ('jpeg', 0.98), ('png', 0.9), ('webp', 0)]
)
def test_what_cannot_be_decompressed_is_named_and_the_rest_goes_on(tmp_path, form, share):
    """A JPEG that is cut short looks fine to some releases of OpenCV."""
    image = np.tile(pictures()[0], (8, 8, 1))
    content = b'\0\0\0\1\x67' * 9
    if form != 'h264':
        content = encode_image(image, f'.{form}')
    good = encode_image(image, '.png')
    write_others(
        tmp_path / 'bag',
        [
            ('/bad', COMPRESSED, compressed(form, content[: int(len(content) * share)])),
            ('/bad', COMPRESSED, compressed('png', good)),
        ],
    )
    with Bag(tmp_path / 'bag') as bag:
        first, second = bag.messages()
        expected = rf"/bad at 0\.000000005 s: format '{form}': expected a JPEG.* Store it as JPEG"
        with pytest.raises(BagError, match=expected):
            bag.to_rgb(first)
        np.testing.assert_array_equal(bag.to_rgb(second)[2], image)


def test_what_is_no_image_is_named(tmp_path, bag):
    with Bag(bag) as opened:
        message = next(opened.messages(['/camera/camera_info']))
        with pytest.raises(BagError, match='found none .*: a sensor_msgs/msg/CameraInfo'):
            opened.to_rgb(message)
        message = next(opened.messages(['/camera/image_raw']))
        for content in (b'', message.content[:-9], b'\1' * 100):
            with pytest.raises(
                BagError, match=r'/camera/image_raw at 1\.000000000 s: expected an'
            ):
                opened.stamp(message._replace(content=content))


def test_only_a_cameras_topic_is_found_by_itself(tmp_path):
    def names(*names):
        path = tmp_path / 'bag'
        with BagWriter(path, overwrite=True) as writer:
            for name in names:
                writer.write_image(name, pictures()[0], 7, 'camera', 'rgb8')
        return path

    ours = [f'/front/segmentation/{name}' for name in ('mask', 'confidence', 'color', 'overlay')]
    others = ['/front/labels', '/front/labels/compressed', *ours, f'{ours[3]}/compressed']
    with Bag(names('/front/image', *others)) as bag:
        assert bag.image_topics() == ['/front/image']
        assert bag.image_topics(ours[:2]) == ours[:2]
    with Bag(names('mask', *others)) as bag:
        assert bag.image_topics() == ['mask']
    with Bag(names('/segmentation/camera', *others)) as bag:
        assert bag.image_topics() == ['/segmentation/camera']
    with (
        Bag(names(*others)) as bag,
        pytest.raises(BagError, match='expected an image topic; found /front/labels, '),
    ):
        bag.image_topics()


def test_ros_1_bags_are_read(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    picture = pictures()[0]
    with Writer1(tmp_path / 'old.bag') as writer:
        connection = writer.add_connection('/image', IMAGE, typestore=store)
        message = store.types[IMAGE](
            header=header(store, seq=4), **raw('rgb8', picture.tobytes(), 7, 5, 21)
        )
        writer.write(connection, 5, store.serialize_ros1(message, IMAGE))
    ((stamp, _, image),) = read_images(tmp_path / 'old.bag')
    assert stamp == 1_000_000_002
    np.testing.assert_array_equal(image, picture)
    ((topic, kind, time, content),) = read_messages(tmp_path / 'old.bag')
    assert (topic, kind, time) == ('/image', IMAGE, 5)
    message = get_typestore(Stores.ROS2_JAZZY).deserialize_cdr(content, kind)
    np.testing.assert_array_equal(message.data.reshape(SHAPE), picture)


def test_a_missing_bag_is_named(tmp_path):
    with pytest.raises(BagError, match=re.escape(f'{tmp_path / "none"}: expected a bag; found')):
        topics(tmp_path / 'none')


@pytest.mark.parametrize('name', ['notes.txt', 'fake.mcap', 'fake.db3', 'fake.bag', 'folder'])
def test_what_is_no_bag_is_refused(tmp_path, name):
    path = tmp_path / name
    if name == 'folder':
        path.mkdir()
    else:
        path.write_bytes(b'hello, this is no bag at all, only some text to read')
    with pytest.raises(BagError, match='expected a rosbag2 folder or file'):
        list(read_images(path))


def test_a_cut_bag_is_refused(bag):
    storage = bag / 'bag.mcap'
    storage.write_bytes(storage.read_bytes()[:-200])
    with pytest.raises(BagError, match='found'):
        list(read_images(bag))


def test_topics_are_chosen_by_name(tmp_path, bag):
    with pytest.raises(BagError, match='expected the image topic /front; found /camera/image_raw'):
        list(read_images(bag, '/front'))
    with pytest.raises(BagError, match='expected the topics /front; found'):
        list(read_messages(bag, ['/front']))
    two = tmp_path / 'two'
    with BagWriter(two) as writer:
        for topic in ('/rear', '/front'):
            writer.write_image(topic, pictures()[0], 7, 'camera', 'rgb8')
    with pytest.raises(BagError, match=r'found /front, /rear\. Name one'):
        list(read_images(two))
    assert image_topic(two, '/rear') == '/rear'
    with pytest.raises(BagError, match='found /front, /rear'):
        list(read_labelled_images(two))


def test_a_bag_without_images(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_camera_info('/info', MATRIX, (7, 5), 7, 'camera')
    with pytest.raises(BagError, match='expected an image topic; found /info'):
        image_topic(tmp_path / 'bag')


def test_a_bag_without_labels(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_image('/camera/image_raw', pictures()[0], 7, 'camera', 'rgb8')
    with pytest.raises(BagError, match='expected the image topic /camera/labels'):
        list(read_labelled_images(tmp_path / 'bag'))


@pytest.mark.parametrize(
    'image', [np.zeros((5, 7), np.uint8), np.zeros(SHAPE, np.uint16), np.zeros((3, 5, 7, 3))]
)
def test_images_that_are_not_of_their_encoding_are_not_written(tmp_path, image):
    with pytest.raises(BagError, match='expected 8-bit pixels'), BagWriter(tmp_path / 'b') as w:
        w.write_image('/image', image, 7, 'camera', 'rgb8')
    assert not list(tmp_path.iterdir())


def test_a_failed_writing_leaves_nothing(tmp_path):
    def fail():
        with BagWriter(tmp_path / 'bag') as writer:
            writer.write_image('/image', pictures()[0], 7, 'camera', 'rgb8')
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_existing_bags_are_replaced_only_when_asked(bag, tmp_path):
    with pytest.raises(BagError, match='expected a name not in use'):
        BagWriter(bag)
    with pytest.raises(RuntimeError), BagWriter(bag, overwrite=True):
        raise RuntimeError
    assert read_stamps(bag) == STAMPS[:2]
    with BagWriter(bag, overwrite=True) as writer:
        writer.write_image('/new', pictures()[0], 7, 'camera', 'rgb8')
    assert read_stamps(bag) == [7]
    assert [path.name for path in tmp_path.iterdir()] == ['bag']


def test_what_is_no_bag_is_never_overwritten(tmp_path):
    folder = tmp_path / 'precious'
    folder.mkdir()
    (folder / 'file').write_text('content')
    with pytest.raises(BagError, match='expected a rosbag2 folder to overwrite'):
        BagWriter(folder, overwrite=True)
    assert (folder / 'file').read_text() == 'content'
