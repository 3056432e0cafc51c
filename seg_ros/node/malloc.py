# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a process that handles large messages wants of malloc."""

from __future__ import annotations

from contextlib import suppress
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""

LARGEST = 32 * 2**20
"""The most that M_MMAP_THRESHOLD takes; an image of 3840x2160 pixels has 24 MB."""

KEPT = 2**30


def keep_memory() -> None:
    """
    Let malloc keep what is freed, where it is glibc's; elsewhere nothing happens.

    rclpy takes an image through three buffers. By default each goes back to the system and is
    fetched anew, page by page, for the next image: of the 9 ms that it took to receive one of
    1024x2048, 7.
    """
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)
