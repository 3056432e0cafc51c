# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras, clocks, publishers and subscribers that misbehave, around the real node."""

from time import sleep, time

from fault_fixtures import (  # noqa: F401
    front_fixture,
    keep_sending,
    long_lived_fixture,
    models_fixture,
    rear_fixture,
    rig_fixture,
)
from node_fixtures import (
    BEST_EFFORT,
    ERROR,
    find,
    OK,
    picture,
    STALE,
    stamp_of,
    stamped,
    wait_until,
)
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from seg_ros.images.encodings import to_array

DIM = picture(1, 40, 60)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
OUTPUTS = {
    'mask': Image,
    'mask/compressed': CompressedImage,
    'confidence': Image,
    'color': Image,
    'overlay': Image,
    'overlay/compressed': CompressedImage,
}


def stamps(masks):
    return [stamp_of(mask) for mask in masks]


@pytest.mark.parametrize('pause', [0.0, 0.002])
def test_newest_first_in_a_burst_and_at_ten_times_the_rate(rig, front, pause):
    before, masks = front.counts(), len(front.masks)
    images = [picture(seed, 40, 60) for seed in range(8)]
    sent = []
    for i in range(200):
        sent.append((front.send(images[i % 8]), images[i % 8]))
        sleep(pause)
    front.check(*sent[-1])
    counts = front.counts()
    answered = stamps(front.masks[masks:])
    assert answered == sorted(set(answered))  # never an older one after a newer one
    by_stamp = {stamp_of(message): image for message, image in sent}
    for mask in front.masks[masks:]:
        expected = rig.segmenter.predict(by_stamp[stamp_of(mask)]).labels
        np.testing.assert_array_equal(to_array(mask), expected)
    assert counts['processed'] - before['processed'] == len(answered)
    assert counts['received'] - before['received'] <= 200
    assert counts['failed'] == before['failed']


def test_what_is_answered_is_the_newest_that_was_received(rig, front, rear):
    """Frame by frame: while one is under way, all others but the last are replaced."""
    before = front.counts(), rear.counts()
    said = rig.said()
    rig.break_it('hang')
    first = front.send(DIM)
    said.wait_for('fault: hangs')
    sent = {}
    for camera, start in zip((front, rear), before):
        for i in range(4):
            sent[camera] = camera.send(picture(i, 40, 60))
            due = start['received'] + i + 1 + (camera is front)
            assert wait_until(lambda c=camera, n=due: c.count('received') >= n)
    rig.break_it()
    front.check(first, DIM)
    for camera, start in zip((front, rear), before):
        camera.check(sent[camera], picture(3, 40, 60))
        counts = camera.counts()
        assert counts['replaced'] - start['replaced'] == 3
        assert counts['processed'] - start['processed'] == 1 + (camera is front)


def test_a_camera_that_stops_is_stale_and_comes_back(rig, front):
    assert not rig.set(diagnostics__stale_ms=1000)
    topic = '/front/image_raw'
    front.ask(DIM)
    rig.peer.node.destroy_publisher(front.publisher)
    rig.diagnostics.wait_for('camera front', STALE, f'no image on {topic} for')
    front.publisher = rig.peer.publisher(Image, topic)
    latest = rig.diagnostics.statuses
    keep_sending(front, DIM, lambda: latest('camera front')[-1].level == OK)
    front.ask(picture(2, 40, 60))
    assert not rig.set(diagnostics__stale_ms=600_000)


def test_another_resolution_mid_stream(front):
    for height, width in ((40, 60), (41, 7), (300, 200), (1, 1), (40, 60)):
        front.ask(picture(3, height, width))


def test_another_encoding_mid_stream(rig, front):
    before = front.counts()
    for encoding in ('rgb8', 'bgr8', 'nonsense', 'rgb8'):
        message = stamped(DIM)
        message.encoding = encoding
        front.publisher.publish(message)
        if encoding == 'nonsense':
            assert wait_until(lambda: front.count('failed') > before['failed'])
        else:
            front.check(message, DIM if encoding == 'bgr8' else DIM[..., ::-1])
    counts = front.counts()
    assert counts['failed'] - before['failed'] == 1
    assert counts['processed'] - before['processed'] == 3
    front.ask(DIM)


def test_stamps_that_jump_back_or_come_again_are_answered_in_their_order(rig, front):
    masks = len(front.masks)
    sent = [(100, 0), (101, 0), (50, 0), (51, 0), (100, 0), (100, 0), (0, 1), (101, 0)]
    for i, stamp in enumerate(sent):
        image = picture(i, 40, 60)
        front.send(image, stamp)
        assert wait_until(lambda n=i: len(front.masks) == masks + n + 1)
        expected = rig.segmenter.predict(image).labels
        np.testing.assert_array_equal(to_array(front.masks[-1]), expected)
    assert stamps(front.masks[masks:]) == sent


def test_cameras_with_equal_stamps_each_get_their_own_masks(rig, front, rear):
    for i in range(10):
        stamp = (2_000 + i, 5)
        ahead, behind = picture(i, 40, 60), picture(100 + i, 50, 30)
        messages = front.send(ahead, stamp), rear.send(behind, stamp)
        front.check(messages[0], ahead)
        rear.check(messages[1], behind)


