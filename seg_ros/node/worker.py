# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The thread that turns frames into masks; the network releases the GIL while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING

from rclpy.lifecycle import LifecycleNode

from ..images.image_file import Image
from ..images.palette import with_palette
from .camera import Camera, CameraFrame
from .device_errors import ErrorKind, kind_of
from .frame_queue import FrameQueue
from .outputs import paint_for
from .recovery import Recovery
from .settings import brief, explain, NodeSettings

if TYPE_CHECKING:
    from ..inference.deadline import Scheduler


PATIENCE = 10.0
"""The seconds that a frame may take before the network counts as hanging."""

SHORT_PATIENCE = 3.0
"""The same while the process ends, which must not take long."""


class Worker:
    """
    Answers frames with masks until it is stopped.

    :param cameras: the cameras by name.
    :param settings: returns the current settings; called for each frame.
    :param recovery: told which cameras the network answered.
    :param on_failure: called with a network that failed, and its errors by camera.
    """

    def __init__(
        self,
        node: LifecycleNode,
        cameras: Mapping[str, Camera],
        settings: Callable[[], NodeSettings],
        recovery: Recovery,
        on_failure: Callable[[Scheduler, Mapping[str, Exception]], None],
    ) -> None:
        self._context = node.context
        self._clock = node.get_clock()
        self._cameras = dict(cameras)  # a copy, as the thread may outlive the node's cameras
        self._settings = settings
        self._recovery = recovery
        self._on_failure = on_failure
        self._busy_since: float | None = None
        self._abandoned = False
        self._queue: FrameQueue[CameraFrame] = FrameQueue()
        # A daemon thread, as a network that hangs must not keep the process from ending.
        self._thread = Thread(target=self._work, name='segmentation', daemon=True)
        self._thread.start()

    def put(self, name: str, frame: CameraFrame) -> None:
        """Offer a camera's newest frame; called by the executor's thread."""
        if self._queue.put(name, frame):
            self._cameras[name].health.replaced()

    def forget(self, name: str) -> None:
        """Drop a camera's waiting frame."""
        if self._queue.forget(name):
            self._cameras[name].health.replaced()

    def stop(self) -> None:
        """Drop all waiting frames, and wait until the current one is answered."""
        for name in self._queue.close():
            self._cameras[name].health.replaced()
        patience = PATIENCE if self._context.ok() else SHORT_PATIENCE
        self._thread.join(max(0.0, patience - self.busy))
        self._abandoned = True

    @property
    def alive(self) -> bool:
        """Whether the thread still runs; after :meth:`stop`, whether it is stuck in a frame."""
        return self._thread.is_alive()

    @property
    def busy(self) -> float:
        """The seconds since the worker started on the current frames; 0 if there are none."""
        since = self._busy_since
        return 0.0 if since is None else monotonic() - since

    @property
    def hangs(self) -> bool:
        """Whether the current frames take longer than ``PATIENCE``."""
        return self.busy > PATIENCE

    @property
    def _over(self) -> bool:
        """Whether the node was shut down meanwhile, so that errors do not count."""
        return self._abandoned or not self._context.ok()

    def _work(self) -> None:
        # A batch's masks all come out at its end. Without batches the cameras take turns, so that
        # no frame waits for those of the others.
        while (frames := self._queue.take(together=self._batched())) is not None:
            self._busy_since = monotonic()
            try:
                self._answer(frames)
            except Exception as error:
                if self._over:
                    return
                for name in frames:
                    self._cameras[name].drop(brief(error), explain(error))
            self._busy_since = None

    def _batched(self) -> bool:
        scheduler = self._settings().scheduler
        return scheduler is not None and scheduler.points[0].segmenter.batched

    def _answer(self, frames: Mapping[str, CameraFrame]) -> None:
        """Answer the frames, at most one of each camera; count those that cannot be answered."""
        settings = self._settings()
        limit = settings.values['max_age_ms'] / 1e3
        images = {}
        for name, frame in frames.items():
            camera = self._cameras[name]
            age = frame.age(self._now())
            if limit and age > limit:
                camera.health.too_old(age)
                continue
            try:
                images[name] = camera.read(frame.message)
            except Exception as error:  # the fault lies with this image, not with the network
                camera.drop(brief(error), explain(error))
        if not images:
            return
        scheduler = settings.scheduler
        if scheduler is None or (
            self._recovery.lost and scheduler.points[0].segmenter.device != 'cpu'
        ):
            for name in images:
                self._cameras[name].drop(self._recovery.problem or 'there is no network')
            return
        failures = self._attempt(settings, scheduler, frames, images)
        self._recovery.succeeded(images.keys() - failures)
        if failures and not self._over:
            self._on_failure(scheduler, failures)

    def _attempt(
        self,
        settings: NodeSettings,
        scheduler: Scheduler,
        frames: Mapping[str, CameraFrame],
        images: Mapping[str, Image],
        again: bool = False,
    ) -> dict[str, Exception]:
        """
        Segment frames, one by one if they fail together; return the network's errors.

        :param again: whether this is the second attempt, after memory was given back.
        """
        try:
            self._segment(settings, scheduler, frames, images)
        except Exception as error:
            kind = kind_of(error)
            # One image may have made all of them fail, or memory may suffice for one at a time.
            if len(images) > 1 and kind is not ErrorKind.LOST and not self._over:
                failures: dict[str, Exception] = {}
                for name, image in images.items():
                    failures |= self._attempt(settings, scheduler, frames, {name: image})
                return failures
            if kind is ErrorKind.MEMORY and not again and not self._over:
                self._recovery.free_memory()
                return self._attempt(settings, scheduler, frames, images, again=True)
            for name in images:
                if self._over:
                    self._cameras[name].health.failed(brief(error))
                else:
                    self._cameras[name].drop(brief(error), explain(error))
            return dict.fromkeys(images, error)
        return {}

    def _segment(
        self,
        settings: NodeSettings,
        scheduler: Scheduler,
        frames: Mapping[str, CameraFrame],
        images: Mapping[str, Image],
    ) -> None:
        """
        Segment frames and publish their masks, then the other outputs that have subscribers.

        :raises Exception: any error of the network, before anything was published.
        """
        values = settings.values
        start = monotonic()
        deadline = values['deadline_ms'] / 1e3
        oldest = max(frames[name].age(self._now()) for name in images)
        point = scheduler.choose(deadline - oldest)
        segmenter = point.segmenter
        outputs = {name: self._cameras[name].outputs.heard() for name in images}
        heard = set[str]().union(*outputs.values())
        labels = with_palette(segmenter.labels, values['palette'])
        opacity = values['overlay_opacity']
        by_hand = segmenter.device == 'cpu' or not settings.ego_masks.keys().isdisjoint(images)
        # Always the deepest point's, as a mask's size must not depend on the operating point.
        network_size = scheduler.points[0].segmenter.input_size
        results = segmenter.predict(
            list(images.values()),
            confidence='confidence' in heard,
            confidence_threshold=values['confidence_threshold'],
            output_size=network_size if values['output_size'] == 'network' else None,
            # A GPU draws the pictures with the mask. A CPU draws them after the mask is published;
            # so do cameras with an ego mask, which is applied to the mask first.
            paint=None if by_hand else paint_for(heard, labels, opacity),
        )
        if self._abandoned:
            raise RuntimeError('the network took too long, and was left alone')
        published = {}
        for name, segmentation in zip(images, results, strict=True):
            camera, frame = self._cameras[name], frames[name]
            try:
                if name in settings.ego_masks:
                    settings.ego_masks[name].apply(segmentation.labels, segmentation.confidence)
                camera.outputs.publish_mask(frame.message.header, segmentation.labels)
            except Exception as error:
                if self._over:
                    return
                camera.drop(brief(error), explain(error))
                continue
            age = frame.age(self._now())
            camera.health.published(age, 0 < deadline < age, images[name], segmentation)
            published[name] = segmentation
        scheduler.observe(point, monotonic() - start)
        for name, segmentation in published.items():
            camera = self._cameras[name]
            try:
                camera.outputs.publish_others(
                    outputs[name],
                    frames[name].message.header,
                    images[name],
                    segmentation,
                    labels,
                    opacity,
                    camera.info if frames[name].topic == camera.topic else None,
                )
            except Exception as error:
                if self._over:
                    return
                camera.complain(f'mask published, but not all of the rest: {explain(error)}')

    def _now(self) -> int:
        return self._clock.now().nanoseconds
