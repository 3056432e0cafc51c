# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The only part that speaks ROS: the node, and what publishes to it and listens to it."""
