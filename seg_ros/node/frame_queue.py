# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The queue between the thread that receives frames and the one that segments them."""

from __future__ import annotations

from threading import Condition
from typing import Generic, TypeVar

Frame = TypeVar('Frame')


class FrameQueue(Generic[Frame]):
    """
    Holds only the newest frame of each camera.

    A newer frame makes a waiting one worthless. So the number of cameras bounds the memory, and
    no camera can crowd out another.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Frame] = {}
        self._turns: dict[str, int] = {}
        self._closed = False
        self._changed = Condition()

    def put(self, camera: str, frame: Frame) -> bool:
        """
        Offer a frame, which replaces a waiting one of the same camera; never block.

        :returns: whether a frame was lost: the waiting one, or, once closed, this one.
        """
        with self._changed:
            if self._closed:
                return True
            replaced = camera in self._waiting
            self._waiting[camera] = frame
            self._changed.notify()
            return replaced

    def take(self, together: bool = True) -> dict[str, Frame] | None:
        """
        Wait until there are frames, and take them: at most one, the newest, of each camera.

        :param together: whether to take the frames of all cameras; if not, only that of the
            camera whose last turn is longest ago. (By the order of arrival, if all cameras send
            at the same times, the first one to send would get every second turn.)
        :returns: the frames by camera, the camera that waited longest first; None once closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            if together:
                taken, self._waiting = self._waiting, {}
                return taken
            camera = min(self._waiting, key=lambda camera: self._turns.get(camera, 0))
            self._turns[camera] = max(self._turns.values(), default=0) + 1
            return {camera: self._waiting.pop(camera)}

    def forget(self, camera: str) -> bool:
        """Drop a camera's frame; return whether one waited."""
        with self._changed:
            return self._waiting.pop(camera, None) is not None

    def close(self) -> list[str]:
        """
        Refuse frames from now on, and release a thread that waits in :meth:`take`.

        :returns: the cameras whose waiting frame is lost.
        """
        with self._changed:
            self._closed = True
            lost = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
            return lost
