# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Masks that come back over DDS are, to the pixel, what `predict` says of the same image."""

from identity import check, play
from node_fixtures import NodeProcess

from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.inference.segmenter import Segmenter


def test_every_mask_is_what_predict_says(tmp_path):
    """The shipped network; test/slow has more frames, encodings, sizes and transports."""
    drive = SampleDrive(seed=7, frames=4, size=(240, 180))
    frames = [drive[i][0] for i in range(len(drive))]
    with NodeProcess(cameras='[raw]') as node:
        node.wait_for_log('subscribing')
        images, masks = play(tmp_path, 'raw', frames, 'bgr8', rate=1.0)
    check(Segmenter(), 'bgr8', images, masks)
    assert len(masks) == len(frames)
