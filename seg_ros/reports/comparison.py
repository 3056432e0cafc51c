# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Results of `replay` against older ones: what moved, and whether it is a regression."""

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
"""What tells a result of ``replay``."""

ROUNDING = 1e-9
"""So much beyond a limit is none: 0.70 less 0.69 is more than 0.01."""

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """
    How much worse a result may be than the one before.

    :param miou_drop: mean IoU that may be lost, of 1.
    :param flicker_rise: share of pixels that may flicker more.
    :param latency_rise: share of itself that the median latency may grow, measured in runs of the
        reference network, so that machines of different speed compare.
    """

    miou_drop: float = 0.01
    flicker_rise: float = 0.01
    latency_rise: float = 0.25


class Change(NamedTuple):
    """
    A measure in two results.

    :param difference: new less old, of latency as a share of the old one; None where the two
        cannot be compared.
    :param limit: the largest difference for the worse, None where there is none.
    :param note: why they cannot be compared.
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
    Read what a command wrote with ``--json``.

    :raises ValueError: it is not JSON, or no result.
    :raises OSError: it cannot be read.
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
    """Return a figure of a result; None where nothing was measured, in JSON and out of it."""
    return float(value) if isinstance(value, (int, float)) and isfinite(value) else None


def latency_ratio(result: Result) -> float | None:
    """Return the median latency in runs of the reference network; None of no such result."""
    latency = known((result.get('latency_ms') or {}).get('p50'))
    reference = known(result.get('reference_ms'))
    return latency / reference if latency is not None and reference else None


def regressions(
    old: Result, new: Result, limits: Limits, source: str = 'baseline'
) -> list[Change]:
    """
    Return what moved between two results of ``replay``.

    :param old: as :func:`read_result` returns it.
    :param source: what to call the old one in an error.
    :raises ValueError: the old one is no such result, or one of other drives or classes.
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
    """Return what has a limit, and what else moved, as lines of text; regressions are marked."""
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
    Refuse a result of another command.

    :param keys: what those of the right one hold.
    :raises ValueError: it lacks one of them.
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
    """Return how many frames each camera of each drive had."""
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
    Compare a measure.

    :param limit: what it may fall if the sign is minus, or rise.
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
