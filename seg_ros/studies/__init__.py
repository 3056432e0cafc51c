# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The papers' ablation studies, trained and timed again."""
