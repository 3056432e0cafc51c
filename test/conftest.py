# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of our own, on this host alone, set before anything imports rclpy; a new cache."""

from collections.abc import Iterator
import os
import tempfile

import pytest
import torch

os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('ROS_LOG_DIR', tempfile.mkdtemp(prefix='seg_ros_log_'))
os.environ.setdefault('SEG_ROS_CACHE', tempfile.mkdtemp(prefix='seg_ros_cache_'))


@pytest.fixture(scope='module')
def one_thread() -> Iterator[None]:
    """Where other processes keep the cores busy, threads that wait for each other take ages."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
