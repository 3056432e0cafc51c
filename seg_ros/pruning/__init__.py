# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pruning: making smaller networks from trained ones."""
