# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A node that can be hurt: the real one in its process, its cameras, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
import json
from pathlib import Path
from threading import Timer
from time import sleep
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_fixtures import (
    Diagnostics,
    find,
    NodeProcess,
    OK,
    Peer,
    picture,
    stamp_of,
    stamped,
    wait_until,
)
import numpy as np
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from seg_ros.inference.encodings import to_array
from seg_ros.inference.files import write_atomically
from seg_ros.inference.segmenter import Segmenter

FAULTY = Path(__file__).parent / 'faulty_node.py'
SMALL = {'input_height': 32, 'input_width': 32, 'backend': 'torch', 'precision': 'fp32'}
"""A network that keeps nobody waiting."""

LENIENT = {
    'diagnostics__stale_ms': 600_000,
    'diagnostics__frozen_ms': 600_000,
    'diagnostics__min_brightness': 0.0,
    'diagnostics__max_saturated': 1.0,
    'diagnostics__max_low_confidence': 1.0,
    'diagnostics__max_low_confidence_rise': 1.0,
}
"""What the pictures are like is no fault here."""

NO_FAULT = {'kind': '', 'times': 0, 'device': '', 'bright': False, 'build': False}
LOAD_PERIOD = 0.01


class TestCamera:
    """A camera of the test's: it sends images, and knows their masks."""

    __test__ = False

    def __init__(self, rig: Rig, name: str) -> None:
        self.name = name
        self._rig = rig
        self.topic = f'/{name}/image_raw'
        self.publisher = rig.peer.publisher(Image, self.topic)
        self.masks = rig.peer.listen(Image, f'/{name}/segmentation/mask')

    def send(self, image: np.ndarray, stamp: tuple[int, int] | None = None) -> Image:
        """Publish an image; return its message."""
        message = stamped(image, stamp)
        self.publisher.publish(message)
        return message

    def ask(self, image: np.ndarray, segmenter: Segmenter | None = None) -> Image:
        """Publish an image, and check its mask, which is returned."""
        return self.check(self.send(image), image, segmenter)

    def check(
        self, message: Image, image: np.ndarray, segmenter: Segmenter | None = None
    ) -> Image:
        """Check the mask of an image that was sent; return it."""
        mask = find(self.masks, stamp_of(message))
        expected = (segmenter or self._rig.segmenter).predict(image).labels
        np.testing.assert_array_equal(to_array(mask), expected)
        assert mask.header == message.header
        return mask

    def answered(self, message: Image) -> bool:
        return any(stamp_of(mask) == stamp_of(message) for mask in self.masks)

    def counts(self) -> dict[str, int]:
        return self._rig.diagnostics.counts(self.name)

    def count(self, what: str) -> int:
        """Return a count as it was last published."""
        return int(self._rig.diagnostics.value(f'camera {self.name}', what.replace('_', ' ')))

    def fail(self, image: np.ndarray) -> Image:
        """Publish an image, and wait until the engine has failed on it."""
        said = self._rig.said()
        message = self.send(image)
        said.wait_for('fault: ')
        return message

    def lose(self, image: np.ndarray) -> Image:
        """Publish an image, and wait until it has been counted as failed."""
        before = self.counts()['failed']
        message = self.send(image)
        assert wait_until(lambda: self.count('failed') > before), 'it did not fail'
        assert not self.answered(message)
        return message


