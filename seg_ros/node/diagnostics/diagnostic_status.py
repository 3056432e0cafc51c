# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A status of /diagnostics, from what is wrong and what is known."""

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
"""From the best to the worst, as they compare."""


class Problem(NamedTuple):
    """
    Something that is wrong.

    :param level: WARN, ERROR or STALE.
    :param text: what it is, and what to do.
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
    Return a status with the level of the worst problem; its message names that one first.

    :param problems: those of one level stay in their order.
    :param otherwise: the message where there are none.
    :param values: None and what is no number become empty, other fractions get three decimals.
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
