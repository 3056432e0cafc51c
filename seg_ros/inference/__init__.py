# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From an image to labels: everything that the node, prediction and evaluation share."""

DEFAULT_MODEL = 'bisenetv2_street'
"""The shipped network that node and commands run unless they are told another."""
