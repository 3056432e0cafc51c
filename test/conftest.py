# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of our own, on this host alone, set before anything imports rclpy; a new cache."""

from collections.abc import Iterator
from contextlib import suppress
import fcntl
import os
from pathlib import Path
import signal
import tempfile
import time
from typing import IO

from hypothesis import settings
import pytest
import torch


def take_domain() -> tuple[int, IO[str]]:
    """Return a DDS domain that no other run of tests has, and the file whose lock keeps it."""
    for i in range(100):  # any Linux has ports for that many
        domain = (os.getpid() + i) % 100 + 1
        path = Path(tempfile.gettempdir(), f'seg_ros_test_domain_{domain}')
        with suppress(OSError):
            lock = path.open('w')
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return domain, lock
    raise RuntimeError('expected fewer than 100 runs of the tests at once on this machine')


# A worker of pytest-xdist inherits the domain of the process that started it; it needs its own.
if 'ROS_DOMAIN_ID' not in os.environ or 'PYTEST_XDIST_WORKER' in os.environ:
    DOMAIN, LOCK = take_domain()
    os.environ['ROS_DOMAIN_ID'] = str(DOMAIN)
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('ROS_LOG_DIR', tempfile.mkdtemp(prefix='seg_ros_log_'))
os.environ.setdefault('SEG_ROS_CACHE', tempfile.mkdtemp(prefix='seg_ros_cache_'))

# Examples of each property: ``pytest --hypothesis-profile thorough`` draws many more.
settings.register_profile('quick', max_examples=500, deadline=None)
settings.register_profile('thorough', max_examples=10_000, deadline=None)
settings.load_profile('quick')

# A shell's background jobs ignore it, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--stop-at',
        type=float,
        default=float('inf'),
        metavar='SECONDS',
        help='begin no further test from this time on, in seconds since 1970; those are skipped',
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.time() > item.config.getoption('--stop-at'):
        pytest.skip('the time for these tests (--stop-at) is over')


@pytest.fixture(scope='module')
def one_thread() -> Iterator[None]:
    """Where other processes keep the cores busy, threads that wait for each other take ages."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
