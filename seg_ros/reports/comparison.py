# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of a result of `replay` with an older one, to find regressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
from math import copysign, isfinite
from pathlib import Path
from typing import Any, NamedTuple

from .page import number

REPLAY = (
    'frames_in', 'frames_out', 'latency_ms', 'miou', 'iou', 'flicker', 'confidence', 'drives',
)  # fmt: skip
"""The keys by which a result of ``replay`` is recognised."""

ROUNDING = 1e-9
"""The rounding error by which a difference may exceed its limit: 0.70 - 0.69 > 0.01."""

Result = Mapping[str, Any]
"""The result of a command, as read from its JSON file."""


@dataclass(frozen=True)
class Limits:
    """
    How much worse a result may be than the older one.

    :param miou_drop: largest loss of mean IoU, 0 to 1.
    :param flicker_rise: largest rise of flicker, as a share of pixels.
    :param latency_rise: largest rise of the median latency, as a share of the older one. Latency
        is measured in runs of the reference network, so that machines of different speed compare.
    """

    miou_drop: float = 0.01
    flicker_rise: float = 0.01
    latency_rise: float = 0.25


class Change(NamedTuple):
    """
    A measure in two results.

    :param measure: its name.
    :param old: its value in the older result; None if it was not measured.
    :param new: its value in the newer result; None if it was not measured.
    :param difference: new minus old, for latency as a share of old; None if the two cannot be
        compared.
    :param limit: the largest difference for the worse; None without a limit.
    :param regression: whether the difference exceeds the limit.
    :param note: why the two cannot be compared.
    """

    measure: str
    old: float | None
    new: float | None
    difference: float | None
    limit: float | None = None
    regression: bool = False
    note: str = ''


def read_result(path: str | Path) -> dict[str, Any]:
    """
    Read a result that a command wrote with ``--json``.

    :raises ValueError: the file is not JSON, or not a result.
    :raises OSError: the file cannot be read.
    """
    try:
        result = json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(
            f'{path}: {_expected("replay")}; found no JSON ({error}). {_REMEDY}'
        ) from error
    if not isinstance(result, dict):
        raise ValueError(
            f'{path}: {_expected("replay")}; found a {type(result).__name__}. {_REMEDY}'
        )
    return result


def known(value: Any) -> float | None:
    """Return a figure of a result; None if it was not measured (null in JSON, nan in Python)."""
    return float(value) if isinstance(value, (int, float)) and isfinite(value) else None


def latency_ratio(result: Result) -> float | None:
    """Return the median latency in runs of the reference network; None if one is missing."""
    latency = known((result.get('latency_ms') or {}).get('p50'))
    reference = known(result.get('reference_ms'))
    return latency / reference if latency is not None and reference else None


def regressions(
    old: Result, new: Result, limits: Limits, source: str = 'baseline'
) -> list[Change]:
    """
    Return the changes of all measures between two results of ``replay``.

    :param old: the older result, see :func:`read_result`.
    :param new: the newer result.
    :param limits: the limits beyond which a change is a regression.
    :param source: name of the older result in error messages.
    :raises ValueError: the older result is of another command, other drives or other classes.
    """
    _check(old, new, source)
    changes = [
        _change('mIoU', old['miou'], new['miou'], -limits.miou_drop),
        _change('flicker', old['flicker'], new['flicker'], limits.flicker_rise),
        _latency_change(old, new, limits.latency_rise),
        _change('frames', old['frames_out'], new['frames_out'], -0.0),
        _change('confidence', old['confidence'], new['confidence']),
    ]
    iou = new['iou'] or {}
    return changes + [_change(f'IoU {name}', old['iou'][name], iou[name]) for name in iou]


def table(changes: Sequence[Change]) -> str:
    """Return the changes that have a limit or are not 0 as text; regressions are marked."""
    lines = [f'{"":<20}{"before":>10}{"now":>10}{"change":>10}{"limit":>10}']
    for change in changes:
        if change.limit is None and not change.difference:
            continue
        form, amount = _FORMS.get(change.measure, ('.4f', '+.4f'))
        cells = (
            number(change.old, form), number(change.new, form),
            number(change.difference, amount), number(change.limit, amount),
        )  # fmt: skip
        end = f'  {change.note}' if change.note else '  REGRESSION' if change.regression else ''
        lines.append(f'{change.measure:<20}' + ''.join(f'{cell:>10}' for cell in cells) + end)
    return '\n'.join(line.rstrip() for line in lines)


