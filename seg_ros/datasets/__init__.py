# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labelled images to learn from: what is on disk, what is drawn, and random changes to both."""
