# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real node, in its own process, over real DDS."""

from array import array
from functools import partial
from itertools import count
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
from threading import Event, Thread
from time import sleep

import cv2
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_fixtures import (
    BEST_EFFORT,
    check_a_signal_while_loading,
    Diagnostics,
    find,
    INPUT_SIZE,
    make_checkpoint,
    NodeProcess,
    Peer,
    picture,
    stamp_of,
    until_heard,
    wait_until,
)
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from seg_ros.images.encodings import to_array, to_rgb
from seg_ros.images.image_file import decode_image, encode_image
from seg_ros.images.overlay import colorize, overlay
from seg_ros.images.palette import with_palette
from seg_ros.images.run_length import AUTOWARE_IDS, decode
from seg_ros.inference.backends.onnxruntime_engine import OnnxRuntimeEngine
from seg_ros.inference.checkpoint import load_checkpoint
from seg_ros.inference.segmenter import Segmenter

NODE = '/segmentation_node'
CONFIG = Path(__file__).parents[2] / 'config/segment.yaml'
STAMPS = count(1)
PLAIN = {'backend': 'torch', 'precision': 'fp32'}
"""What is there at once: other engines are built first."""

FORMS = {
    'rgb8': lambda rgb: rgb,
    'bgr8': lambda rgb: rgb[..., ::-1],
    'rgba8': lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA),
    'bgra8': lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA),
    'mono8': lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY),
}


def new_header(frame_id='optical'):
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = 1_700_000_000 + next(STAMPS), 123_456_789
    return header


def image_message(rgb, encoding='bgr8', padding=0, frame_id='optical'):
    pixels = np.ascontiguousarray(FORMS[encoding](rgb))
    height, width = pixels.shape[:2]
    rows = np.hstack([pixels.reshape(height, -1), np.full((height, padding), 0xA5, np.uint8)])
    return Image(
        header=new_header(frame_id),
        height=height,
        width=width,
        encoding=encoding,
        step=rows.shape[1],
        data=array('B', rows.tobytes()),
    )


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """Two untrained networks that disagree."""
    folder = tmp_path_factory.mktemp('models')
    return [make_checkpoint(folder / f'{seed}.safetensors', seed) for seed in (1, 2)]


@pytest.fixture(scope='module')
def predict(models):
    return Segmenter(models[0], **PLAIN).predict


@pytest.fixture(scope='module')
def peer():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def listen(peer):
    """As ``peer.listen``, for one test only."""
    heard = []

    def listen(*arguments):
        heard.append(peer.listen(*arguments))
        return heard[-1]

    yield listen
    for messages in heard:
        peer.forget(messages)


@pytest.fixture(scope='module')
def node(models):
    """One node with two cameras, for all tests that leave it as they found it."""
    with NodeProcess(cameras='[front, rear]', model=models[0], **PLAIN) as process:
        process.wait_for_log('subscribing to /rear/image_raw')
        yield process


@pytest.fixture(scope='module')
def front(peer, node):
    return peer.publisher(Image, '/front/image_raw')


@pytest.fixture(scope='module')
def rear(peer, node):
    return peer.publisher(Image, '/rear/image_raw')


@pytest.fixture(scope='module')
def front_masks(peer, node):
    return peer.listen(Image, '/front/segmentation/mask')


@pytest.fixture(scope='module')
def rear_masks(peer, node):
    return peer.listen(Image, '/rear/segmentation/mask')


def ask(publisher, masks, message):
    """Publish an image and return its mask message."""
    publisher.publish(message)
    return find(masks, stamp_of(message))


def ask_again(publisher, masks, make):
    """Ask until it is answered, as what a best-effort publisher sends first may be lost."""

    def answered(stamp):
        return any(stamp_of(mask) == stamp for mask in masks)

    for _ in range(30):
        message = make()
        publisher.publish(message)
        if wait_until(partial(answered, stamp_of(message)), 2):
            return message, find(masks, stamp_of(message))
    raise AssertionError('no image was answered')


def meet(publisher, *heard):
    """Send images until each of these topics of the node's was heard."""
    until_heard(lambda: publisher.publish(image_message(picture(0, 60, 80))), *heard)


