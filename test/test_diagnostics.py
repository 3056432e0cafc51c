# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says, by a clock that stands still until it is told to go on."""

from dataclasses import replace
import os
from pathlib import Path
import shutil
import subprocess
import sys
from threading import Thread
from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest

from seg_ros.inference.segmentation import Segmentation
from seg_ros.nodes.camera_problems import find_problems, Thresholds
from seg_ros.nodes.dds_profile import check_profile
from seg_ros.nodes.diagnostic_status import make_status, Problem
from seg_ros.nodes.health import CameraHealth, NetworkHealth
from seg_ros.nodes.parameters import PARAMETERS
from seg_ros.nodes.picture_health import look
from seg_ros.nodes.process_facts import cuda_memory, process_facts
from seg_ros.nodes.recent import percentile

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
PREFIX = 'diagnostics.'
LIMITS = Thresholds(
    **{
        parameter.name.removeprefix(PREFIX): parameter.default
        for parameter in PARAMETERS
        if parameter.name.startswith(PREFIX)
    }
)
RNG = np.random.default_rng(6)
PICTURES = RNG.integers(30, 220, (16, 48, 64, 3), np.uint8)
PROFILE = Path(__file__).parents[1] / 'config/fastdds_large_images.xml'


class Clock:
    """Seconds, which pass when they are told to."""

    def __init__(self):
        self.now = 1000.25

    def __call__(self):
        return self.now


class Watched:
    """A camera's health, with a hand on its clock."""

    def __init__(self):
        self.clock = Clock()
        self.health = CameraHealth('front', self.clock)
        self.frames = 0

    def wait(self, seconds):
        self.clock.now += seconds

    def answer(self, age=0.05, late=False, picture=None, low=0.1):
        """Receive and answer one frame, of another picture than before unless it is given."""
        self.frames += 1
        self.health.received()
        seen = Segmentation(np.zeros((1, 1), np.uint8), None, 0.75, low)
        image = PICTURES[self.frames % len(PICTURES)] if picture is None else picture
        self.health.published(age, late, image, seen)

    def run(self, seconds, rate=10, **facts):
        """Answer frames for a while."""
        for _ in range(round(seconds * rate)):
            self.wait(1 / rate)
            self.answer(**facts)

    def status(self, watched=True, **limits):
        return self.health.status('node', replace(LIMITS, **limits), watched)

    def values(self, **arguments):
        return {item.key: item.value for item in self.status(**arguments).values}


@pytest.fixture
def camera():
    return Watched()


# A camera's figures


def test_a_camera_that_is_answered_is_well(camera):
    camera.status()
    camera.health.topic = '/front/image_raw'
    camera.run(20)
    status = camera.status()
    assert (status.level, status.name, status.hardware_id) == (OK, 'node: camera front', 'front')
    assert status.message == 'answering 10.0 of 10.0 images a second'
    assert camera.values() == {
        'topic': '/front/image_raw',
        'received': '200',
        'processed': '200',
        'replaced': '0',
        'too old': '0',
        'failed': '0',
        'input rate (Hz)': camera.values()['output rate (Hz)'],
        'output rate (Hz)': pytest.approx('10.0'[:1] + camera.values()['output rate (Hz)'][1:]),
        'last image (s ago)': '0.000',
        'unanswered for (s)': '',
        'age p50 (ms)': '50.000',
        'age p95 (ms)': '50.000',
        'age p99 (ms)': '50.000',
        'ages not believed': '0',
        'late share': '0.000',
        'failed share': '0.000',
        'too old share': '0.000',
        'last too old (ms)': '',
        'replaced share': '0.000',
        'last failure': '',
        'last failure (s ago)': '',
        'QoS problem': '',
        'image size': '64x48',
        'brightness (0-255)': camera.values()['brightness (0-255)'],
        'saturated share': '0.000',
        'same picture for (s)': '0.000',
        'mean confidence': '0.750',
        'low confidence share': '0.100',
        'low confidence rise': '0.000',
    }
