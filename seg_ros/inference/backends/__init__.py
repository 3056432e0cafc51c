# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines: what runs a network, behind one small interface."""

import os
import sys

from .engine import Engine, EngineError
from .engine_choice import BACKENDS, make_engine, PRECISIONS

# OpenVINO and ONNX Runtime tell their makers that they run, over the network, and keep an id for
# that in the user's home. A vehicle tells nobody. OpenVINO is silent where the package that does
# it is not installed.
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]

__all__ = ['BACKENDS', 'PRECISIONS', 'Engine', 'EngineError', 'make_engine']
