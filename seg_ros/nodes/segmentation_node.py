# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node: camera images in, class labels out.

The executor's thread receives images and answers parameter and lifecycle requests; a second one,
the worker, runs the network, which releases the GIL. Between them stand a queue with the newest
frame of each camera and one reference to the settings in force.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import gc
import signal
import sys
from threading import Event, Thread
from time import monotonic
from traceback import format_exc
from typing import Any, NamedTuple, TYPE_CHECKING

from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # where Humble has it
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.timer import Timer
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import CompressedImage, Image

from ..inference.encodings import ImageError
from ..inference.palette import with_palette
from .camera import Camera, paint_for
from .frame_queue import FrameQueue
from .memory import keep_memory
from .parameters import check, declare, ParameterError

if TYPE_CHECKING:
    from ..inference.segmenter import Segmenter

NETWORK_PARAMETERS = (
    'model',
    'input_height',
    'input_width',
    'device',
    'backend',
    'precision',
)
"""A change of these takes another network."""

FOLLOW_PERIOD = 0.5
"""Seconds between two looks at what the cameras' publishers offer."""

LABEL_INFO_PERIOD = 5.0
"""Seconds between two LabelInfo messages, for listeners that are not transient local."""


class Settings(NamedTuple):
    """
    What frames are segmented with; replaced as a whole, so that no frame sees half a change.

    :param values: of all parameters.
    :param segmenter: None until the node is configured.
    """

    values: Mapping[str, Any]
    segmenter: Segmenter | None


