# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The papers' own studies: what each choice of theirs brings, trained and timed again."""
