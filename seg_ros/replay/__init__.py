# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recorded drive scored, offline or as a running node answers it."""
