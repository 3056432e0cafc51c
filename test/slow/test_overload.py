# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A short overload trial, of which only what does not hang on the time."""

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
    ages, facts = overload(picture(1, 36, 48), (36, 48), str(model), parameters, 1.5)
    counts = facts['counts']
    assert facts['sent'] == len(ages) > facts['answered'] > 0
    assert 0 < counts['received'] <= facts['sent']
    assert counts['received'] == counts['processed'] + counts['replaced']
    assert counts['replaced'] > 0
    # The images by which node and listener met are answered a moment later at most.
    assert facts['answered'] <= counts['processed'] <= facts['answered'] + 3
    assert facts['in_order']
    assert min(age for age in ages if age is not None) > 0
    assert len(facts['memory_mb']) >= 1
    assert facts['input_size'] == [96, 128]


def test_the_command_fails_where_a_goal_is_missed_and_still_writes(tmp_path):
    """Nothing but luck meets the goals in a second on a busy machine; both ways must be told."""
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
    (trial,) = found['overloads']
    assert process.returncode == bool(trial['missed']), process.stderr
    for text in trial['missed']:
        assert text in process.stderr
    (row,) = found['results']
    assert row['benchmark'] == 'overload'
    assert row['ratio'] == pytest.approx(trial['age_p95_ms'] / trial['engine_ms'])
