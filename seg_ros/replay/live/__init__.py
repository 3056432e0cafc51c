# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Playing a drive to a running node, and scoring what the node publishes."""
