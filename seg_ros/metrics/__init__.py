# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of how good predicted labels are, and of how long they took."""
