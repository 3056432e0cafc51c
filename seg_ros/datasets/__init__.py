# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labelled images for training and scoring, read from disk or drawn, and their augmentation."""
