# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's reports on its health, published on /diagnostics."""
