# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Making networks: recipes, losses, the loop."""
