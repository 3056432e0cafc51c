# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings: reading any, even damaged ones, and writing them, without ROS."""
