# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings (bags): read, even if they are damaged, and written, without ROS."""