# The values of all encodings are in test/unit/test_image_message.py.
@pytest.mark.parametrize(
    ('encoding', 'padding'),
    [('rgb8', 0), ('bgr8', 7), ('rgba8', 0), ('bgra8', 7), ('mono8', 7)],
)
def test_masks_are_those_of_predict(front, front_masks, predict, encoding, padding):
    message = image_message(picture(3, 150, 201), encoding, padding, frame_id='front_optical')
    mask = ask(front, front_masks, message)
    expected = predict(to_rgb(message)).labels
    assert len(np.unique(expected)) > 3
    np.testing.assert_array_equal(to_array(mask), expected)
    assert mask.header == message.header
    assert (mask.encoding, mask.width, mask.height, mask.step) == ('mono8', 201, 150, 201)


def test_cameras_of_different_sizes_get_their_own_masks(
    front, rear, front_masks, rear_masks, predict
):
    for i in range(3):
        ahead = image_message(picture(10 + i, 120, 160), frame_id='front_optical')
        behind = image_message(picture(20 + i, 200, 96), frame_id='rear_optical')
        front.publish(ahead)
        rear.publish(behind)
        for masks, message in ((front_masks, ahead), (rear_masks, behind)):
            mask = find(masks, stamp_of(message))
            assert mask.header == message.header
            np.testing.assert_array_equal(to_array(mask), predict(to_rgb(message)).labels)


def test_another_size_mid_stream(front, front_masks, predict):
    for height, width in ((60, 80), (240, 320), (33, 47), (1, 1)):
        message = image_message(picture(4, height, width))
        mask = ask(front, front_masks, message)
        np.testing.assert_array_equal(to_array(mask), predict(to_rgb(message)).labels)


def test_of_a_burst_the_newest_frame_is_answered(front, front_masks, predict):
    before = len(front_masks)
    messages = [image_message(picture(30 + i, 300, 400)) for i in range(20)]
    for message in messages:
        front.publish(message)
    mask = find(front_masks, stamp_of(messages[-1]))
    np.testing.assert_array_equal(to_array(mask), predict(to_rgb(messages[-1])).labels)
    stamps = [stamp_of(m) for m in front_masks[before:]]
    assert stamps == sorted(stamps)
    assert len(stamps) < len(messages)


def spoil(message, **changes):
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_a_bad_camera_is_named_and_the_good_one_goes_on(
    front, rear, front_masks, rear_masks, node, predict
):
    faults = [
        {'encoding': 'smell16'},
        {'height': 0},
        {'height': 31},
        {'data': array('B')},
        {'step': 3},
    ]
    before = len(rear_masks)
    for fault in faults * 3:
        rear.publish(spoil(image_message(picture(5, 30, 40)), **fault))
        good = image_message(picture(6, 64, 64))
        mask = ask(front, front_masks, good)
        np.testing.assert_array_equal(to_array(mask), predict(to_rgb(good)).labels)
    node.wait_for_log(
        r"camera rear: image dropped \(1 so far\): expected an encoding of .*found 'smell16'"
    )
    assert node.log.count('camera rear: image dropped') < len(faults)  # throttled
    assert 'camera front: image dropped' not in node.log
    good = image_message(picture(5, 30, 40))
    ask(rear, rear_masks, good)
    assert len(rear_masks) == before + 1


def test_what_is_heard_besides_the_mask(listen, front, front_masks, predict, models):
    image = picture(7, 90, 110)
    palette = load_checkpoint(models[0]).labels.palette
    topics = {
        name: listen(kind, f'/front/segmentation/{name}')
        for name, kind in {
            'confidence': Image,
            'color': Image,
            'overlay': Image,
            'overlay/compressed': CompressedImage,
            'mask/compressed': CompressedImage,
        }.items()
    }
    meet(front, *topics.values())
    message = image_message(image)
    labels = to_array(ask(front, front_masks, message))
    heard = {name: find(messages, stamp_of(message)) for name, messages in topics.items()}
    assert all(m.header == message.header for m in heard.values())
    np.testing.assert_array_equal(
        to_array(heard['confidence']), predict(image, confidence=True).confidence
    )
    assert heard['color'].encoding == heard['overlay'].encoding == 'bgr8'
    np.testing.assert_array_equal(to_rgb(heard['color']), colorize(labels, palette))
    blended = overlay(image, labels, palette, 0.5)
    np.testing.assert_array_equal(to_rgb(heard['overlay']), blended)
    jpeg = decode_image(heard['overlay/compressed'].data)
    np.testing.assert_array_equal(jpeg, decode_image(encode_image(blended, '.jpg')))
    png = np.frombuffer(heard['mask/compressed'].data, np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(png, cv2.IMREAD_UNCHANGED), labels)


