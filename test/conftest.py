# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of our own, on this host alone; set before anything imports rclpy."""

import os
import tempfile

os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('ROS_LOG_DIR', tempfile.mkdtemp(prefix='seg_ros_log_'))
