# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A synthetic street: what it is made of, where everything stands, and a camera's view of it."""
