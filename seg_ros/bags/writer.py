# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writing recordings of image topics without ROS."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
import tempfile
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

from ..images.files import unwritable
from ..images.image_file import Image
from .bag import Bag, LABEL_IDS
from .types import BagError, COMPRESSED, IMAGE, Message

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


class BagWriter:
    """
    Writes a rosbag2 with mcap storage, reliable topics and the message definitions of Jazzy.

    A context manager: the bag appears under its name, complete, when the block ends, and not at
    all if the block raises.

    :param path: the bag's folder.
    :param overwrite: whether to replace a bag at this path.
    :raises BagError: something is at `path`, and it is not a bag or `overwrite` is false.
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
        with ExitStack() as stack:
            unfinished = tempfile.TemporaryDirectory(
                prefix=f'.{self.path.name}.',
                dir=self.path.parent,
                ignore_cleanup_errors=True,  # which would hide why the writing failed
            )
            self._folder = Path(stack.enter_context(unfinished))
            # Version 8 is the newest that both older and newer distributions read. The storage
            # file is named after the folder, so the unfinished bag already has its final name.
            self._writer = Writer(
                self._folder / self.path.name, version=8, storage_plugin=StoragePlugin.MCAP
            )
            self._writer.open()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack, unwritable(self.path):
            self._writer.__exit__(kind, error, trace)
            if kind is None:
                self._take_its_name()

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

    def note_label_ids(self, name: str) -> None:
        """Note in the metadata which ids the labels hold, named as in ``replay --label-ids``."""
        self._writer.set_custom_data(LABEL_IDS, name)

    def write_image(
        self,
        topic: str,
        image: Image,
        stamp_ns: int,
        frame_id: str,
        encoding: str,
        time_ns: int | None = None,
    ) -> None:
        """
        Write a sensor_msgs/msg/Image.

        :param image: uint8 (H, W) or (H, W, C), with the channel order of `encoding`.
        :param stamp_ns: the header stamp in nanoseconds.
        :param encoding: rgb8, bgr8, rgba8, bgra8 or mono8.
        :param time_ns: the recording time in nanoseconds; the stamp, if left out.
        :raises BagError: the image's shape or type does not fit the encoding.
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
        self._write(topic, IMAGE, stamp_ns if time_ns is None else time_ns, message)

    def write_compressed_image(
        self,
        topic: str,
        content: bytes,
        format: str,  # noqa: A002
        stamp_ns: int,
        frame_id: str,
        time_ns: int | None = None,
    ) -> None:
        """
        Write a sensor_msgs/msg/CompressedImage.

        :param content: the compressed image, such as a JPEG's or PNG's bytes.
        :param format: the compression, such as ``jpeg`` or ``png``.
        :param stamp_ns: the header stamp in nanoseconds.
        :param time_ns: the recording time in nanoseconds; the stamp, if left out.
        """
        message = self._types.types[COMPRESSED](
            header=self._header(stamp_ns, frame_id),
            format=format,
            data=np.frombuffer(content, np.uint8),
        )
        self._write(topic, COMPRESSED, stamp_ns if time_ns is None else time_ns, message)

    def copy(self, bag: Bag, message: Message) -> bool:
        """
        Write a bag's message unchanged, with the definition of its type and its QoS.

        :returns: whether it was written; it is not if the type's definition is unknown.
        """
        topic = message.topic
        if topic not in self._connections:
            known = bag.types.describe(topic)
            if known is None:
                return False
            self._connections[topic] = self._writer.add_connection(
                topic,
                message.kind,
                msgdef=known.definition,
                rihs01=known.digest,
                serialization_format=known.encoding,
                offered_qos_profiles=known.qos or [_RELIABLE],
            )
        self._store(topic, message.time, bag.types.to_cdr(message))
        return True

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

        :param camera_matrix: the intrinsic matrix, 3x3, in pixels.
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

    def _write(self, topic: str, kind: str, time_ns: int, message: object) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._types, offered_qos_profiles=[_RELIABLE]
            )
        self._store(topic, time_ns, self._types.serialize_cdr(message, kind))

    def _store(self, topic: str, time_ns: int, content: bytes | memoryview) -> None:
        with unwritable(self.path):
            self._writer.write(self._connections[topic], time_ns, content)