def test_output_at_the_networks_size_with_camera_info_to_match(
    peer, listen, front, front_masks, predict
):
    info = CameraInfo(width=400, height=300, distortion_model='plumb_bob', d=[0.1] * 5)
    info.k = [400.0, 0.0, 200.0, 0.0, 410.0, 150.0, 0.0, 0.0, 1.0]
    info.p = [400.0, 0.0, 200.0, -40.0, 0.0, 410.0, 150.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.roi.x_offset, info.roi.width, info.roi.y_offset, info.roi.height = 100, 200, 30, 150
    sender = peer.publisher(CameraInfo, '/front/camera_info')
    infos = listen(CameraInfo, '/front/segmentation/camera_info')
    overlays = listen(Image, '/front/segmentation/overlay')
    sender.publish(info)
    # Until the node has that, too: it is passed on with the images of its size.
    until_heard(lambda: front.publish(image_message(picture(8, 300, 400))), infos, overlays)
    message = image_message(picture(8, 300, 400))
    ask(front, front_masks, message)
    same = find(infos, stamp_of(message))
    assert same.header == message.header
    assert (same.width, same.height, same.roi) == (400, 300, info.roi)
    np.testing.assert_array_equal([*same.k, *same.p], [*info.k, *info.p])

    assert peer.set_parameters(NODE, output_size='network').successful
    message = image_message(picture(8, 300, 400))
    small = ask(front, front_masks, message)
    scaled = find(infos, stamp_of(message))
    picture_of = find(overlays, stamp_of(message))
    assert peer.set_parameters(NODE, output_size='camera').successful

    height, width = INPUT_SIZE
    assert (small.width, small.height, small.step) == (width, height, width)
    assert (scaled.width, scaled.height) == (width, height)
    assert (picture_of.width, picture_of.height) == (width, height)
    expected = predict(picture(8, 300, 400), output_size=INPUT_SIZE).labels
    np.testing.assert_array_equal(to_array(small), expected)
    x, y = width / 400, height / 300
    np.testing.assert_allclose(scaled.k, [400 * x, 0, 200 * x, 0, 410 * y, 150 * y, 0, 0, 1])
    np.testing.assert_allclose(
        scaled.p, [400 * x, 0, 200 * x, -40 * x, 0, 410 * y, 150 * y, 0, 0, 0, 1, 0]
    )
    roi = scaled.roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (32, 9, 64, 48)


def test_parameters_change_between_frames(peer, front, front_masks, models, predict):
    image = picture(9, 100, 140)
    for changes in (
        {'model': str(models[1])},
        {'input_height': 64, 'input_width': 160},
        {'model': str(models[0]), 'input_height': 0, 'input_width': 0},
    ):
        result = peer.set_parameters(NODE, **changes)
        assert result.successful, result.reason
        expected = Segmenter(
            changes.get('model', models[1]),
            input_height=changes.get('input_height', 0),
            input_width=changes.get('input_width', 0),
            **PLAIN,
        ).predict(image)
        mask = ask(front, front_masks, image_message(image))
        np.testing.assert_array_equal(to_array(mask), expected.labels)

    confidence = predict(image, confidence=True).confidence
    threshold = float(np.median(confidence)) / 255
    assert peer.set_parameters(NODE, confidence_threshold=threshold).successful
    mask = to_array(ask(front, front_masks, image_message(image)))
    assert peer.set_parameters(NODE, confidence_threshold=0.0).successful
    expected = predict(image, confidence_threshold=threshold).labels
    assert 0.1 < np.mean(expected == 255) < 0.9
    np.testing.assert_array_equal(mask, expected)


def test_the_engine_changes_between_frames_and_the_log_says_which_runs(
    peer, node, front, front_masks, models
):
    image = picture(15, 100, 140)
    seen = []
    for engine in (
        {'backend': 'onnxruntime', 'precision': 'fp32'},
        {'backend': 'auto', 'precision': 'auto'},
        {'backend': 'torch', 'precision': 'bf16'},
        PLAIN,
    ):
        if engine['backend'] == 'onnxruntime' and not OnnxRuntimeEngine.installed():
            continue
        said = len(node.log)
        result = peer.set_parameters(NODE, **engine)
        assert result.successful, result.reason
        expected = Segmenter(models[0], **engine)
        mask = to_array(ask(front, front_masks, image_message(image)))
        np.testing.assert_array_equal(mask, expected.predict(image).labels)
        assert f'{expected.backend} in {expected.precision} on cpu' in node.log[said:]
        seen.append(mask)
    assert (seen[0] == seen[-1]).mean() > 0.99


def test_the_palette_is_of_the_pictures_not_of_the_mask(
    peer, listen, front, front_masks, models, predict
):
    image = picture(10, 90, 110)
    labels = load_checkpoint(models[0]).labels
    topics = {name: listen(Image, f'/front/segmentation/{name}') for name in ('color', 'overlay')}
    meet(front, *topics.values())
    for name in ('colorblind', 'model'):
        assert peer.set_parameters(NODE, palette=name).successful
        message = image_message(image)
        mask = to_array(ask(front, front_masks, message))
        np.testing.assert_array_equal(mask, predict(image).labels)
        heard = {topic: to_rgb(find(topics[topic], stamp_of(message))) for topic in topics}
        palette = with_palette(labels, name).palette
        np.testing.assert_array_equal(heard['color'], colorize(mask, palette))
        np.testing.assert_array_equal(heard['overlay'], overlay(image, mask, palette, 0.5))


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'model': 'no_such_network'}, "expected a shipped network .*found 'no_such_network'"),
        ({'model': __file__}, 'expected a checkpoint of seg_ros'),
        ({'device': 'cuda:99'}, 'device: expected auto or one of cpu.*cuda:99'),
        ({'backend': 'tensorflow'}, "backend: expected one of auto, .*found 'tensorflow'"),
        ({'backend': 'onnxruntime:tensorrt'}, "onnxruntime.*found '(onnxruntime:)?tensorrt'"),
        (
            {'backend': 'auto', 'precision': 'int8'},
            'expected a checkpoint that knows the ranges.*seg_ros calibrate',
        ),
        ({'precision': 'fp12'}, "precision: expected one of auto, .*found 'fp12'"),
        ({'input_height': 10_000}, 'input_height out of range'),
        ({'overlay_opacity': 1.5}, 'overlay_opacity out of range'),
        ({'overlay_opacity': 1}, 'Wrong parameter type'),
        ({'confidence_threshold': -0.1}, 'confidence_threshold out of range'),
        ({'output_size': 'huge'}, 'expected one of camera, network'),
        ({'palette': 'pretty'}, "palette: expected one of model, colorblind; found 'pretty'"),
        ({'overlay_opacity': 0.9, 'model': 'no_such_network'}, 'no_such_network'),
        ({'cameras': ['other']}, 'read-only parameter: cameras'),
        ({'transport': 'compressed'}, 'read-only parameter: transport'),
        ({'front__ego_mask': 'nowhere.png'}, 'front.ego_mask: .*nowhere.png'),
        ({'front__ego_mask': __file__}, 'front.ego_mask: .*expected a'),
        ({'autostart': False}, 'read-only parameter: autostart'),
        ({'front__image_topic': 'a b'}, 'front.image_topic: expected what can stand in a topic'),
        ({'max_age_ms': -1}, 'max_age_ms out of range'),
        ({'diagnostics__stale_ms': -1}, 'diagnostics.stale_ms out of range'),
    ],
)
def test_what_cannot_be_is_refused_and_the_old_network_goes_on(
    peer, front, front_masks, predict, changes, reason
):
    result = peer.set_parameters(NODE, **changes)
    assert not result.successful
    assert re.search(reason, result.reason), result.reason
    message = image_message(picture(11, 80, 80))
    mask = ask(front, front_masks, message)
    np.testing.assert_array_equal(to_array(mask), predict(to_rgb(message)).labels)


