# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Latency in the form that all commands report it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentiles(milliseconds: Sequence[float]) -> dict[str, float | None]:
    """Return p50, p95 and p99 of latencies in milliseconds; None of none."""
    if not len(milliseconds):
        return {'p50': None, 'p95': None, 'p99': None}
    return {f'p{q}': float(np.percentile(milliseconds, q)) for q in (50, 95, 99)}
