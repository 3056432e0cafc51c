# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A synthetic street: its textures and objects, its layout, and a camera's view of it."""
