# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What networks cost, in time, memory and arithmetic, beside what the machine could do."""
