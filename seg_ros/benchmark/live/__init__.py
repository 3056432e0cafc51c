# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of a running node, with real ROS messages between processes."""