class Rig:
    """
    A node with two cameras, front and rear; a context manager.

    :param folder: for the control file.
    :param model: a checkpoint.
    :param name: the node's; nodes at the same time want different ones, and other cameras.
    :param parameters: of the node.
    """

    def __init__(
        self,
        folder: Path,
        model: Path,
        cameras: Sequence[str] = ('front', 'rear'),
        environment: dict[str, str] | None = None,
        name: str = 'segmentation_node',
        **parameters: object,
    ) -> None:
        self._control = folder / 'fault.json'
        self._edition = 0
        self.model = model
        self.parameters = {'model': str(model), **SMALL, **LENIENT, **parameters}
        self.segmenter = Segmenter(model, **SMALL)
        self.break_it()
        self._name = name
        self.node = NodeProcess(
            *('-r', f'__node:={name}'),
            program=[FAULTY, self._control],
            environment=environment,
            cameras=f'[{", ".join(cameras)}]',
            **self.parameters,
        )
        self._names = cameras

    def __enter__(self) -> Rig:
        with ExitStack() as stack:
            stack.enter_context(self.node)
            stack.callback(self.break_it)  # else one that hangs would not end
            self.node.wait_for_log(f'subscribing to /{self._names[-1]}/image_raw')
            self.segments = self.node.shared_memory()
            self.peer = Peer()
            stack.callback(self.peer.close)
            self.diagnostics = Diagnostics(self.peer, self._name)
            self.cameras = {name: TestCamera(self, name) for name in self._names}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)

    def break_it(self, kind: str = '', **fault: Any) -> None:
        """Let the engine have a fault, see faulty_node.py; by default none."""
        self._edition += 1  # the same fault again is another one
        content = {**NO_FAULT, 'kind': kind, **fault, 'edition': self._edition}
        write_atomically(self._control, json.dumps(content).encode())

    def mend_after(self, seconds: float) -> None:
        """Take the fault away in a moment."""
        Timer(seconds, self.break_it).start()

    def set(self, **values: object) -> str:
        """Set parameters; return why not, empty if they are."""
        result = self.peer.set_parameters(f'/{self._name}', **values)
        return '' if result.successful else result.reason

    def enable(self, enabled: bool) -> None:
        request = SetBool.Request(data=enabled)
        response = self.peer.call(SetBool, f'/{self._name}/enable', request)
        assert response.success, response.message

    def reload(self) -> Trigger.Response:
        return self.peer.call(Trigger, f'/{self._name}/reload', Trigger.Request())

    def change(self, transition: str) -> bool:
        """Ask for a lifecycle transition, such as activate; return whether it worked."""
        number = getattr(Transition, f'TRANSITION_{transition.upper()}')
        request = ChangeState.Request(transition=Transition(id=number))
        service = f'/{self._name}/change_state'
        return self.peer.call(ChangeState, service, request).success

    def restore(self) -> None:
        """Take the faults away, put the network back, and see that all is well."""
        self.break_it()
        why = self.set(model=str(self.model), device='cpu', **SMALL)
        assert not why, why
        response = self.reload()  # which also ends a recovery
        assert response.success, response.message
        for camera in self.cameras.values():
            camera.ask(picture(1, 40, 60))
        self.diagnostics.wait_for('network', OK)
        assert self.node.running

    def in_use(self) -> Segmenter:
        """Return a segmenter like the one that answers, as /diagnostics tells."""
        self.diagnostics.after('network')
        engine = {key: self.diagnostics.value('network', key) for key in ('backend', 'precision')}
        return Segmenter(self.model, **{**SMALL, **engine})

    def said(self) -> Said:
        return Said(self.node)


class Said:
    """What the log says from now on."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._start = len(node.log)

    def __str__(self) -> str:
        return self._node.log[self._start :]

    def __contains__(self, text: str) -> bool:
        return text in str(self)

    def count(self, text: str) -> int:
        return str(self).count(text)

    def wait_for(self, text: str, times: int = 1, timeout: float = 30.0) -> None:
        """Wait until a text was said so many times."""
        assert wait_until(lambda: self.count(text) >= times, timeout), f'{text!r} not in:\n{self}'


def keep_sending(camera: TestCamera, image: np.ndarray, done, timeout: float = 40.0) -> None:
    """Publish images, each of another stamp, until something has happened."""

    def step() -> bool:
        camera.send(image)
        sleep(LOAD_PERIOD)
        return done()

    assert wait_until(step, timeout), 'it did not happen under load'
