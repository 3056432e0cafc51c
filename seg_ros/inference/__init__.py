# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From an image to its labels: the code that the node and the commands share."""

DEFAULT_MODEL = 'bisenetv2_street'
"""The shipped network that the node and the commands run by default."""
