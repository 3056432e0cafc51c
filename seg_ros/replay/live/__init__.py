# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A drive that is played to a running node, and what comes back."""