class SegmentationNode(LifecycleNode):
    """
    The lifecycle node; `config/segment.yaml` describes its parameters.

    Configuring loads the network, activating subscribes to the cameras and starts the worker.

    :raises ParameterError: a parameter's value cannot be.
    """

    def __init__(self) -> None:
        super().__init__('segmentation_node')
        self._cameras: dict[str, Camera] = {}
        self._queue: FrameQueue[Image | CompressedImage] = FrameQueue()
        self._worker: Thread | None = None
        self._timers_while_active: list[Timer] = []
        # Last, as Kilted destroys a node even if this raises.
        self._settings = Settings(declare(self), None)
        self.add_on_set_parameters_callback(self._on_set_parameters)

    def autostart(self) -> bool:
        """Configure and activate, unless that is left to a manager; return whether it worked."""
        if not self._settings.values['autostart']:
            self.get_logger().info('autostart is false: waiting for a lifecycle manager')
            return True
        return all(
            transition() == TransitionCallbackReturn.SUCCESS
            for transition in (self.trigger_configure, self.trigger_activate)
        )

    # Lifecycle. rclpy swallows what these raise, so each says itself what went wrong.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the network, advertise the outputs."""
        values = self._settings.values
        try:
            for name in values['cameras']:
                self._cameras[name] = Camera(
                    self,
                    name,
                    values[f'{name}.image_topic'],
                    values['transport'] == 'compressed',
                    values['mask_rle'],
                    lambda name, message: self._queue.put(name, message),
                )
            # For as many cameras; whether their images go as batches is measured here.
            self._settings = Settings(values, self._load(values))
        except Exception as error:
            self._release()
            return self._fail(f'cannot be configured: {_explain(error)}')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, and start to answer."""
        self._queue = FrameQueue()
        self._worker = Thread(target=self._work, args=(self._queue,), name='segmentation')
        self._worker.start()
        # Steady, as simulated time may stand still or not have come yet.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timers_while_active = [
            self.create_timer(FOLLOW_PERIOD, self._subscribe, clock=clock),
            self.create_timer(LABEL_INFO_PERIOD, self._publish_label_info, clock=clock),
        ]
        result = super().on_activate(state)
        try:
            self._subscribe()
            self._publish_label_info()
        except Exception as error:
            self._halt()
            return self._fail(f'cannot be activated: {_explain(error)}')
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop to answer, unsubscribe; the network stays loaded."""
        self._halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back network and topics."""
        self._release()
        return super().on_cleanup(state)

    on_shutdown = on_cleanup
    on_error = on_cleanup

    def destroy_node(self) -> None:
        """Stop the worker before what it publishes with is gone."""
        self._halt()
        super().destroy_node()

    def _fail(self, reason: str) -> TransitionCallbackReturn:
        if self.context.ok():  # else a signal is the reason, and no fault
            self.get_logger().fatal(reason)
        return TransitionCallbackReturn.FAILURE

    def _release(self) -> None:
        self._halt()
        for camera in self._cameras.values():
            camera.destroy()
        self._cameras.clear()
        self._settings = self._settings._replace(segmenter=None)

    def _halt(self) -> None:
        for timer in self._timers_while_active:
            self.destroy_timer(timer)
        self._timers_while_active = []
        for camera in self._cameras.values():
            camera.unsubscribe()
        self._queue.close()
        if self._worker is not None:
            self._worker.join()
        self._worker = None

    # The executor's thread.

    def _subscribe(self) -> None:
        for camera in self._cameras.values():
            camera.subscribe(self._settings.values['reliability'])

    def _publish_label_info(self) -> None:
        values, segmenter = self._settings
        if segmenter is None:
            return
        for camera in self._cameras.values():
            camera.publish_label_info(segmenter.labels, values['confidence_threshold'])

    def _on_set_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """
        Check a set of changes and put it in force, or refuse it as a whole.

        A new network is loaded here while the worker goes on with the old one. Parameters set in
        one atomic call load one network.
        """
        old, segmenter = self._settings
        values = {**old, **{p.name: p.value for p in parameters if p.name in old}}
        try:
            check(values)
            changed = {name for name in values if values[name] != old[name]}
            if segmenter is not None and not changed.isdisjoint(NETWORK_PARAMETERS):
                segmenter = self._load(values)
            if segmenter is not None:
                # Found here, and kept: hundreds of colours take a second to tell apart.
                with_palette(segmenter.labels, values['palette'])
        except Exception as error:
            return SetParametersResult(successful=False, reason=_explain(error))
        self._settings = Settings(values, segmenter)
        self._publish_label_info()
        return SetParametersResult(successful=True)

    def _load(self, values: Mapping[str, Any]) -> Segmenter:
        """
        Return a network that is ready for the first frame.

        :raises ValueError: such a network cannot be had; the message says why and what to do.
        """
        start = monotonic()
        self.get_logger().info(f'loading {values["model"]}')
        # Here, as PyTorch takes seconds to import: signals and requests must not wait for it.
        from ..inference.segmenter import Segmenter

        segmenter = Segmenter(
            **{name: values[name] for name in NETWORK_PARAMETERS},
            report=lambda line: self.get_logger().info(line),
        )
        own = segmenter.input_size
        segmenter.warm_up([camera.size or own for camera in self._cameras.values()])
        # What is there now stays. To look through it for garbage takes 0.1 s, a frame's time.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        height, width = own
        self.get_logger().info(
            f'loaded in {monotonic() - start:.1f} s: {len(segmenter.labels)} classes, input '
            f'{width}x{height}, {segmenter.backend} in {segmenter.precision} on '
            f'{segmenter.device}'
        )
        return segmenter

    # The worker's thread.

    def _work(self, queue: FrameQueue[Image | CompressedImage]) -> None:
        # A batch's masks come out together, after the last; by turns the first need not wait.
        while (frames := queue.take(together=self._batched())) is not None:
            try:
                self._segment(frames)
            except Exception as error:
                if not self.context.ok():
                    return  # Shut down under our feet, which is no fault.
                for name in frames:
                    self._cameras[name].drop(_explain(error))

    def _segment(self, frames: Mapping[str, Image | CompressedImage]) -> None:
        """Answer one frame of each of some cameras."""
        values, segmenter = self._settings
        assert segmenter is not None  # for as long as there is a worker
        images, outputs = {}, {}
        for name, message in frames.items():
            camera = self._cameras[name]
            try:
                images[name] = camera.read(message)
            except ImageError as error:
                camera.drop(error)
            else:
                outputs[name] = camera.heard()
        heard = set[str]().union(*outputs.values())
        labels = with_palette(segmenter.labels, values['palette'])
        opacity = values['overlay_opacity']
        results = segmenter.predict(
            list(images.values()),
            confidence='confidence' in heard,
            confidence_threshold=values['confidence_threshold'],
            output_size=segmenter.input_size if values['output_size'] == 'network' else None,
            # A GPU draws as it goes; a CPU lets the mask out first.
            paint=None if segmenter.device == 'cpu' else paint_for(heard, labels, opacity),
        )
        for (name, image), seen in zip(images.items(), results, strict=True):
            header = frames[name].header
            self._cameras[name].publish(outputs[name], header, image, seen, labels, opacity)

    def _batched(self) -> bool:
        segmenter = self._settings.segmenter
        return segmenter is not None and segmenter.batched


def _explain(error: Exception) -> str:
    """Return a foreseen error's message; of any other the trace, as only that helps."""
    return str(error) if isinstance(error, ValueError) else format_exc()


def main(args: list[str] | None = None) -> int:
    """Run the node until a signal; return 0, or 1 where it cannot start and has said why."""
    keep_memory()
    # rclpy's own handlers call these before they shut the context down, which ends whatever the
    # node is at. Python's defaults would raise KeyboardInterrupt just anywhere, or kill.
    interrupted = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: interrupted.set())
    rclpy.init(args=args)
    node = None
    try:
        if interrupted.is_set():  # before rclpy listened
            return 0
        node = SegmentationNode()
        started = node.autostart()
        if interrupted.is_set():
            return 0
        if not started:
            return 1
        rclpy.spin(node)
    except ParameterError as error:
        rclpy.logging.get_logger('segmentation_node').fatal(str(error))
        return 1
    except Exception:
        # rclpy has many ways to say that the context is gone.
        if not interrupted.is_set():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        try_shutdown()
        gc.unfreeze()  # or Kilted's middleware leaves its shared memory behind
    return 0


if __name__ == '__main__':
    sys.exit(main())
