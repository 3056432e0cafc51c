# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Masks that come back over DDS are, to the pixel, what `predict` says of the same image.

Each drive is played by another process. With SEG_ROS_CAMVID set to CamVid's folder, its validation
drive is played, too.
"""

from collections.abc import Iterator
import os
from pathlib import Path

import cv2
from identity import check, play
from node_fixtures import NodeProcess
import numpy as np
import pytest

from seg_ros.datasets.camvid import camvid
from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.images.image_file import read_image
from seg_ros.inference.segmenter import Segmenter

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / 'config' / 'fastdds_large_images.xml'
CAMVID = os.environ.get('SEG_ROS_CAMVID')
CAMERAS = ('raw', 'hd', 'full_hd')
SIZES = {'hd': (1280, 720), 'full_hd': (1920, 1080)}
# What a loaded two-core machine without a GPU holds; a faster engine holds more.
RATE = float(os.environ.get('SEG_ROS_RATE', '5'))
LARGE_RATE = float(os.environ.get('SEG_ROS_LARGE_RATE', '1.5'))


@pytest.fixture(scope='module', params=['sample_drive', 'camvid'])
def drive(request) -> list[np.ndarray]:
    """Return consecutive frames, RGB."""
    if request.param == 'sample_drive':
        frames = SampleDrive(seed=7, frames=24, size=(480, 360))
        return [frames[i][0] for i in range(len(frames))]
    if not CAMVID:
        pytest.skip('SEG_ROS_CAMVID does not name the folder of CamVid')
    return [read_image(path) for path, _ in camvid(CAMVID, 'val').pairs]


@pytest.fixture(scope='module')
def segmenter() -> Segmenter:
    return Segmenter()


@pytest.fixture(scope='module', params=['default DDS', 'large-image profile'])
def transport(request) -> dict[str, str]:
    if request.param == 'default DDS':
        return {}
    # Jazzy reads the one, newer distributions the other as well.
    names = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'
    return dict.fromkeys(names, str(PROFILE))


@pytest.fixture(scope='module')
def node(transport) -> Iterator[NodeProcess]:
    """Run the node with raw cameras of several sizes; with the transport under test."""
    names = ','.join(CAMERAS)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in transport.items():
            patch.setenv(name, value)
        process = NodeProcess(cameras=f'[{names}]')
    with process:
        process.wait_for_log('loaded in', 120)
        yield process


@pytest.mark.parametrize('transport', ['default DDS'], indirect=True)
@pytest.mark.parametrize('form', ['bgr8', 'rgb8', 'bgra8', 'mono8', 'padded'])
def test_every_mask_is_what_predict_says(drive, node, segmenter, form, tmp_path, capsys):
    frames = drive if form == 'bgr8' else drive[:16]
    images, masks = play(tmp_path, 'raw', frames, form, rate=RATE)
    with capsys.disabled():
        print(f'\n  480x360 {form} at {RATE} Hz: {len(masks)} of {len(frames)} answered', end='')
    check(segmenter, form, images, masks)
    assert len(masks) == len(frames)


def test_compressed_images(drive, segmenter, tmp_path):
    with NodeProcess(cameras='[jpeg]', transport='compressed') as node:
        node.wait_for_log('loaded in', 120)
        images, masks = play(tmp_path, 'jpeg', drive[:16], 'jpeg', rate=RATE)
    check(segmenter, 'jpeg', images, masks)
    assert len(masks) == 16


@pytest.mark.parametrize('reliability', ['reliable', 'best effort'])
@pytest.mark.parametrize('camera', SIZES)
def test_large_images(
    drive, node, transport, segmenter, camera, reliability, tmp_path, monkeypatch, capsys
):
    for name, value in transport.items():
        monkeypatch.setenv(name, value)
    frames = [cv2.resize(frame, SIZES[camera]) for frame in drive]
    options = ['--best-effort'] if reliability == 'best effort' else []
    images, masks = play(tmp_path, camera, frames, 'bgr8', LARGE_RATE, *options)
    with capsys.disabled():
        width, height = SIZES[camera]
        name = 'profile' if transport else 'default DDS'
        print(
            f'\n  {width}x{height} at {LARGE_RATE} Hz, {reliability}, {name}: '
            f'{len(masks)} of {len(frames)} answered',
            end='',
        )
    check(segmenter, 'bgr8', images, masks)
    if reliability == 'reliable':
        assert len(masks) == len(frames)
