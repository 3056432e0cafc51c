# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring a recorded drive, offline or by playing it to a running node."""
