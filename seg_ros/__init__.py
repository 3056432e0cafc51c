# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Semantic segmentation of camera images in real time, for ROS 2."""