def test_a_publisher_that_changes_to_best_effort_and_back_is_followed(rig, front):
    said = rig.said()
    rig.peer.node.destroy_publisher(front.publisher)
    for qos, word in ((BEST_EFFORT, 'best_effort'), (10, 'reliable')):
        front.publisher = rig.peer.node.create_publisher(Image, front.topic, qos)
        said.wait_for(f'subscribing to {front.topic}, {word}')
        masks = len(front.masks)
        keep_sending(front, DIM, lambda n=masks: len(front.masks) > n)
        assert wait_until(lambda: front.publisher.get_subscription_count())
        rig.peer.node.destroy_publisher(front.publisher)
    front.publisher = rig.peer.publisher(Image, front.topic)
    front.ask(DIM)


def test_a_latched_publisher_is_heard(rig, rear):
    rig.peer.node.destroy_publisher(rear.publisher)
    rear.publisher = rig.peer.publisher(Image, rear.topic, LATCHED)
    rear.ask(DIM)
    rig.peer.node.destroy_publisher(rear.publisher)
    rear.publisher = rig.peer.publisher(Image, rear.topic)
    rear.ask(DIM)


def test_two_publishers_of_one_topic_are_both_answered(rig, front):
    other = rig.peer.publisher(Image, front.topic)
    first = front.publisher
    for i in range(6):
        front.publisher = (first, other)[i % 2]
        front.ask(picture(i, 40, 60))
    front.publisher = first
    rig.peer.node.destroy_publisher(other)
    front.ask(DIM)


@pytest.mark.parametrize('output', OUTPUTS)
def test_subscribers_come_and_go(rig, front, output):
    for _ in range(3):
        messages = rig.peer.listen(OUTPUTS[output], f'/front/segmentation/{output}')
        mask = front.ask(DIM)
        if len(messages) == 0:
            assert wait_until(lambda m=messages: m)
        assert stamp_of(mask) in stamps(messages)
        rig.peer.forget(messages)
        front.ask(DIM)


def test_subscribers_that_come_and_go_under_load_cost_no_mask(rig, front):
    before = front.counts()['failed']
    for _ in range(5):
        heard = [
            rig.peer.node.create_subscription(
                kind, f'/front/segmentation/{output}', lambda message: None, 1
            )
            for output, kind in OUTPUTS.items()
        ]
        masks = len(front.masks)
        keep_sending(front, DIM, lambda n=masks: len(front.masks) >= n + 5)
        for subscription in heard:
            rig.peer.node.destroy_subscription(subscription)
    front.ask(DIM)
    assert front.counts()['failed'] == before


def test_a_subscriber_that_asks_for_too_much_is_named_and_stops_nobody(rig, front):
    said = rig.said()
    topic = '/front/segmentation/mask'
    demanding = rig.peer.node.create_subscription(Image, topic, lambda message: None, LATCHED)
    said.wait_for(topic.lstrip('/'))
    front.ask(DIM)
    rig.peer.node.destroy_subscription(demanding)


def now_stamp(seconds: float) -> tuple[int, int]:
    moment = time() + seconds
    return int(moment), int(moment % 1 * 1e9)


def test_with_max_age_old_frames_are_dropped_and_counted(rig, front):
    assert not rig.set(max_age_ms=5000)
    before = front.counts()
    answered = []
    for age in (0.0, -3600.0, None):  # now, from the future, and of a driver that knows no time
        stamp = (0, 0) if age is None else now_stamp(-age)
        answered.append(front.send(DIM, stamp))
        front.check(answered[-1], DIM)
    old = []
    for i, stamp in enumerate([now_stamp(-60), (1, 0), now_stamp(-5.5)]):
        old.append(front.send(DIM, stamp))
        due = before['too_old'] + i + 1
        assert wait_until(lambda n=due: front.count('too_old') >= n)
    counts = front.counts()
    assert counts['too_old'] == before['too_old'] + 3
    assert counts['processed'] == before['processed'] + 3
    assert not any(front.answered(message) for message in old)
    assert not rig.set(max_age_ms=0)
    front.send(DIM, (1, 500))
    find(front.masks, (1, 500))


def test_where_all_are_too_old_diagnostics_tell_of_the_clocks(rig, rear):
    assert not rig.set(max_age_ms=1000)
    start = time()

    def told():
        latest = rig.diagnostics.statuses('camera rear')[-1]
        return latest.level == ERROR and 'clocks' in latest.message

    while not told():
        assert time() < start + 60
        rear.send(DIM, now_stamp(-100))
        sleep(0.1)
    assert not rig.set(max_age_ms=0)
    rear.ask(DIM)


@pytest.mark.parametrize(
    'info',
    [
        CameraInfo(),
        CameraInfo(width=2**32 - 1, height=2**32 - 1, k=[1e308] * 9, p=[-1e308] * 12),
        CameraInfo(width=60, height=40, d=[float('nan')] * 1000, k=[float('inf')] * 9),
        CameraInfo(width=60, height=40, binning_x=7, distortion_model='\u00e9' * 500),
    ],
    ids=['empty', 'huge', 'not finite', 'odd'],
)
def test_an_odd_camera_info_costs_no_mask(rig, front, info):
    info.roi.width = info.roi.height = 2**32 - 1
    publisher = rig.peer.publisher(CameraInfo, '/front/camera_info')
    scaled = rig.peer.listen(CameraInfo, '/front/segmentation/camera_info')
    for size in ('camera', 'network'):
        assert not rig.set(output_size=size)
        publisher.publish(info)
        sleep(0.1)  # it may come after the image, too
        message = front.send(DIM)
        find(front.masks, stamp_of(message))
    assert not rig.set(output_size='camera')
    front.ask(DIM)
    assert all(s.header.frame_id == 'optical' for s in scaled)
    rig.peer.forget(scaled)
    rig.peer.node.destroy_publisher(publisher)
