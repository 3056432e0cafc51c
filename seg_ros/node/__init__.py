# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The segmentation node, which connects the network with ROS topics, parameters and services."""