_FORMS = {'latency ratio': ('.3f', '+.1%'), 'frames': ('.0f', '+.0f')}


def _check(old: Result, new: Result, source: str) -> None:
    check_kind(old, source, REPLAY, 'replay')
    if (old['miou'] is None) != (new['miou'] is None):
        has = (
            ('without ground truth, as this one', 'has')
            if new['miou'] is None
            else ('with ground truth, as this one', 'has none')
        )
        raise ValueError(f'{source}: expected a result {has[0]}; found one that {has[1]}. {_SAME}')
    for ours, theirs in zip((_frames(new), _classes(new)), (_frames(old), _classes(old))):
        if ours != theirs:
            raise ValueError(
                f'{source}: expected a result of {_listed(ours)}, as this one; found '
                f'{_listed(theirs)}. {_SAME}'
            )


_REMEDY = 'Write it with that command'
_SAME = 'Replay the same bags, with the same topics and labels, for both'


def _expected(verb: str) -> str:
    return f'expected a result of `seg_ros {verb} ... --json`'


def check_kind(result: Result, source: str, keys: Sequence[str], verb: str) -> None:
    """
    Raise an error if a result is of another command.

    :param source: name of the result in error messages.
    :param keys: the keys that a result of the command has.
    :param verb: the command.
    :raises ValueError: the result lacks one of the keys, or a value is of the wrong type.
    """
    missing = [key for key in keys if key not in result]
    if missing:
        raise ValueError(
            f'{source}: {_expected(verb)}; found one without {", ".join(missing)}. {_REMEDY}'
        )
    for key, kind in (('latency_ms', dict), ('drives', list)):
        if key in keys and not isinstance(result[key], kind):
            raise ValueError(
                f'{source}: {_expected(verb)}; found {key}: {result[key]!r}. {_REMEDY}'
            )


def _frames(result: Result) -> list[str]:
    """Return the number of frames of each camera of each drive, in words."""
    return [
        f'{camera["frames_in"]} frames on {topic}'
        for drive in result['drives']
        for topic, camera in drive['cameras'].items()
    ]


def _classes(result: Result) -> list[str]:
    return [f'class {name}' for name in result['iou'] or ()]


def _listed(texts: Sequence[str]) -> str:
    shown = ', '.join(texts[:6]) or 'none'
    return f'{shown} and {len(texts) - 6} more' if len(texts) > 6 else shown


def _change(measure: str, old: Any, new: Any, limit: float | None = None) -> Change:
    """
    Return the change of a measure.

    :param limit: the largest fall if it is negative (also -0.0), or the largest rise.
    """
    old, new = known(old), known(new)
    if old is None or new is None:
        note = '' if old is new else 'measured in one only'
        return Change(measure, old, new, None, limit, note=note)
    difference = new - old
    return Change(measure, old, new, difference, limit, _exceeds(difference, limit))


def _exceeds(difference: float, limit: float | None) -> bool:
    return limit is not None and copysign(1, limit) * (difference - limit) > ROUNDING


def _latency_change(old: Result, new: Result, limit: float) -> Change:
    before, now = latency_ratio(old), latency_ratio(new)
    kinds = [str(result.get('device')).partition(':')[0] for result in (old, new)]
    if kinds[0] != kinds[1]:
        note = f'not compared: measured on {kinds[0]} before, on {kinds[1]} now'
    elif old.get('confidence_image') != new.get('confidence_image'):
        note = 'not compared: one of the two made confidence images as well (--out)'
    elif before is None or now is None:
        note = 'not compared: not measured in both'
    else:
        rise = now / before - 1
        return Change('latency ratio', before, now, rise, limit, _exceeds(rise, limit))
    return Change('latency ratio', before, now, None, limit, note=note)
