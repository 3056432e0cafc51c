# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames on their way from the thread that receives them to the one that segments them."""

from __future__ import annotations

from threading import Condition
from typing import Generic, TypeVar

Frame = TypeVar('Frame')


class FrameQueue(Generic[Frame]):
    """
    Holds the newest frame of each camera, and no other.

    A frame that nobody took in time is worth nothing once the next one is there; so memory is
    bounded by the number of cameras, and no camera can crowd out another.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Frame] = {}
        self._turns: dict[str, int] = {}
        self._closed = False
        self._changed = Condition()

    def put(self, camera: str, frame: Frame) -> bool:
        """
        Offer a frame, which replaces one of the same camera that still waits. Never blocks.

        :returns: whether a frame was lost by that: the one before, or, once closed, this one.
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
        Wait for frames and take those that wait: at most one, the newest, of each camera.

        :param together: else only one: that of the camera whose last turn is longest ago. Where
            all send at the same moments, the first to send would else take every second turn.
        :returns: a frame by camera, the camera that waited longest first; None once closed.
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
        Refuse what comes, and release whoever is in :meth:`take`.

        :returns: the cameras whose frame waited, and is lost.
        """
        with self._changed:
            self._closed = True
            lost = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
            return lost
