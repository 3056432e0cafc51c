# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What says how good labels are, and how long they took."""