def test_auto_reliability_follows_the_publishers(peer, node, rear_masks, predict):
    """Reliable for as long as all are; best effort with the first that is not."""
    start = len(node.log)
    sensor = peer.node.create_publisher(Image, '/rear/image_raw', BEST_EFFORT)
    node.wait_for_log(r'camera rear: subscribing to /rear/image_raw, best_effort \(auto')
    assert wait_until(sensor.get_subscription_count)
    message, mask = ask_again(sensor, rear_masks, lambda: image_message(picture(12, 60, 80)))
    np.testing.assert_array_equal(to_array(mask), predict(to_rgb(message)).labels)
    peer.node.destroy_publisher(sensor)
    assert wait_until(lambda: 'rear/image_raw, reliable (auto' in node.log[start:])


def test_incompatible_publishers_are_reported_with_the_fix(peer, node, rear):
    assert peer.set_parameters(NODE, reliability='reliable').successful
    assert wait_until(rear.get_subscription_count)
    sensor = peer.node.create_publisher(Image, '/rear/image_raw', BEST_EFFORT)
    node.wait_for_log('a publisher of /rear/image_raw offers best effort only.*Set reliability')
    peer.node.destroy_publisher(sensor)
    assert peer.set_parameters(NODE, reliability='auto').successful


def test_runs_of_autowares_ids_on_request(peer, listen, front, front_masks, models):
    topic = '/front/segmentation/mask_rle'
    table = np.zeros(256, np.uint8)
    for i, name in enumerate(load_checkpoint(models[0]).labels.names):
        table[i] = AUTOWARE_IDS.get(name.lower(), 0)
    for _ in range(2):
        assert peer.set_parameters(NODE, mask_rle=True).successful
        runs = listen(Image, topic)
        meet(front, runs)
        message = image_message(picture(16, 90, 120))
        mask = to_array(ask(front, front_masks, message))
        found = find(runs, stamp_of(message))
        assert (found.height, found.width, found.encoding) == (90, 120, 'mono8')
        assert found.header == message.header
        np.testing.assert_array_equal(decode(found.data, 90, 120), table[mask])
        assert peer.set_parameters(NODE, mask_rle=False).successful
        assert wait_until(lambda: not peer.node.count_publishers(topic))
        ask(front, front_masks, image_message(picture(16, 90, 120)))


