# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Making a status of /diagnostics from problems and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
"""The levels, from the best to the worst, which is also their numerical order."""


class Problem(NamedTuple):
    """
    A problem to report.

    :param level: WARN, ERROR or STALE.
    :param text: a description of the problem and its remedy.
    """

    level: bytes
    text: str


def make_status(
    name: str,
    problems: Iterable[Problem],
    otherwise: str,
    values: Mapping[str, object],
    hardware_id: str,
) -> DiagnosticStatus:
    """
    Return a status with the level of the worst problem, which its message names first.

    :param name: the status's name.
    :param problems: the problems; those of the same level keep their order.
    :param otherwise: the message if there are no problems.
    :param values: the values by key; None becomes an empty text, a float gets three decimals.
    :param hardware_id: the status's hardware id.
    """
    found = sorted(problems, key=lambda problem: problem.level, reverse=True)
    return DiagnosticStatus(
        level=found[0].level if found else OK,
        name=name,
        message=' | '.join(problem.text for problem in found) or otherwise,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


def _text(value: object) -> str:
    if value is None:
        return ''
    return f'{value:.3f}' if isinstance(value, float) else str(value)
