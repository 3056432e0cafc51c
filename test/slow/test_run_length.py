# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Masks in runs at the size of a camera."""

import numpy as np

from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.images.run_length import decode, encode


def test_large_masks():
    """A drawn one is small, and comes back."""
    drawn = SampleDrive(seed=7, frames=1, size=(2048, 1024))[0][1]
    runs = encode(drawn)
    assert runs.size < drawn.size / 10
    np.testing.assert_array_equal(decode(runs, 1024, 2048), drawn)
