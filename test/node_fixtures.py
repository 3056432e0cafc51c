# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of the node share: a small network, the node as a process, a peer on the graph."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
from threading import Thread
from time import monotonic, sleep, time

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
import rclpy
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from std_msgs.msg import Header
import torch
from torch.nn.functional import interpolate

from seg_ros.inference.checkpoint import Checkpoint, save_checkpoint
from seg_ros.inference.labels import CAMVID
from seg_ros.models import build_model

INPUT_SIZE = 96, 128
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
COUNTS = ('received', 'processed', 'replaced', 'too_old', 'failed')
_stamps = count(1)


def make_checkpoint(path: Path, seed: int) -> Path:
    """Write an untrained network, normalised so that it sees many classes in a picture."""
    torch.manual_seed(seed)
    spec = {'name': 'bisenetv2', 'num_classes': len(CAMVID), 'head_width': 64}
    network = build_model(spec).train()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0  # so that one pass is enough
    with torch.no_grad():
        network(interpolate(torch.randn(2, 3, 6, 8), INPUT_SIZE))
    save_checkpoint(path, Checkpoint(network.eval(), spec, CAMVID, INPUT_SIZE))
    return path


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Make RGB blobs of many colours."""
    blobs = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC)


def stamped(rgb: np.ndarray, stamp: tuple[int, int] | None = None) -> Image:
    """Return an image message, bgr8, of a stamp that no other has."""
    height, width = rgb.shape[:2]
    header = Header(frame_id='optical')
    header.stamp.sec, header.stamp.nanosec = stamp or (1_600_000_000 + next(_stamps), 7)
    return Image(
        header=header,
        height=height,
        width=width,
        encoding='bgr8',
        step=3 * width,
        data=array('B', rgb[..., ::-1].tobytes()),
    )


def wait_until(done: Callable[[], object], timeout: float = 20.0) -> bool:
    """Ask until the answer is yes, or the time is over; return whether it was yes."""
    end = monotonic() + timeout
    while not done():
        if monotonic() > end:
            return False
        sleep(0.01)
    return True


class NodeProcess:
    """
    The node in a process of its own; a context manager that ends it if a test left it.

    :param parameters: by name, as YAML.
    :param options: further arguments after ``--ros-args``.
    :param program: Python's arguments: what runs the node.
    :param environment: variables that differ from this process's.
    """

    def __init__(
        self,
        *options: str,
        program: Sequence[object] = ('-m', 'seg_ros.nodes.segmentation_node'),
        environment: Mapping[str, str] | None = None,
        **parameters: object,
    ) -> None:
        settings = [f'{name.replace("__", ".")}:={value}' for name, value in parameters.items()]
        arguments = [part for setting in settings for part in ('-p', setting)]
        self.log = ''
        self._segments_before = set(Path('/dev/shm').glob('fast*'))
        self._process = subprocess.Popen(
            [
                *(sys.executable, *map(str, program), '--ros-args'),
                *options,
                *arguments,  # what comes last wins
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.log += line

    def wait_for_log(self, pattern: str, timeout: float = 40.0) -> None:
        """Wait for a pattern anywhere in the log so far."""
        wait_until(lambda: re.search(pattern, self.log) or not self.running, timeout)
        assert re.search(pattern, self.log), f'{pattern!r} is not in:\n{self.log}'

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = 30.0) -> int:
        """Return the exit code."""
        code = self._process.wait(timeout)
        self._reader.join(5)
        return code

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def resources(self) -> dict[str, int]:
        """Return its threads, its open files, and its own memory in kB, no sender's."""
        proc = Path(f'/proc/{self.pid}')
        status = dict(line.split(':', 1) for line in (proc / 'status').read_text().splitlines())
        return {
            'threads': int(status['Threads']),
            'files': len(list((proc / 'fd').iterdir())),
            'memory': int(status['RssAnon'].split()[0]),
        }

    def shared_memory(self) -> set[Path]:
        """Return its own segments of Fast DDS, as long as no later process has joined it."""
        maps = Path(f'/proc/{self.pid}/maps').read_text().splitlines()
        found = {Path(line.split()[5]) for line in maps if '/dev/shm/fast' in line}
        return {path for path in found - self._segments_before if '_port' not in path.name}

    def __enter__(self) -> 'NodeProcess':
        return self

    def __exit__(self, *error: object) -> None:
        if error[0]:
            print(self.log)  # which pytest shows
        # Killed at once it would leave its shared memory behind, which later participants stumble
        # over.
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Peer:
    """The test's own node: publishes images, listens, and sets parameters."""

    def __init__(self) -> None:
        self._subscriptions: list[tuple[list, Subscription]] = []
        self._clients: dict[str, Client] = {}
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node('peer', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while self._context.ok():
            # A test destroys what the executor may be about to wait for.
            with suppress(ExternalShutdownException, rclpy_implementation.InvalidHandle):
                self._executor.spin()

    def close(self) -> None:
        rclpy.try_shutdown(context=self._context)
        self._thread.join()

    def publisher(self, kind: type, topic: str, qos: QoSProfile | int = 10):
        """Return a publisher that has a subscriber already."""
        publisher = self.node.create_publisher(kind, topic, qos)
        assert wait_until(publisher.get_subscription_count), f'nobody subscribes to {topic}'
        return publisher

    def listen(self, kind: type, topic: str, qos: QoSProfile | int = 10) -> list:
        """Return a list to which every message is appended; there is a publisher already."""
        messages: list = []
        subscription = self.node.create_subscription(kind, topic, messages.append, qos)
        self._subscriptions.append((messages, subscription))
        assert wait_until(lambda: self.node.count_publishers(topic)), f'nobody offers {topic}'
        sleep(0.2)  # until the publisher knows, too
        return messages

    def forget(self, messages: list) -> None:
        """End what :meth:`listen` began."""
        for heard, subscription in self._subscriptions:
            if heard is messages:
                self.node.destroy_subscription(subscription)

    def call(self, kind: type, service: str, request, timeout: float = 40.0):
        """Call a service of a node and return its response."""
        client = self._client(kind, service)
        self._meet(service.rpartition('/')[0], timeout)
        future = client.call_async(request)
        assert wait_until(future.done, timeout), f'no answer from {service}'
        return future.result()

    def _meet(self, node: str, timeout: float) -> None:
        """Wait until a node has found us: to whom it does not know yet its answers never come."""
        client = self._client(GetParameters, f'{node}/get_parameters')
        end = monotonic() + timeout
        while not wait_until(client.call_async(GetParameters.Request()).done, 3):
            assert monotonic() < end, f'no answer from {node}'

    def _client(self, kind: type, service: str):
        """Return a client that has its service: one for all calls, as nodes remember each."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        client = self._clients[service]
        assert client.wait_for_service(20), f'nobody serves {service}'
        return client

    def set_parameters(self, node: str, **values: object):
        """Set parameters in one atomic call; return the result."""
        parameters: list[ParameterMessage] = [
            Parameter(name.replace('__', '.'), value=value).to_parameter_msg()
            for name, value in values.items()
        ]
        request = SetParametersAtomically.Request(parameters=parameters)
        service = f'{node}/set_parameters_atomically'
        return self.call(SetParametersAtomically, service, request).result


class Diagnostics:
    """
    What a node says on /diagnostics.

    :param watched: the node's name, without a slash.
    """

    def __init__(self, peer: Peer, watched: str = 'segmentation_node') -> None:
        self._prefix = f'{watched}: '
        self._heard: list[DiagnosticArray] = peer.listen(DiagnosticArray, '/diagnostics')

    def statuses(self, name: str) -> list[DiagnosticStatus]:
        """Return all so far of one name, such as ``network`` or ``camera front``."""
        wanted = self._prefix + name
        return [s for each in self._heard[:] for s in each.status if s.name.endswith(wanted)]

    def after(self, name: str) -> DiagnosticStatus:
        """Return the first status of a name that was made from now on, waiting for it."""
        now, before = time(), len(self._heard)
        wanted = self._prefix + name

        def fresh() -> bool:
            made = [
                each.header.stamp.sec + each.header.stamp.nanosec / 1e9
                for each in self._heard[before:]
                if any(status.name.endswith(wanted) for status in each.status)
            ]
            # With simulated time the stamp says nothing: the second that comes was made after.
            return len(made) > 1 or any(moment > now for moment in made)

        assert wait_until(fresh), f'no diagnostics of {name}'
        return self.statuses(name)[-1]

    def wait_for(self, name: str, level: bytes, pattern: str = '', timeout: float = 30.0) -> str:
        """Wait until the latest is of this level, its message as the pattern; return that."""

        def fits() -> bool:
            latest = self.statuses(name)[-1:]
            return any(s.level == level and re.search(pattern, s.message) for s in latest)

        assert wait_until(fits, timeout), (
            f'{name}: expected level {level!r}, {pattern!r}; found '
            f'{[(s.level, s.message) for s in self.statuses(name)[-3:]]}'
        )
        return self.statuses(name)[-1].message

    def value(self, name: str, key: str) -> str:
        """Return a value of the latest status."""
        return {v.key: v.value for v in self.statuses(name)[-1].values}[key]

    def counts(self, *cameras: str) -> dict[str, int]:
        """
        Return the counts of cameras, together, when nothing is under way.

        Every image that was received was then answered, replaced, too old or failed.
        """

        def now() -> dict[str, int]:
            self.after(f'camera {cameras[0]}')
            found = dict.fromkeys(COUNTS, 0)
            for camera in cameras:
                values = {v.key: v.value for v in self.statuses(f'camera {camera}')[-1].values}
                for name in COUNTS:
                    found[name] += int(values[name.replace('_', ' ')])
            return found

        for _ in range(20):
            counts = now()
            if counts['received'] == sum(counts[name] for name in COUNTS[1:]):
                return counts
        raise AssertionError(f'not all that was received was counted: {counts}')


def stamp_of(message) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


def find(messages: list, stamp: tuple[int, int], timeout: float = 20.0):
    """Return the one message of this stamp, waiting for it."""
    assert wait_until(lambda: any(stamp_of(m) == stamp for m in messages), timeout), (
        f'no answer for {stamp}; got {[stamp_of(m) for m in messages]}'
    )
    (message,) = [m for m in messages if stamp_of(m) == stamp]
    return message
