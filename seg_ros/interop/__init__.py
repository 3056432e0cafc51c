# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exchange with other projects: import of their weights, and checks of exported files."""
