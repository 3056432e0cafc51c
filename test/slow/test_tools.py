# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The shipped networks on the whole of CamVid."""

import json
import os

import pytest

from seg_ros.__main__ import main
from seg_ros.inference.checkpoint import find_checkpoint, load_checkpoint


@pytest.mark.skipif(
    'SEG_ROS_CAMVID' not in os.environ,
    reason='SEG_ROS_CAMVID does not name the folder of CamVid',
)
@pytest.mark.parametrize('name', ['bisenetv2_camvid', 'icnet_camvid'])
def test_shipped_networks_are_as_good_as_they_say(name, tmp_path):
    arguments = ('--dataset', 'camvid', '--root', os.environ['SEG_ROS_CAMVID'], '--split', 'test')
    out = tmp_path / 'result.json'
    assert main(['evaluate', '--model', name, *arguments, '--json', str(out)]) == 0
    result = json.loads(out.read_text())
    said = load_checkpoint(find_checkpoint(name)).training
    assert result['images'] == 233
    # Other processors compute in other precisions.
    assert result['miou'] == pytest.approx(said['miou']['test'], abs=0.005)
    assert result['iou'] == pytest.approx(said['iou']['test'], abs=0.02)
