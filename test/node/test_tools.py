# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration: a drive through the node, and what it leaves."""

import json
from pathlib import Path
import re

import cv2
import numpy as np
import pytest

from seg_ros.__main__ import main
from seg_ros.commands import demo
from seg_ros.commands.sample_drive import write_drive
from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.images.image_file import write_image
from seg_ros.images.overlay import overlay, Panel
from seg_ros.images.palette import with_palette
from seg_ros.images.video_file import read_video
from seg_ros.inference.segmenter import Segmenter

FRAMES = 8
RATE = 1.0  # so that a busy machine answers most of them


@pytest.fixture(scope='module')
def drive() -> SampleDrive:
    return SampleDrive(seed=3, frames=FRAMES, size=(320, 240), rate=RATE)


@pytest.fixture(scope='module')
def segmenter() -> Segmenter:
    return Segmenter()


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('bag') / 'drive'
    write_drive(path, seed=3, frames=FRAMES, size=(320, 240), rate=RATE)
    return path


@pytest.fixture(scope='module')
def folder(drive, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('images')
    for i in range(FRAMES):
        write_image(path / f'{i:03}.png', drive[i][0])
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize('kind', ['bag', 'folder'])
def test_demo_plays_a_drive_through_the_node(
    kind, bag, folder, segmenter, drive, tmp_path, monkeypatch
):
    monkeypatch.setattr(demo, 'RATE', RATE)
    source = bag if kind == 'bag' else folder
    palette = {'bag': 'model', 'folder': 'colorblind'}[kind]
    assert run('demo', '--drive', source, '--out', tmp_path, '--palette', palette) == 0
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['frames_in'] == FRAMES
    assert 0 < report['frames_out'] <= FRAMES
    assert 0 < report['latency_ms']['p50'] <= report['latency_ms']['p99'] < 60_000
    assert (report['miou'] is None) == (kind == 'folder')
    frames = list(read_video(tmp_path / 'overlay.mp4'))
    assert 0 < len(frames) <= FRAMES
    # The first frames may come too fast, the last one is always answered.
    image = drive[FRAMES - 1][0]
    labels = with_palette(segmenter.labels, palette)
    mask = segmenter.predict(image).labels
    expected = overlay(image, mask, labels.palette)
    assert cv2.absdiff(frames[-1][:, :320], expected).mean() < 12  # it is a video
    panel = Panel(labels, 240)
    expected = panel.draw([np.mean(mask == i) for i in range(len(labels))], None)
    found = frames[-1][:, 320:]
    assert found.shape == expected.shape
    swatches = [(color, (expected[:, :28] == color).all(-1)) for color in labels.palette]
    shown = [(color, swatch) for color, swatch in swatches if swatch.any()]
    assert len(shown) > 5
    for color, swatch in shown:
        assert np.abs(np.median(found[:, :28][swatch], axis=0) - color).max() < 8
    # Bars and figures are the mask's, not those of an empty panel.
    right, empty = (
        cv2.absdiff(found, other)[44:, 112:].mean()
        for other in (expected, panel.draw([0] * len(labels), None))
    )
    assert right < empty / 2
    page = (tmp_path / 'report.html').read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing from elsewhere
    assert page.count('<img') >= 6
