# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines: what runs a network, behind one small interface."""

from .choice import BACKENDS, make_engine, PRECISIONS
from .engine import Engine, EngineError

__all__ = ['BACKENDS', 'PRECISIONS', 'Engine', 'EngineError', 'make_engine']
