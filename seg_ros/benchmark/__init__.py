# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of networks: time, memory and arithmetic, compared with the machine's peak."""
