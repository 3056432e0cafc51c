# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How good a network or a running node is: scores, bags, reports."""