def test_another_image_topic_while_it_runs(peer, front, front_masks, predict):
    assert peer.set_parameters(NODE, front__image_topic='/elsewhere/image').successful
    elsewhere = peer.publisher(Image, '/elsewhere/image')
    assert wait_until(lambda: not front.get_subscription_count())
    message = image_message(picture(17, 60, 80))
    mask = ask(elsewhere, front_masks, message)
    np.testing.assert_array_equal(to_array(mask), predict(to_rgb(message)).labels)
    assert peer.set_parameters(NODE, front__image_topic='').successful
    assert wait_until(front.get_subscription_count)
    ask(front, front_masks, image_message(picture(17, 60, 80)))


def test_the_vehicle_itself_is_unlabeled_in_every_output(
    peer, listen, front, rear, front_masks, rear_masks, predict, tmp_path
):
    vehicle = np.zeros((30, 40), np.uint8)
    vehicle[20:, 5:30] = 255
    cv2.imwrite(str(tmp_path / 'ego.png'), vehicle)
    image = picture(18, 60, 80)
    plain = predict(image, confidence=True)
    there = cv2.resize(vehicle, (80, 60), interpolation=cv2.INTER_NEAREST_EXACT) > 0
    confidences = listen(Image, '/front/segmentation/confidence')
    overlays = listen(Image, '/front/segmentation/overlay')
    meet(front, confidences, overlays)
    assert peer.set_parameters(NODE, front__ego_mask=str(tmp_path / 'ego.png')).successful
    message = image_message(image)
    mask = to_array(ask(front, front_masks, message))
    np.testing.assert_array_equal(mask, np.where(there, 255, plain.labels))
    confidence = to_array(find(confidences, stamp_of(message)))
    np.testing.assert_array_equal(confidence, np.where(there, 0, plain.confidence))
    drawn = to_rgb(find(overlays, stamp_of(message)))
    np.testing.assert_array_equal(drawn[there], image[there])
    other = to_array(ask(rear, rear_masks, image_message(image)))
    np.testing.assert_array_equal(other, plain.labels)
    assert peer.set_parameters(NODE, front__ego_mask='').successful
    mask = to_array(ask(front, front_masks, image_message(image)))
    np.testing.assert_array_equal(mask, plain.labels)


