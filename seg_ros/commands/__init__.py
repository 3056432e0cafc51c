# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The commands: one module each, with `add_arguments(parser)` and `run(args) -> dict`.

The module's name is the verb, its docstring the description in `--help`. `seg_ros/__main__.py`
finds them here, parses, calls, and turns errors into exit codes and the returned dict into the
file of `--json`. A module whose name starts with `_` is no verb.
"""

from collections.abc import Mapping
from typing import Any


class CheckFailed(Exception):
    """
    What a command was asked to check does not hold: exit code 1.

    :param message: what was expected and what was found
    :param result: what `run` would have returned; `--json` still writes it
    """

    def __init__(self, message: str, result: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result
