# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Malformed and odd image messages, made at random, for the decoders and the real node."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import cv2
from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
from node_fixtures import (
    Diagnostics,
    find,
    make_checkpoint,
    NodeProcess,
    Peer,
    picture,
    stamp_of,
    stamped,
    wait_until,
)
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from seg_ros.inference.encodings import ImageError, to_array, to_rgb, view_rgb
from seg_ros.inference.image_file import encode_image
from seg_ros.inference.segmenter import Segmenter
from seg_ros.nodes.image_message import decode

CAMERAS = 16
RAW, COMPRESSED = 7_000, 3_000
"""Messages over DDS."""

SMALL = {'input_height': 32, 'input_width': 32, 'backend': 'torch', 'precision': 'fp32'}
"""A network that keeps nobody waiting."""

CHANNELS = {
    **dict.fromkeys(('rgb8', 'bgr8', '8UC3'), 3),
    **dict.fromkeys(('rgba8', 'bgra8', '8UC4'), 4),
    **dict.fromkeys(('mono8', '8UC1', 'bayer_rggb8', 'bayer_gbrg8'), 1),
    **dict.fromkeys(('mono16', '16UC1', 'bayer_grbg16', 'yuv422', 'yuyv'), 2),
}
"""Bytes of a pixel."""

UNKNOWN = ('', 'RGB8', 'rgb8 ', 'jpeg', '32FC1', '64FC3', '8UC', 'nv12', 'bgr\0', 'x' * 300)
ENCODINGS = st.sampled_from(UNKNOWN) | st.text(st.characters(codec='utf-8'), max_size=9)
SIDES = st.sampled_from([*range(10), 2**16, 2**31 - 1, 2**31, 2**32 - 1])


