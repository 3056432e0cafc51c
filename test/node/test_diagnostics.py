# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the diagnostics import, which only a process of their own shows."""

import subprocess
import sys


def test_pytorch_is_not_imported_for_it():
    """It takes seconds, in which signals and requests would wait."""
    program = (
        'import sys; from seg_ros.node.diagnostics.health import NetworkHealth, CameraHealth;'
        'from seg_ros.node.diagnostics.process_metadata import cuda_memory;'
        "NetworkHealth().status('node', None, {'model': 'x'}, {});"
        "assert cuda_memory('cuda') == {} and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, '-c', program], check=True, timeout=200)
