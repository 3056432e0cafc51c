# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""HTML reports: pages of sections, the plots that they share, and text tables."""