def one_of(choices: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Do what ``sampled_from`` does, which looks at all choices each time."""
    return st.integers(0, len(choices) - 1).map(choices.__getitem__)


def same_every_time(examples: int) -> settings:
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


# Drawn as a whole: ten thousand messages of ten drawn fields each take minutes to make.
STAMPS = list(
    product((0, 1, -1, -(2**31), 2**31 - 1, 1_700_000_000), (0, 1, 10**9 - 1, 10**9, 2**32 - 1))
)
FORMS = list(product(CHANNELS, range(1, 10), range(1, 10), (0, 0, 1, 5), (0, 1, 255)))
WRONG = [''.join(fields) for count in range(4) for fields in combinations('ehwsd', count)]


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Make an image message of which up to three fields are wrong."""
    encoding, height, width, padding, is_bigendian = draw(one_of(FORMS))
    step = width * CHANNELS[encoding] + padding
    length = height * step
    for wrong in draw(one_of(WRONG)):
        if wrong == 'e':
            encoding = draw(ENCODINGS)
        elif wrong == 'h':
            height = draw(SIDES)
        elif wrong == 'w':
            width = draw(SIDES)
        elif wrong == 's':
            step = draw(SIDES)
        else:
            length = draw(st.sampled_from([0, 1, max(0, length - 1), length + 1, 2 * length]))
    return Image(
        header=header(*draw(one_of(STAMPS))),
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        is_bigendian=is_bigendian,
        data=array('B', bytes(37 * (i + height + width) % 256 for i in range(length))),
    )


def header(sec: int, nanosec: int) -> Header:
    made = Header()
    made.stamp.sec, made.stamp.nanosec = sec, nanosec
    return made


PICTURES = [
    encode_image(picture(seed, 6 + seed, 20 - seed), suffix)
    for seed in range(3)
    for suffix in ('.jpg', '.png')
]


@st.composite
def compressed_images(draw: st.DrawFn) -> CompressedImage:
    """Make a compressed image message, intact or not."""
    content = bytearray(draw(st.sampled_from(PICTURES)))
    damage = draw(st.sampled_from(['', 'cut', 'bytes', 'random', 'head', 'tail', 'twice']))
    if damage == 'cut':
        del content[draw(st.integers(0, len(content) - 1)) :]
    elif damage == 'bytes':
        for _ in range(draw(st.integers(1, 4))):
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    elif damage == 'random':
        content = bytearray(draw(st.binary(max_size=64)))
    elif damage == 'head':
        content = content[:4] + draw(st.binary(max_size=64))
    elif damage == 'tail':
        content += draw(st.binary(max_size=8))
    elif damage == 'twice':
        content *= 2
    return CompressedImage(
        header=header(*draw(one_of(STAMPS))),
        format=draw(st.sampled_from(['jpeg', 'png', '', 'bgr8; jpeg compressed bgr8', 'é; x'])),
        data=array('B', content),
    )


def expected_pixels(message: Image | CompressedImage) -> np.ndarray | None:
    """Return what the message shows; None of a bad one, or of one whose damage may look random."""
    try:
        if isinstance(message, Image):
            return to_rgb(message)
        return decode(message) if bytes(message.data) in PICTURES else None
    except ImageError:
        return None


# The decoders alone.


@same_every_time(1500)
@given(images())
def test_an_image_message_is_rgb_or_an_image_error(message):
    try:
        pixels = to_rgb(message)
    except ImageError:
        with pytest.raises(ImageError, match='(?s)expected .*; found '):
            view_rgb(message)
        return
    assert pixels.shape == (message.height, message.width, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(view_rgb(message), pixels)
    if message.encoding in ('rgb8', 'bgr8', '8UC3'):
        rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        own = rows[:, : 3 * message.width].reshape(pixels.shape)
        np.testing.assert_array_equal(
            pixels, own if message.encoding == 'rgb8' else own[..., ::-1]
        )
    if message.encoding == 'mono16':
        order = '>u2' if message.is_bigendian else '<u2'
        packed = b''.join(
            bytes(message.data[i * message.step : i * message.step + 2 * message.width])
            for i in range(message.height)
        )
        values = np.frombuffer(packed, order).reshape(pixels.shape[:2])
        np.testing.assert_array_equal(to_array(message), values)


@same_every_time(1500)
@given(compressed_images())
def test_a_compressed_image_message_is_rgb_or_an_image_error(message):
    try:
        pixels = decode(message)
    except ImageError:
        assert bytes(message.data) not in PICTURES
        return
    assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8 and pixels.size
    if bytes(message.data) in PICTURES:
        own = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(pixels, own[..., ::-1])


# The node.


@dataclass
class Crowd:
    """Cameras that send what they like, and a good one, on one node."""

    node: NodeProcess
    peer: Peer
    predict: Any
    diagnostics: Diagnostics
    kind: type
    sent: int = 0
    pixels: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        suffix = '/compressed' if self.kind is CompressedImage else ''
        self._odd = [
            self.peer.publisher(self.kind, f'/{name}/image_raw{suffix}') for name in self.names
        ]
        self.masks = [self.peer.listen(Image, f'/{name}/segmentation/mask') for name in self.names]
        self._good = self.peer.publisher(self.kind, f'/good/image_raw{suffix}')
        self._good_masks = self.peer.listen(Image, '/good/segmentation/mask')
        self._image = picture(1, 12, 16)
        self._expected = self.predict(self._image).labels

    @property
    def names(self) -> list[str]:
        return [f'odd{i}' for i in range(CAMERAS)]

    def send(self, messages: list) -> None:
        """Send odd messages, of each camera one, then a good one, and check its answer."""
        for publisher, message in zip(self._odd, messages):
            if not isinstance(message, bytes):
                message.header.frame_id = f'odd {self.sent}'  # by which its mask is known
                if (pixels := expected_pixels(message)) is not None:
                    self.pixels[message.header.frame_id] = pixels
            publisher.publish(message)
            self.sent += 1
        self.answered()

    def answered(self) -> None:
        """Check the mask of a good image."""
        good = stamped(self._image)
        if self.kind is CompressedImage:
            png = array('B', encode_image(self._image, '.png'))
            good = CompressedImage(header=good.header, format='png', data=png)
        self._good.publish(good)
        mask = find(self._good_masks, stamp_of(good))
        np.testing.assert_array_equal(to_array(mask), self._expected)
        self._good_masks.clear()

    def check(self) -> dict[str, int]:
        """Check every mask, and that every message was counted; return the counts of the odd."""
        total = self.diagnostics.counts(*self.names)
        assert wait_until(lambda: sum(map(len, self.masks)) == total['processed'])
        for masks in self.masks:
            for mask in masks:
                pixels = self.pixels.get(mask.header.frame_id)
                if pixels is None:  # damaged, and yet an image
                    assert self.kind is CompressedImage
                    continue
                np.testing.assert_array_equal(to_array(mask), self.predict(pixels).labels)
        answered = {mask.header.frame_id for masks in self.masks for mask in masks}
        assert len(answered) == total['processed']
        assert (
            len(self.pixels.keys() - answered) <= total['replaced'] + self.sent - total['received']
        )
        assert self.node.running
        assert 'Traceback' not in self.node.log
        good = self.diagnostics.counts('good')
        assert good['received'] == good['processed']
        return total


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp('model') / 'small.safetensors', 1)


@pytest.fixture
def crowd(request, checkpoint) -> Iterator[Crowd]:
    names = ', '.join([*(f'odd{i}' for i in range(CAMERAS)), 'good'])
    transport = 'raw' if request.param is Image else 'compressed'
    with NodeProcess(cameras=f'[{names}]', model=checkpoint, transport=transport, **SMALL) as node:
        node.wait_for_log('subscribing to /good/')
        peer = Peer()
        try:
            predict = Segmenter(checkpoint, **SMALL).predict
            yield Crowd(node, peer, predict, Diagnostics(peer), request.param)
        finally:
            peer.close()


@pytest.mark.parametrize('crowd', [Image], indirect=True)
def test_odd_images_are_counted_and_good_ones_answered(crowd):
    @same_every_time(-(-RAW // CAMERAS))
    @given(st.lists(images(), min_size=CAMERAS, max_size=CAMERAS))
    def send(messages):
        crowd.send(messages)

    send()
    check_counts(crowd, RAW)


@pytest.mark.parametrize('crowd', [CompressedImage], indirect=True)
def test_odd_compressed_images_are_counted_and_good_ones_answered(crowd):
    @same_every_time(-(-COMPRESSED // CAMERAS))
    @given(st.lists(compressed_images(), min_size=CAMERAS, max_size=CAMERAS))
    def send(messages):
        crowd.send(messages)

    send()
    check_counts(crowd, COMPRESSED)


def check_counts(crowd: Crowd, messages: int) -> None:
    counts = crowd.check()
    assert crowd.sent >= messages
    # Hardly any is overtaken by the next on its way.
    assert 0.95 * crowd.sent <= counts['received'] <= crowd.sent
    assert counts['replaced'] < 0.05 * crowd.sent
    assert min(counts['failed'], counts['processed']) > 0.1 * crowd.sent
    assert counts['too_old'] == 0
    for name in crowd.names:
        assert f'camera {name}: image dropped' in crowd.node.log


@pytest.mark.parametrize('crowd', [Image], indirect=True)
def test_bytes_that_are_no_image_message_stop_nothing(crowd):
    """As of a publisher whose message is of another release, or not UTF-8."""
    whole = serialize_message(stamped(picture(2, 3, 4)))
    lengths = st.integers(4, len(whole) - 1)

    def spoilt(places: list[tuple[int, int]]) -> bytes:
        content = bytearray(whole)
        for place, value in places:
            content[place] = value
        return bytes(content)

    messages = st.one_of(
        lengths.map(lambda length: whole[:length]),
        st.binary(min_size=1, max_size=200).map(lambda tail: whole[:4] + tail),
        st.binary(min_size=4, max_size=4).map(lambda name: whole.replace(b'bgr8', name)),
        st.lists(st.tuples(lengths, st.integers(0, 255)), min_size=1, max_size=4).map(spoilt),
    )

    @same_every_time(60)
    @given(st.lists(messages, min_size=CAMERAS, max_size=CAMERAS))
    def send(contents):
        crowd.send(contents)

    send()
    crowd.send([stamped(picture(i, 7, 9)) for i in range(CAMERAS)])
    for name, masks in zip(crowd.names, crowd.masks):
        assert wait_until(lambda m=masks: m and m[-1].header.frame_id.startswith('odd')), name
        last = masks[-1]
        expected = crowd.predict(crowd.pixels[last.header.frame_id]).labels
        np.testing.assert_array_equal(to_array(last), expected)
    assert crowd.node.running
    crowd.diagnostics.counts(*crowd.names, 'good')
