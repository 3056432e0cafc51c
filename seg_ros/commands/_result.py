# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Results as JSON."""

from collections.abc import Mapping
import json
import math
import os
from pathlib import Path
from typing import Any

from ..images.files import write_atomically


def plain(value: Any) -> Any:
    """Turn a result into what JSON knows: arrays are lists, paths texts, NaN and infinity null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, 'tolist'):  # NumPy's arrays and scalars, torch's tensors
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: str | os.PathLike[str], result: Any) -> None:
    """Write a result as JSON. Errors as :func:`seg_ros.images.files.write_atomically`'s."""
    write_atomically(Path(path), f'{json.dumps(plain(result), indent=2)}\n'.encode())