def test_frames_that_are_too_old_are_dropped(peer, front, front_masks):
    diagnostics = Diagnostics(peer)
    assert peer.set_parameters(NODE, max_age_ms=60_000).successful
    before = len(front_masks)
    dropped = diagnostics.counts('front')['too_old']
    front.publish(image_message(picture(19, 60, 80)))  # of 2023
    assert wait_until(lambda: diagnostics.value('camera front', 'too old') == str(dropped + 1))
    unstamped = image_message(picture(19, 60, 80))
    unstamped.header.stamp.sec = unstamped.header.stamp.nanosec = 0
    messages = [unstamped, now_message(peer)]
    for message in messages:
        ask(front, front_masks, message)
    assert [stamp_of(m) for m in front_masks[before:]] == [stamp_of(m) for m in messages]
    assert peer.set_parameters(NODE, max_age_ms=0).successful


def now_message(peer):
    message = image_message(picture(19, 60, 80))
    message.header.stamp = peer.node.get_clock().now().to_msg()
    return message


def test_switched_off_and_on(peer, front, front_masks):
    def enable(wanted):
        return peer.call(SetBool, f'{NODE}/enable', SetBool.Request(data=wanted))

    before = len(front_masks)
    for _ in range(2):
        answer = enable(False)
        assert (answer.success, answer.message) == (True, 'disabled')
        assert wait_until(lambda: not front.get_subscription_count())
        front.publish(image_message(picture(20, 60, 80)))
    for _ in range(2):
        answer = enable(True)
        assert (answer.success, answer.message) == (True, 'enabled')
    assert wait_until(front.get_subscription_count)
    message = image_message(picture(20, 60, 80))
    ask(front, front_masks, message)
    assert [stamp_of(m) for m in front_masks[before:]] == [stamp_of(message)]


def test_a_checkpoint_is_read_again_on_request(peer, front, front_masks, models, tmp_path):
    path = tmp_path / 'network.safetensors'
    image = picture(21, 100, 140)
    expected = [Segmenter(model, **PLAIN).predict(image).labels for model in models]
    assert (expected[0] != expected[1]).mean() > 0.1

    def reload():
        return peer.call(Trigger, f'{NODE}/reload', Trigger.Request())

    def answer():
        return to_array(ask(front, front_masks, image_message(image)))

    shutil.copy(models[0], path)
    assert peer.set_parameters(NODE, model=str(path)).successful
    np.testing.assert_array_equal(answer(), expected[0])
    shutil.copy(models[1], path)
    np.testing.assert_array_equal(answer(), expected[0])
    response = reload()
    assert response.success
    assert re.search(f'reloaded {path}: 11 classes, input 128x96', response.message)
    np.testing.assert_array_equal(answer(), expected[1])
    path.write_bytes(path.read_bytes()[:1000])
    response = reload()
    assert not response.success
    assert 'expected a checkpoint of seg_ros' in response.message
    np.testing.assert_array_equal(answer(), expected[1])
    path.unlink()
    assert 'expected a shipped network' in reload().message
    np.testing.assert_array_equal(answer(), expected[1])
    assert peer.set_parameters(NODE, model=str(models[0])).successful


