# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of image topics, read and written without ROS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
import shutil
import tempfile
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import ReaderError, StoragePlugin, Writer
from rosbags.serde import SerdeError
from rosbags.typesys import get_typestore, Stores, TypesysError

from ..inference.encodings import ImageError, to_array, to_rgb
from ..inference.image_file import decode_image, Image

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
LABELS = 'labels'
"""Last part of the name of a topic that holds class ids rather than what a camera saw."""

_CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}
_FOREVER = QosTime(9223372036, 854775807)
_RELIABLE = Qos(
    QosHistory.KEEP_LAST,
    10,
    QosReliability.RELIABLE,
    QosDurability.VOLATILE,
    _FOREVER,
    _FOREVER,
    QosLiveliness.AUTOMATIC,
    _FOREVER,
    False,
)


class BagError(ValueError):
    """A bag that cannot be read or written; the message says what was expected and found."""


class BagWriter:
    """
    Writes a rosbag2 with mcap storage, reliable topics and the message definitions of Jazzy.

    A context manager: the bag appears under its name when the block ends, whole, and not at all
    when the block raises.

    :param path: the bag's folder.
    :param overwrite: replace a bag that is there.
    :raises BagError: something is at `path`, and it is no bag or `overwrite` is false.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists() or self.path.is_symlink():
            if not overwrite:
                raise BagError(
                    f'{self.path}: expected a name not in use; found it taken. Choose another, '
                    'or ask to overwrite'
                )
            if self.path.is_symlink() or not (self.path / 'metadata.yaml').is_file():
                raise BagError(
                    f'{self.path}: expected a rosbag2 folder to overwrite; found something else. '
                    'Choose another name'
                )
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f'.{self.path.name}.'
        self._folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self.path.parent))
        # Version 8 is the newest that both older and newer distributions read. The storage file
        # is named after the folder, which is why the unfinished bag already has its final name.
        self._writer = Writer(
            self._folder / self.path.name, version=8, storage_plugin=StoragePlugin.MCAP
        )
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._writer.__exit__(kind, error, trace)
            if kind is None:
                self._take_its_name()
        finally:
            with suppress(OSError):  # a leftover must not hide why the writing failed
                shutil.rmtree(self._folder)

    def _take_its_name(self) -> None:
        replaced = self._folder / 'replaced'
        if self.path.exists():
            self.path.rename(replaced)
        try:
            (self._folder / self.path.name).rename(self.path)
        except OSError:
            if replaced.exists():
                replaced.rename(self.path)
            raise

    def write_image(
        self, topic: str, image: Image, stamp_ns: int, frame_id: str, encoding: str
    ) -> None:
        """
        Write a sensor_msgs/msg/Image.

        :param image: uint8 (H, W) or (H, W, C), its channels as `encoding` orders them.
        :param encoding: rgb8, bgr8, rgba8, bgra8 or mono8.
        :raises BagError: the image is not one of that encoding.
        """
        channels = image.shape[2] if image.ndim == 3 else 1
        if (
            image.dtype != np.uint8
            or image.ndim not in (2, 3)
            or _CHANNELS.get(encoding) != channels
        ):
            raise BagError(
                f'{topic}: expected 8-bit pixels of an encoding of {", ".join(_CHANNELS)}; found '
                f'shape {image.shape} of {image.dtype} for {encoding}'
            )
        height, width = image.shape[:2]
        message = self._types.types[IMAGE](
            header=self._header(stamp_ns, frame_id),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=width * channels,
            data=np.ascontiguousarray(image).reshape(-1),
        )
        self._write(topic, IMAGE, stamp_ns, message)

    def write_camera_info(
        self,
        topic: str,
        camera_matrix: NDArray[np.float64],
        size: tuple[int, int],
        stamp_ns: int,
        frame_id: str,
    ) -> None:
        """
        Write the sensor_msgs/msg/CameraInfo of a camera without distortion.

        :param camera_matrix: 3x3, in pixels.
        :param size: width and height in pixels.
        """
        kind = 'sensor_msgs/msg/CameraInfo'
        matrix = np.asarray(camera_matrix, np.float64)
        message = self._types.types[kind](
            header=self._header(stamp_ns, frame_id),
            height=size[1],
            width=size[0],
            distortion_model='plumb_bob',
            d=np.zeros(5),
            k=matrix.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack([matrix, np.zeros((3, 1))]).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=self._types.types['sensor_msgs/msg/RegionOfInterest'](
                x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
            ),
        )
        self._write(topic, kind, stamp_ns, message)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        stamp = self._types.types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds)
        return self._types.types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)

    def _write(self, topic: str, kind: str, stamp_ns: int, message: object) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._types, offered_qos_profiles=[_RELIABLE]
            )
        content = self._types.serialize_cdr(message, kind)
        self._writer.write(self._connections[topic], stamp_ns, content)


@contextmanager
def _opened(path: str | Path) -> Iterator[AnyReader]:
    path = Path(path)
    if not path.exists():
        raise BagError(f'{path}: expected a bag; found nothing there. Check the path')
    try:
        store = get_typestore(Stores.ROS2_JAZZY)
        reader = AnyReader([path], default_typestore=store)
        reader.open()
    # A file that is no bag, or a damaged one, fails wherever its bytes first make no sense.
    except Exception as error:
        raise BagError(
            f'{path}: expected a rosbag2 folder or file (mcap, sqlite3) or a ROS 1 bag; found '
            f'none that can be read: {error}'
        ) from error
    try:
        yield reader
    except (AnyReaderError, ReaderError, SerdeError, TypesysError) as error:
        raise BagError(f'{path}: expected messages that can be read; found {error}') from error
    finally:
        reader.close()


def topics(path: str | Path) -> dict[str, str]:
    """
    Return a bag's topics and their types, such as ``sensor_msgs/msg/Image``.

    :raises BagError: it cannot be read.
    """
    with _opened(path) as reader:
        return _topics(reader)


def image_topic(path: str | Path, topic: str | None = None) -> str:
    """
    Check that a bag has an image topic of this name; without one, find the only one.

    A topic whose name ends in ``/labels`` is found only by its name.

    :raises BagError: there is none, or several and none was named.
    """
    with _opened(path) as reader:
        return _image_topic(reader, path, topic)


def read_messages(
    path: str | Path, topics: Sequence[str] | None = None
) -> Iterator[tuple[str, str, int, bytes]]:
    """
    Read topic, type, nanoseconds when recorded, and CDR bytes of each message, in their order.

    :param topics: these only.
    :raises BagError: the bag cannot be read, or lacks a topic.
    """
    types = get_typestore(Stores.ROS2_JAZZY)
    with _opened(path) as reader:
        for connection, time, content in _messages(reader, path, topics):
            kind = connection.msgtype
            # ROS 1's headers have a field more than those of ROS 2, which this leaves out.
            cdr = content if reader.is2 else types.ros1_to_cdr(content, kind)
            yield connection.topic, kind, time, bytes(cdr)


def read_images(path: str | Path, topic: str | None = None) -> Iterator[tuple[int, str, Image]]:
    """
    Read the images of a topic, raw or compressed: header stamp in ns, frame, RGB (H, W, 3).

    :param topic: may be left out where there is only one.
    :raises BagError: as :func:`image_topic`; or an image's encoding is not known.
    """
    with _opened(path) as reader:
        topic = _image_topic(reader, path, topic)
        for _, kind, message in _decoded(reader, path, [topic]):
            yield _stamp(message), message.header.frame_id, _to_rgb(message, kind, topic)


def read_stamps(path: str | Path, topic: str | None = None) -> list[int]:
    """Return the header stamps of the images of a topic, in ns. Errors as :func:`image_topic`."""
    with _opened(path) as reader:
        topic = _image_topic(reader, path, topic)
        return [_stamp(message) for _, _, message in _decoded(reader, path, [topic])]


def read_labels(path: str | Path, topic: str) -> Iterator[tuple[int, Image]]:
    """
    Read class ids: header stamp in ns, uint8 (H, W).

    :raises BagError: as :func:`image_topic`; or the images are not of one 8-bit channel.
    """
    with _opened(path) as reader:
        _image_topic(reader, path, topic)
        for _, kind, message in _decoded(reader, path, [topic]):
            yield _stamp(message), _to_labels(message, kind, topic)


def read_labelled_images(path: str | Path) -> Iterator[tuple[Image, Image]]:
    """
    Read the pairs of image and class ids that have the same stamp.

    :raises BagError: there is not one image topic and, beside it, one named ``labels``.
    """
    with _opened(path) as reader:
        images = _image_topic(reader, path, None)
        labels = f'{images.removesuffix("/compressed").rpartition("/")[0]}/{LABELS}'
        _image_topic(reader, path, labels)
        waiting: dict[str, dict[int, Image]] = {images: {}, labels: {}}
        for topic, kind, message in _decoded(reader, path, [images, labels]):
            stamp = _stamp(message)
            convert = _to_rgb if topic == images else _to_labels
            waiting[topic][stamp] = convert(message, kind, topic)
            if all(stamp in of_topic for of_topic in waiting.values()):
                yield waiting[images].pop(stamp), waiting[labels].pop(stamp)


def _topics(reader: AnyReader) -> dict[str, str]:
    return {connection.topic: connection.msgtype for connection in reader.connections}


def _image_topic(reader: AnyReader, path: str | Path, topic: str | None) -> str:
    kinds = _topics(reader)
    images = sorted(name for name, kind in kinds.items() if kind in (IMAGE, COMPRESSED))
    if topic is not None:
        if topic not in images:
            raise BagError(f'{path}: expected the image topic {topic}; found {_listed(images)}')
        return topic
    found = [name for name in images if name.rpartition('/')[2] != LABELS]
    if not found:
        raise BagError(f'{path}: expected an image topic; found {_listed(sorted(kinds))}')
    if len(found) > 1:
        raise BagError(
            f'{path}: expected one image topic, or to be told which; found {_listed(found)}. '
            'Name one of them'
        )
    return found[0]


def _listed(names: Sequence[str]) -> str:
    return ', '.join(names) or 'none'


def _messages(
    reader: AnyReader, path: str | Path, names: Sequence[str] | None
) -> Iterator[tuple[Connection, int, bytes]]:
    chosen = [c for c in reader.connections if names is None or c.topic in names]
    missing = set(names or ()) - {connection.topic for connection in chosen}
    if missing:
        raise BagError(
            f'{path}: expected the topics {_listed(sorted(missing))}; found '
            f'{_listed(sorted(_topics(reader)))}'
        )
    if chosen:
        yield from reader.messages(chosen)


def _decoded(
    reader: AnyReader, path: str | Path, names: Sequence[str]
) -> Iterator[tuple[str, str, Any]]:
    for connection, _, content in _messages(reader, path, names):
        message = reader.deserialize(content, connection.msgtype)
        yield connection.topic, connection.msgtype, message


def _stamp(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _to_rgb(message: Any, kind: str, topic: str) -> Image:
    if kind == COMPRESSED:
        return decode_image(message.data, topic)
    try:
        return to_rgb(message)
    except ImageError as error:
        raise BagError(f'{topic}: {error}') from error


def _to_labels(message: Any, kind: str, topic: str) -> Image:
    if kind == COMPRESSED or message.encoding not in ('mono8', '8UC1'):
        found = 'compressed images' if kind == COMPRESSED else message.encoding
        raise BagError(f'{topic}: expected class ids as mono8; found {found}')
    try:
        return to_array(message)
    except ImageError as error:
        raise BagError(f'{topic}: {error}') from error
