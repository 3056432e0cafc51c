# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node: it receives camera images and publishes masks of class labels.

The executor's thread receives images and answers requests; a second thread, the worker, runs the
network. They share a queue with the newest frame of each camera, and one reference to the current
settings. Networks are loaded in threads of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
import gc
import os
import signal
import sys
import threading
from threading import Event, Lock, Thread
from typing import Any, TYPE_CHECKING, TypeVar

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # Humble has it here
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.utilities import try_shutdown
from std_srvs.srv import SetBool, Trigger

from ..images.palette import with_palette
from .camera import Camera, CameraFrame
from .device_errors import ErrorKind, kind_of
from .diagnostics.health import CameraHealth
from .diagnostics.publisher import Diagnostics, PERIOD
from .malloc import keep_memory
from .parameters import check, check_topics, declare, ParameterError
from .recovery import Recovery
from .settings import (
    deepen,
    describe,
    explain,
    load,
    NETWORK_PARAMETERS,
    NodeSettings,
    read_ego_masks,
)
from .worker import Worker

if TYPE_CHECKING:
    from ..inference.checkpoint import Checkpoint
    from ..inference.deadline import Scheduler

FOLLOW_PERIOD = 0.5
"""The seconds between two checks of the reliability that the cameras' publishers offer."""

LABEL_INFO_PERIOD = 5.0
"""The seconds between two LabelInfo messages, for subscribers that are not transient local."""

PATIENCE = 3.0
"""The seconds that a node waits at its end for threads that load networks."""

RECEIVE_PERIOD = 0.005
"""The seconds between two checks for images while the executor's thread waits for a network."""

NATIVE = ('loading', 'recovery', 'segmentation')
"""The names of threads that may still run a library's native code when the node ends."""

CANNOT_START, DEVICE_LOST = 1, 3
"""The exit codes of a node that cannot start, and of one whose device only a new process gets."""

Result = TypeVar('Result')