def test_frames_are_answered_while_another_network_loads(
    peer, front, front_masks, models, predict
):
    """By the old network, and then by the new one, from one frame to the next."""
    image = picture(22, 64, 64)
    old = predict(image).labels
    done = Event()

    def change():
        assert peer.set_parameters(NODE, model=str(models[1]), backend='auto').successful
        done.set()

    before, thread = len(front_masks), Thread(target=change)
    thread.start()
    while not done.is_set():
        front.publish(image_message(image))
        sleep(0.02)
    thread.join()
    during = len(front_masks) - before
    last = to_array(ask(front, front_masks, image_message(image)))
    assert during > 3
    new = Segmenter(models[1], precision='fp32').predict(image).labels  # it is built by now
    np.testing.assert_array_equal(last, new)
    seen = [to_array(mask) for mask in front_masks[before:]]
    by_new = [bool((mask == new).all()) for mask in seen]
    assert by_new == sorted(by_new), 'the old network answered after the new one'
    assert all((mask == old).all() for mask, new in zip(seen, by_new) if not new)
    assert peer.set_parameters(NODE, model=str(models[0]), **PLAIN).successful


def test_the_node_outlived_all_this(node):
    assert node.running
    assert 'Traceback' not in node.log


def test_compressed_images_in_a_namespace_with_the_parameter_file(peer, models):
    """Also remapped, from a best-effort publisher, as cameras often are, and with any engine."""
    with NodeProcess(
        *('--params-file', str(CONFIG), '-r', '__ns:=/car', '-r', 'camera/image_raw:=/usb/image'),
        model=models[0],
        transport='compressed',
    ) as process:
        process.wait_for_log('subscribing to /usb/image/compressed')
        camera = peer.node.create_publisher(CompressedImage, '/usb/image/compressed', BEST_EFFORT)
        masks = peer.listen(Image, '/car/camera/segmentation/mask')
        process.wait_for_log('best_effort')
        assert wait_until(camera.get_subscription_count)
        jpeg = encode_image(picture(13, 150, 200), '.jpg')

        def make():
            return CompressedImage(header=new_header(), format='jpeg', data=array('B', jpeg))

        message, mask = ask_again(camera, masks, make)
        expected = Segmenter(models[0]).predict(decode_image(jpeg)).labels
        np.testing.assert_array_equal(to_array(mask), expected)
        assert mask.header == message.header
        camera.publish(CompressedImage(header=new_header(), data=array('B', b'no JPEG')))
        process.wait_for_log('camera camera: image dropped .*expected a JPEG')
        ask_again(camera, masks, make)


def test_remappings_can_swap_two_cameras(peer, models, predict):
    rules = ('left/image_raw:=/right/image_raw', 'right/image_raw:=/left/image_raw')
    options = [part for rule in rules for part in ('-r', rule)]
    with NodeProcess(*options, cameras='[left, right]', model=models[0], **PLAIN) as process:
        process.wait_for_log('camera right: subscribing to /left/image_raw')
        publisher = peer.publisher(Image, '/right/image_raw')
        masks = {
            name: peer.listen(Image, f'/{name}/segmentation/mask') for name in ('left', 'right')
        }
        message = image_message(picture(13, 60, 80))
        mask = ask(publisher, masks['left'], message)
        np.testing.assert_array_equal(to_array(mask), predict(to_rgb(message)).labels)
        assert not masks['right']


def test_sigterm_ends_it_with_0_while_frames_flow(peer, models):
    with NodeProcess(cameras='[busy]', model=models[0], **PLAIN) as process:
        process.wait_for_log('subscribing')
        camera = peer.publisher(Image, '/busy/image_raw')
        masks = peer.listen(Image, '/busy/segmentation/mask')
        message = image_message(picture(14, 480, 640))
        while not masks:
            camera.publish(message)
            sleep(0.02)
        process.send_signal(signal.SIGTERM)
        for _ in range(20):
            camera.publish(message)
            sleep(0.02)
        assert process.wait() == 0, process.log
        assert 'Traceback' not in process.log


