# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The overload trial: its goals, and a short run, of which only what does not hang on the time."""

import json
import math
import os
import subprocess
import sys

from node_fixtures import make_checkpoint, picture
import pytest

from seg_ros.nodes.overload_trial import missed, overload

GOOD = {
    'engine_ms': 10.0,
    'age_p95_ms': 25.0,
    'sent': 1000,
    'offered_rate': 1000.0,
    'in_order': True,
    'counts': {'received': 990, 'processed': 100, 'replaced': 890, 'too_old': 0, 'failed': 0},
    'memory_mb': [100.0, 400.0, 500.0, 510.0, 490.0, 505.0, 500.0, 500.0],
}


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({}, ''),
        ({'memory_mb': [None, None]}, ''),  # where nobody knows
        ({'age_p95_ms': 25.1}, 'found 2.51 times: 25.1 ms to 10.0 ms'),
        ({'age_p95_ms': math.nan}, 'p95 of the age'),
        ({'memory_mb': [100.0, 400.0, 500.0, 500.0, 520.0, 500.0, 500.0, 500.0]}, 'found 4.0%'),
        ({'in_order': False}, 'in order: False'),
        ({'counts': {**GOOD['counts'], 'replaced': 889, 'failed': 1}}, "'failed': 1"),
        ({'offered_rate': 800.0}, 'found that only 8.0 times as many'),
    ],
)
def test_the_goals(changes, text):
    found = missed(GOOD | changes)
    assert len(found) == bool(text)
    assert text in ''.join(found)


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