class SegmentationNode(LifecycleNode):
    """
    The lifecycle node; `config/segment.yaml` describes its parameters.

    Configuring loads the network, activating subscribes to the cameras and starts the worker.

    :ivar exit_code: the code that the process shall end with because the node cannot go on; 0 as
        long as it can.
    :raises ParameterError: a parameter's value is not allowed.
    """

    def __init__(self) -> None:
        super().__init__('segmentation_node')
        self._cameras: dict[str, Camera] = {}
        self._worker: Worker | None = None
        self._active, self._enabled = False, True
        self.exit_code = 0
        # Held by threads that replace the settings: the executor's and the recovery's.
        self._changing = Lock()
        self._recovery = Recovery(self._load, self._install, self._leave, self.get_logger())
        # Comes after all attributes that destroy_node needs, as Kilted calls it even if this
        # raises.
        values = declare(self)
        self._settings = NodeSettings(values)
        self._health = {name: CameraHealth(name) for name in values['cameras']}
        self._diagnostics = Diagnostics(self, self._health, self._recovery)
        self.create_service(SetBool, '~/enable', self._on_enable)
        self.create_service(Trigger, '~/reload', self._on_reload)
        change_state = self._service_change_state
        change_state.callback = _refusing(change_state.callback, self.get_logger())
        # A steady clock, as simulated time may stand still or not have started.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        for period, callback in (
            (FOLLOW_PERIOD, self._follow),
            (LABEL_INFO_PERIOD, self._publish_label_info),
            (PERIOD, self._publish_diagnostics),
        ):
            self.create_timer(period, callback, clock=clock)
        self.add_on_set_parameters_callback(self._on_set_parameters)

    def autostart(self) -> bool:
        """
        Configure and activate the node, unless the parameter autostart is false.

        :returns: whether the node is in the state that autostart asks for.
        """
        if not self._settings.values['autostart']:
            self.get_logger().info('autostart is false: waiting for a lifecycle manager')
            return True
        return all(
            transition() == TransitionCallbackReturn.SUCCESS
            for transition in (self.trigger_configure, self.trigger_activate)
        )

    # Lifecycle. rclpy hides exceptions of these methods, so each of them logs its own errors.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the network, and create the publishers."""
        values = self._settings.values
        try:
            for name in values['cameras']:
                self._cameras[name] = Camera(
                    self,
                    name,
                    values[f'{name}.image_topic'],
                    values['transport'] == 'compressed',
                    values['mask_rle'],
                    self._health[name],
                    self._on_image,
                )
            # Loaded after the cameras are known, as it measures whether batches of so many pay.
            scheduler = self._meanwhile(lambda: self._load(values))
            self._settings = NodeSettings(values, scheduler, read_ego_masks(values))
        except Exception as error:
            self._release()
            return self._fail(f'cannot be configured: {explain(error)}')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras, and start to answer images."""
        result = super().on_activate(state)
        self._active = True
        try:
            self._start()
            self._publish_label_info()
        except Exception as error:
            self.on_deactivate(state)
            return self._fail(f'cannot be activated: {explain(error)}')
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and stop answering images; the network stays loaded."""
        self._active = False
        self._halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the network, the publishers and the subscriptions."""
        self._release()
        return super().on_cleanup(state)

    on_shutdown = on_cleanup
    on_error = on_cleanup

    def destroy_node(self) -> None:
        """Stop the threads before the publishers that they use are destroyed."""
        self._halt()
        self._recovery.stop(PATIENCE)
        super().destroy_node()

    def end(self) -> None:
        """Publish the last diagnosis, and end the executor, as the device is lost."""
        self._publish_diagnostics()
        self._diagnostics.flush()
        self.get_logger().fatal(
            f'{self._recovery.problem}. Only a new process can use it again: ending with exit '
            f'code {self.exit_code}'
        )
        try_shutdown(context=self.context)

    def _fail(self, reason: str) -> TransitionCallbackReturn:
        if self.context.ok():  # if not, a signal has shut the node down, which is no error
            self.get_logger().fatal(reason)
        return TransitionCallbackReturn.FAILURE

    def _release(self) -> None:
        self._active = False
        self._halt()
        self._recovery.stop(PATIENCE)
        for camera in self._cameras.values():
            camera.destroy()
        self._cameras.clear()
        with self._changing:
            self._settings = NodeSettings(self._settings.values)
        gc.unfreeze()
        gc.collect()
        self._recovery.free_memory()

    def _start(self) -> None:
        """Start the worker, if the node is active and enabled."""
        if self._active and self._enabled and self._worker is None:
            self._worker = Worker(
                self, self._cameras, lambda: self._settings, self._recovery, self._on_failure
            )
            self._follow()

    def _halt(self) -> None:
        """Unsubscribe from the images and stop the worker."""
        for camera in self._cameras.values():
            camera.unsubscribe()
        if self._worker is not None:
            self._worker.stop()
            if self._worker.alive:
                self.get_logger().error(
                    f'the network has not answered for {self._worker.busy:.0f} s; it is left alone'
                )
        self._worker = None

    # The methods from here on run in the executor's thread.

    def _on_image(self, name: str, frame: CameraFrame) -> None:
        if self._worker is not None:
            self._worker.put(name, frame)

    def _follow(self) -> None:
        if self._worker is not None:
            for camera in self._cameras.values():
                camera.subscribe(self._settings.values['reliability'])

    def _publish_label_info(self) -> None:
        values, scheduler, _ = self._settings
        if self._active and scheduler is not None:
            labels = scheduler.points[0].segmenter.labels
            for camera in self._cameras.values():
                camera.outputs.publish_label_info(labels, values['confidence_threshold'])

    def _publish_diagnostics(self) -> None:
        if self._active:
            state = 'active' if self._enabled else 'disabled'
        elif self._settings.scheduler is not None or self._recovery.problem:
            state = 'inactive'
        else:
            state = 'unconfigured'
        self._diagnostics.publish(state, self._settings, self._worker)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Handle the service ~/enable: answer images or not, in any lifecycle state."""
        self._enabled = request.data
        if self._enabled:
            self._start()
        else:
            self._halt()
        response.success = True
        response.message = 'enabled' if self._enabled else 'disabled'
        if not self._active:
            response.message += '; the node is not active'
        self.get_logger().info(response.message)
        return response

    def _on_reload(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """
        Handle the service ~/reload: read the checkpoint again.

        The old network answers images until the new one is ready.
        """
        values = self._settings.values
        try:
            if not self._cameras:
                raise ParameterError(
                    'expected a node that is configured; found one that is not. Configure it, '
                    'which loads the network'
                )
            ego_masks = read_ego_masks(values)
            scheduler = self._meanwhile(lambda: self._load(values))
        except Exception as error:
            response.message = explain(error)
            if self.context.ok():
                self.get_logger().error(f'not reloaded: {response.message}')
        else:
            self._change(values, ego_masks, scheduler)
            self._publish_label_info()
            response.success = True
            response.message = f'reloaded {values["model"]}: {describe(scheduler)}'
        return response

    def _on_set_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """
        Check a set of changes of parameters and apply all of them, or refuse all.

        A new network is loaded while the worker goes on with the old one. Several parameters set
        in one atomic call load one network.
        """
        old, current, ego_masks = self._settings
        values = {**old, **{p.name: p.value for p in parameters if p.name in old}}
        changed = {name for name in values if values[name] != old[name]}
        if not changed:
            return SetParametersResult(successful=True)
        scheduler = None
        try:
            check(values)
            check_topics(self, values)
            if 'device' in changed and values['device'] != 'cpu' and self._recovery.lost:
                raise ParameterError(
                    'device: expected cpu, as the GPU is lost to this process; found '
                    f'{values["device"]}. Restart the node to return to the GPU'
                )
            if any(name.endswith('.ego_mask') for name in changed):
                ego_masks = read_ego_masks(values)
            if self._cameras:
                toggled = bool(values['deadline_ms']) != bool(old['deadline_ms'])
                # With no network, or one in recovery, no operating points can be added.
                anew = toggled and (current is None or self._recovery.problem)
                if anew or not changed.isdisjoint(NETWORK_PARAMETERS):
                    scheduler = self._meanwhile(lambda: self._load(values))
                elif toggled and current is not None:
                    deepest = current.points[0].segmenter
                    scheduler = self._meanwhile(
                        lambda: deepen(deepest, values, self._sizes(), self.get_logger())
                    )
                if shown := scheduler or current:
                    # Computed and cached here: distinct colours for hundreds of classes take 1 s.
                    with_palette(shown.points[0].segmenter.labels, values['palette'])
        except Exception as error:
            return SetParametersResult(successful=False, reason=explain(error))
        self._change(values, ego_masks, scheduler)
        for name, camera in self._cameras.items():
            if f'{name}.image_topic' in changed:
                camera.move(values[f'{name}.image_topic'])
                if self._worker is not None:
                    self._worker.forget(name)
            if 'mask_rle' in changed:
                camera.outputs.offer_runs(values['mask_rle'], self._active)
        if not changed.isdisjoint({'reliability', *(f'{n}.image_topic' for n in self._cameras)}):
            self._follow()
        self._publish_label_info()
        return SetParametersResult(successful=True)

    def _change(
        self,
        values: Mapping[str, Any],
        ego_masks: Mapping[str, Any],
        scheduler: Scheduler | None,
    ) -> None:
        """Replace the settings; ``scheduler`` is None if the network stays the same."""
        with self._changing:
            if scheduler is not None:
                self._recovery.reset()
            self._settings = NodeSettings(values, scheduler or self._settings.scheduler, ego_masks)
        if scheduler is not None and self._worker is not None and self._worker.hangs:
            self._halt()
            self._start()

    def _meanwhile(self, work: Callable[[], Result]) -> Result:
        """
        Run long work in another thread, and meanwhile receive images and publish diagnostics.

        :returns: the result of the work.
        :raises Exception: any exception that the work raises.
        """
        future: Future[Result] = Future()

        def run(future: Future[Result]) -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
            # Without this, the future and its error form a cycle that keeps half-built networks.
            del future

        # A daemon thread, as a signal must end the process even if the work hangs.
        thread = Thread(target=run, args=(future,), name='loading', daemon=True)
        thread.start()
        while not wait([future], RECEIVE_PERIOD).done:
            try:
                for camera in self._cameras.values():
                    camera.take()
                if self._diagnostics.due:
                    self._publish_diagnostics()
            except Exception:
                if not self.context.ok():
                    break  # the context was shut down meanwhile, which is no error
                raise
        try:
            result = future.result(PATIENCE)
        finally:
            del future
        # If Python ended before the thread, the libraries that the thread has used would crash.
        thread.join()
        return result

    # The methods from here on may run in any thread.

    def _install(self, scheduler: Scheduler | None, cancelled: Event) -> None:
        with self._changing:
            if not cancelled.is_set():
                self._settings = self._settings._replace(scheduler=scheduler)

    def _on_failure(self, scheduler: Scheduler, errors: Mapping[str, Exception]) -> None:
        with self._changing:
            values, current, _ = self._settings
            if scheduler is current:  # if not, another network has already replaced it
                self._recovery.failing(values, scheduler, errors)

    def _load(self, values: Mapping[str, Any], checkpoint: Checkpoint | None = None) -> Scheduler:
        def attempt() -> Scheduler:
            usable = self._recovery.usable(values)
            return load(usable, self._sizes(), self.get_logger(), checkpoint)

        try:
            return attempt()
        except Exception as error:
            if kind_of(error) is not ErrorKind.LOST:
                raise
            self._recovery.lose(values, error, self._settings.scheduler)
            if self.exit_code:
                raise
            return attempt()

    def _leave(self) -> None:
        if not self.exit_code:
            self.exit_code = DEVICE_LOST
            if self.executor is not None:  # if not, the node has not been started yet
                self.executor.create_task(self.end)

    def _sizes(self) -> list[tuple[int, int] | None]:
        return [camera.size for camera in self._cameras.values()]


def _refusing(change: Callable[..., Any], logger: Any) -> Callable[..., Any]:
    """
    Wrap rclpy's callback for lifecycle transitions so that it refuses impossible ones.

    Up to Jazzy the callback raises for such a request, which ends the executor and the process.
    """

    def refusing(
        request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        try:
            return change(request, response)
        except RuntimeError as error:
            logger.error(f'transition refused: {error}')
            response.success = False
            return response

    return refusing


def main(args: list[str] | None = None) -> int:
    """
    Run the node until a signal.

    :returns: 0; or, after the log has said why, ``CANNOT_START`` or ``DEVICE_LOST``.
    """
    code = _run(args)
    # Objects on a lost device can no longer be destroyed.
    if code == DEVICE_LOST or any(thread.name in NATIVE for thread in threading.enumerate()):
        # A normal exit would unload libraries that a thread is still using, and crash.
        sys.stdout.flush()
        os._exit(code)
    return code


def _run(args: list[str] | None) -> int:
    keep_memory()
    # rclpy's own handlers call these before they shut the context down, which ends whatever the
    # node is doing. Python's default handlers would raise KeyboardInterrupt at any point, or kill
    # the process.
    interrupted = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: interrupted.set())
    rclpy.init(args=args)
    node = None
    try:
        if interrupted.is_set():  # the signal came before rclpy's handlers were installed
            return 0
        node = SegmentationNode()
        started = node.autostart()
        if interrupted.is_set():
            return 0
        if node.exit_code:
            node.end()
        elif not started:
            return CANNOT_START
        else:
            rclpy.spin(node)
    except ParameterError as error:
        rclpy.logging.get_logger('segmentation_node').fatal(str(error))
        return CANNOT_START
    except Exception:
        # rclpy raises many kinds of exceptions after the context was shut down.
        if not interrupted.is_set() and not (node and node.exit_code):
            raise
    finally:
        if node is not None:
            node.destroy_node()
        try_shutdown()
        gc.unfreeze()  # without this, Kilted's middleware leaves its shared memory behind
    return node.exit_code if node is not None else 0


if __name__ == '__main__':
    sys.exit(main())
