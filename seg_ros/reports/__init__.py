# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pages for people: what was measured, drawn and told."""
