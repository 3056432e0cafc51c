# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the goals of the overload benchmark."""

import math

import pytest

from seg_ros.benchmark.live.overload_benchmark import missed

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
