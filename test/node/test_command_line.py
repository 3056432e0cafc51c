# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m seg_ros` as a process of its own."""

import os
from pathlib import Path
import subprocess
import sys


def test_help_is_quick_and_needs_neither_torch_nor_ros(tmp_path):
    # A module of that name that ends the process would betray an import.
    for name in ('torch', 'rclpy', 'cv2', 'numpy'):
        (tmp_path / f'{name}.py').write_text('raise SystemExit(99)\n')
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([str(tmp_path), root])
    result = subprocess.run(
        [sys.executable, '-m', 'seg_ros', '--help'],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': paths}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert 'train' in result.stdout
