# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of a short overload benchmark, of its results that do not depend on timing."""

import json
import os
import subprocess
import sys

from node_fixtures import make_checkpoint, picture
import pytest

from seg_ros.benchmark.live.overload_benchmark import overload


def test_a_short_run_counts_every_image(tmp_path):
    model = make_checkpoint(tmp_path / 'network.safetensors', 1)
    parameters = {'device': 'cpu', 'backend': 'torch', 'precision': 'fp32'}
    ages, result = overload(picture(1, 36, 48), (36, 48), str(model), parameters, 1.5)
    counts = result['counts']
    assert result['sent'] == len(ages) > result['answered'] > 0
    assert 0 < counts['received'] <= result['sent']
    assert counts['received'] == counts['processed'] + counts['replaced']
    assert counts['replaced'] > 0
    # Up to 3 of the images sent before the run, to find the node, are still answered in it.
    assert result['answered'] <= counts['processed'] <= result['answered'] + 3
    assert result['in_order']
    assert min(age for age in ages if age is not None) > 0
    assert len(result['memory_mb']) >= 1
    assert result['input_size'] == [96, 128]


def test_the_command_fails_where_a_goal_is_missed_and_still_writes(tmp_path):
    """A second on a busy machine may or may not meet the goals: the exit code must say which."""
    model = make_checkpoint(tmp_path / 'network.safetensors', 1)
    path = tmp_path / 'overload.json'
    process = subprocess.run(
        [
            *(sys.executable, '-m', 'seg_ros', 'benchmark', 'overload', '--seconds', '1'),
            *('--networks', str(model), '--sizes', '48x36', '--backends', 'torch'),
            *('--json', str(path)),
        ],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = json.loads(path.read_text())
    (result,) = found['overloads']
    assert process.returncode == bool(result['missed']), process.stderr
    for text in result['missed']:
        assert text in process.stderr
    (row,) = found['results']
    assert row['benchmark'] == 'overload'
    assert row['ratio'] == pytest.approx(result['age_p95_ms'] / result['engine_ms'])