@pytest.mark.parametrize(('number', 'delay'), [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.5)])
def test_a_signal_while_loading_ends_it_with_0(models, number, delay):
    check_a_signal_while_loading(models[0], number, delay)


def test_a_signal_before_ros_is_there_to_hear_it_ends_it_with_0():
    code = """
import os, signal, sys
import rclpy
from seg_ros.node.segmentation_node import main
init = rclpy.init
def interrupted_init(**options):
    os.kill(os.getpid(), signal.SIGTERM)
    init(**options)
rclpy.init = interrupted_init
sys.exit(main([]))
"""
    process = subprocess.run([sys.executable, '-c', code], timeout=200, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert b'loading' not in process.stderr


@pytest.mark.parametrize(
    ('parameters', 'expected'),
    [
        ({'model': 'nowhere'}, "expected a shipped network .*found 'nowhere'.*Check the name"),
        ({'device': 'cuda:99'}, "expected auto or one of cpu.*found 'cuda:99'.*check nvidia-smi"),
        (
            {'input_height': 'tall'},
            "input_height: expected int from 0 to 8192.*'tall'.*Correct it",
        ),
        ({'overlay_opacity': 2.0}, 'overlay_opacity: expected float from 0.0 to 1.0.*value: 2.0'),
        ({'transport': 'pigeon'}, "transport: expected one of raw, compressed; found 'pigeon'"),
        ({'cameras': '[a, a]'}, r"expected one or more different names.*found \['a', 'a'\]"),
        ({'cameras': '[a b]'}, "expected what can stand in a topic name.*found 'a b'"),
        ({'cameras': '[a, /a]'}, r"expected names that stand for different topics; found \['a'"),
        ({'camera.ego_mask': 'nowhere.png'}, 'camera.ego_mask: .*nowhere.png'),
    ],
)
def test_what_cannot_start_exits_with_1_and_says_why(models, parameters, expected):
    with NodeProcess(**{'model': models[0], **parameters}) as process:
        assert process.wait() == 1
        process.wait_for_log(f'(?s){expected}', 1)
        assert 'Traceback' not in process.log


def test_lifecycle_under_a_manager(peer, models, predict):
    with NodeProcess(
        *('-r', '__node:=managed'),
        cameras='[top]',
        model='nowhere',
        autostart='false',
        **PLAIN,
    ) as process:

        def change(transition):
            request = ChangeState.Request(transition=Transition(id=transition))
            return peer.call(ChangeState, '/managed/change_state', request).success

        def state():
            return peer.call(
                GetState, '/managed/get_state', GetState.Request()
            ).current_state.label

        def subscribers():
            return peer.node.count_subscribers('/top/image_raw')

        assert state() == 'unconfigured'
        assert not change(Transition.TRANSITION_CONFIGURE)
        process.wait_for_log('cannot be configured: .*nowhere')
        assert state() == 'unconfigured'
        assert not change(Transition.TRANSITION_ACTIVATE)
        assert state() == 'unconfigured'
        reloaded = peer.call(Trigger, '/managed/reload', Trigger.Request())
        assert not reloaded.success
        assert 'expected a node that is configured' in reloaded.message
        assert peer.set_parameters('/managed', model=str(models[0])).successful
        camera = peer.node.create_publisher(Image, '/top/image_raw', 10)
        for _ in range(2):
            assert change(Transition.TRANSITION_CONFIGURE)
            assert state() == 'inactive'
            masks = peer.listen(Image, '/top/segmentation/mask')
            assert subscribers() == 0
            for _ in range(2):
                assert change(Transition.TRANSITION_ACTIVATE)
                assert state() == 'active'
                assert wait_until(camera.get_subscription_count)
                message = image_message(picture(15, 70, 90))
                mask = ask(camera, masks, message)
                np.testing.assert_array_equal(to_array(mask), predict(to_rgb(message)).labels)
                assert change(Transition.TRANSITION_DEACTIVATE)
                assert state() == 'inactive'
                assert wait_until(lambda: not subscribers())
            assert change(Transition.TRANSITION_CLEANUP)
            assert state() == 'unconfigured'
        assert change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert state() == 'finalized'
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0, process.log
