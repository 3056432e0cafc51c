# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images as arrays: files, messages and videos, class labels and their colours."""
