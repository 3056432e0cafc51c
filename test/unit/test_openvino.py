# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Signals in a process that has loaded OpenVINO."""

import ctypes
import gc
from pathlib import Path
from threading import Thread

from engine_fixtures import small_checkpoint
import numpy as np

from seg_ros.inference.segmenter import Segmenter


class _Stack(ctypes.Structure):
    """The C structure stack_t of sigaltstack(2)."""

    _fields_ = (
        ('start', ctypes.c_void_p),
        ('flags', ctypes.c_int),
        ('size', ctypes.c_size_t),
    )


def signal_stack_is_mapped():
    """Return whether the memory of this thread's signal stack is mapped."""
    stack = _Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    if not stack.start:
        return True
    for line in Path('/proc/self/maps').read_text().splitlines():
        first, last = (int(side, 16) for side in line.split()[0].split('-'))
        if first <= stack.start < last:
            return line.split()[1].startswith('rw')
    return False


def test_signals_can_be_handled_after_engines_have_gone():
    """
    OpenVINO installs a signal stack in a thread, and frees it when the last Core is destroyed.

    Python handles signals on that stack. After it was freed, the next signal, such as that of a
    child process that ended, or of Ctrl-C, was a segmentation fault.
    """
    checkpoint = small_checkpoint(size=(32, 64))

    def make():
        segmenter = Segmenter(checkpoint, backend='openvino', precision='fp32')
        segmenter.predict(np.zeros((32, 64, 3), np.uint8))
        return segmenter

    engines = [make(), make()]
    assert signal_stack_is_mapped()
    del engines[0]  # the older engine is destroyed first
    gc.collect()
    assert signal_stack_is_mapped()
    thread = Thread(target=engines.clear)  # the last engine is destroyed in another thread
    thread.start()
    thread.join()
    gc.collect()
    assert signal_stack_is_mapped()
