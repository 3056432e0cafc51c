# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of malloc for a process that handles large messages."""

from __future__ import annotations

from contextlib import suppress
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""The numbers of these settings in glibc's malloc.h."""

LARGEST = 32 * 2**20
"""The largest possible M_MMAP_THRESHOLD in bytes; an image of 3840x2160 pixels has 24 MB."""

KEPT = 2**30
"""The bytes of freed memory that malloc keeps."""


def keep_memory() -> None:
    """
    Let glibc's malloc keep freed memory; with another malloc do nothing.

    rclpy copies an image through three buffers. By default each of them is given back to the
    system, and fetched again page by page for the next image. That took 7 of the 9 ms in which an
    image of 1024x2048 pixels was received.
    """
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)
