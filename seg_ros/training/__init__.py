# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training of networks: recipes, losses, the training loop."""
