# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The publisher of the node's reports on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from time import monotonic

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from ..dds_profile import check_profile
from ..recovery import Recovery
from ..settings import NodeSettings
from ..worker import Worker
from .camera_problems import Thresholds
from .health import CameraHealth, NetworkHealth

PERIOD = 1.0
"""The seconds between two reports."""

LIMITS = fields(Thresholds)
"""The limits; the parameter of each has `diagnostics.` before its name."""


class Diagnostics:
    """
    Collects the statuses of the node's parts and publishes them.

    :param cameras: the health of each camera by its name, which lives as long as the node.
    :param recovery: knows the network's problems.
    """

    def __init__(
        self, node: LifecycleNode, cameras: Mapping[str, CameraHealth], recovery: Recovery
    ) -> None:
        self._node = node
        self._cameras = cameras
        self._recovery = recovery
        self._network = NetworkHealth()
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._last = -PERIOD
        self._profile_problem = check_profile()
        if self._profile_problem:
            node.get_logger().error(self._profile_problem)

    @property
    def due(self) -> bool:
        """Whether it is time for the next report."""
        return monotonic() - self._last >= PERIOD

    def publish(self, state: str, settings: NodeSettings, worker: Worker | None) -> None:
        """
        Publish the statuses of the network and all cameras.

        :param state: active, inactive, disabled or unconfigured.
        :param settings: the node's settings.
        :param worker: the worker that answers images; None if none does.
        """
        self._last = monotonic()
        network = self._network
        network.state = state
        if worker is not None and worker.hangs:
            network.problem, network.failed = _hangs(worker.busy), True
        else:
            problems = filter(None, (self._recovery.problem, self._profile_problem))
            network.problem, network.failed = '; '.join(problems), self._recovery.failed
        thresholds = Thresholds(
            **{field.name: settings.values[f'diagnostics.{field.name}'] for field in LIMITS}
        )
        prefix = self._node.get_fully_qualified_name().lstrip('/')
        scheduler = settings.scheduler
        statuses = [
            network.status(
                prefix,
                scheduler.points[0].segmenter if scheduler else None,
                settings.values,
                scheduler.shares() if scheduler else {},
            ),
            *(
                camera.status(prefix, thresholds, worker is not None)
                for camera in self._cameras.values()
            ),
        ]
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self._publisher.publish(DiagnosticArray(header=header, status=statuses))

    def flush(self) -> None:
        """Wait at most one second until reliable subscribers have received the last report."""
        self._publisher.wait_for_all_acked(Duration(seconds=1))


def _hangs(seconds: float) -> str:
    return (
        f'the network has not answered for {seconds:.0f} s. If it does not come back, call '
        '~/reload, or restart the node'
    )
