# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines: the libraries that can run a network, behind one small interface."""

import os
import sys

from .engine import Engine, EngineError
from .engine_choice import BACKENDS, make_engine, PRECISIONS

# OpenVINO and ONNX Runtime send telemetry to their makers and store an id for it in the user's
# home. A vehicle must not send any. OpenVINO sends none if its telemetry package is missing.
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]

__all__ = ['BACKENDS', 'PRECISIONS', 'Engine', 'EngineError', 'make_engine']
