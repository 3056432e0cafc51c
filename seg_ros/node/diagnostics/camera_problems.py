# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Finding a camera's problems by comparing its status values with the parameters' limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .diagnostic_status import ERROR, Problem, STALE, WARN


@dataclass(frozen=True)
class Thresholds:
    """The values of the parameters `diagnostics.*`, which `doc/diagnostics.md` explains."""

    stale_ms: int
    min_rate: float
    max_age_ms: int
    max_failed: float
    max_replaced: float
    max_late: float
    frozen_ms: int
    min_brightness: float
    max_saturated: float
    max_low_confidence: float
    max_low_confidence_rise: float


def find_problems(
    known: Mapping[str, Any], limits: Thresholds, settled: bool
) -> Iterator[Problem]:
    """
    Find the problems of a camera whose images should be answered, each with its remedy.

    :param known: the values of the camera's status by their keys; None for unknown ones.
    :param limits: the limits that the values must keep.
    :param settled: whether the camera was watched for long enough to judge its rate.
    """
    silent = list(_silence(known, limits))
    yield from silent
    if known['QoS problem']:
        yield Problem(WARN, known['QoS problem'])
    if settled and not silent:
        yield from _rate(known, limits)
    yield from _frames(known, limits)
    yield from _pictures(known, limits)


def _silence(known: Mapping[str, Any], limits: Thresholds) -> Iterator[Problem]:
    """Find reasons why no masks come at all."""
    topic, patience = known['topic'], limits.stale_ms / 1000
    if (ago := known['last image (s ago)']) is None:
        yield Problem(
            STALE,
            f'waiting for the first image on {topic}. Check that the camera runs, publishes '
            f'there and has the same ROS_DOMAIN_ID: ros2 topic info -v {topic}',
        )
    elif _exceeds(ago, patience) and patience:
        yield Problem(
            STALE,
            f'no image on {topic} for {ago:.1f} s. Check the camera, its driver and the network '
            'between',
        )
    if _exceeds(waits := known['unanswered for (s)'], patience) and patience:
        yield Problem(
            ERROR,
            f'images come, but none has been answered for {waits:.1f} s. See the log and the '
            "network's status; if nothing there helps, start the node again",
        )
    if known['failed share'] == 1:
        yield Problem(
            ERROR, f'every frame of the last 10 s failed, the last with: {known["last failure"]}'
        )
    if known['too old share'] == 1:
        yield Problem(
            ERROR,
            'every frame of the last 10 s was older than max_age_ms when its turn came, the last '
            f'{known["last too old (ms)"]:.0f} ms. Check that the clocks of camera and node agree '
            '(use_sim_time, chrony), then that the network keeps up; or raise max_age_ms',
        )


def _rate(known: Mapping[str, Any], limits: Thresholds) -> Iterator[Problem]:
    rate = known['output rate (Hz)']
    if rate < limits.min_rate:
        yield Problem(
            WARN,
            f'{rate:.1f} masks a second of {known["input rate (Hz)"]:.1f} images; expected at '
            f'least {limits.min_rate:g}. Let the camera send as many, or make the network faster '
            '(doc/latency.md)',
        )


def _frames(known: Mapping[str, Any], limits: Thresholds) -> Iterator[Problem]:
    """Find too many failed, late or replaced frames, or too high an age, in the last seconds."""
    failed, late, replaced, age = (
        known[key] for key in ('failed share', 'late share', 'replaced share', 'age p95 (ms)')
    )
    if _exceeds(failed, limits.max_failed) and failed < 1:
        yield Problem(
            WARN, f'{failed:.1%} of the frames failed, the last with: {known["last failure"]}'
        )
    if (doubted := known['ages not believed']) and (limits.max_age_ms or late):
        yield Problem(
            WARN,
            f"{doubted} frames have stamps that do not go with the node's clock, so nobody knows "
            'their age. Set use_sim_time on both or none, and let the computers agree on the '
            'time (chrony, PTP)',
        )
    if limits.max_age_ms and _exceeds(age, limits.max_age_ms):
        yield Problem(
            WARN,
            f'p95 of the age at publish is {age:.0f} ms; expected at most {limits.max_age_ms}. '
            'Look at transport (doc/transport.md), then at the network (doc/latency.md)',
        )
    if _exceeds(late, limits.max_late):
        yield Problem(
            WARN,
            f'{late:.1%} of the masks came later than deadline_ms; expected at most '
            f'{limits.max_late:.1%}. Free the computer of other work, raise deadline_ms, or '
            'choose a smaller input or network (doc/latency.md)',
        )
    if _exceeds(replaced, limits.max_replaced):
        yield Problem(
            WARN,
            f'{replaced:.1%} of the images were replaced by newer ones before their turn; '
            f'expected at most {limits.max_replaced:.1%}. Make the network faster '
            '(doc/latency.md), or let the camera send fewer',
        )


def _pictures(known: Mapping[str, Any], limits: Thresholds) -> Iterator[Problem]:
    """Find bad image statistics (frozen, black, saturated) and low confidence."""
    same, brightness, saturated, low, rise = (
        known[key]
        for key in (
            'same picture for (s)',
            'brightness (0-255)',
            'saturated share',
            'low confidence share',
            'low confidence rise',
        )
    )
    if limits.frozen_ms and _exceeds(same, limits.frozen_ms / 1000):
        yield Problem(
            WARN,
            f'frozen: the same picture for {same:.1f} s, though new images come. Start the '
            "camera's driver again; if the scene is a simulated one at rest, raise "
            'diagnostics.frozen_ms',
        )
    if brightness is not None and brightness < limits.min_brightness:
        yield Problem(
            WARN,
            f'black: a mean brightness of {brightness:.1f} of 255; expected at least '
            f"{limits.min_brightness:g}. Check the lens' cover, the light and the exposure",
        )
    if _exceeds(saturated, limits.max_saturated):
        yield Problem(
            WARN,
            f'saturated: {saturated:.1%} of the pixels are white; expected at most '
            f'{limits.max_saturated:.1%}. Check the exposure, and for sun in the lens',
        )
    if _exceeds(low, limits.max_low_confidence):
        yield Problem(
            WARN,
            f'low confidence in {low:.1%} of the pixels; expected at most '
            f'{limits.max_low_confidence:.1%}. Look at the overlay: is the picture as it should '
            'be, and is it of what the model was trained on?',
        )
    if _exceeds(rise, limits.max_low_confidence_rise):
        yield Problem(
            WARN,
            f'low confidence in {rise:.1%} more of the pixels than in the minute before; '
            f'expected at most {limits.max_low_confidence_rise:.1%}. Look at the overlay: did '
            'the weather, the light or the lens change?',
        )


def _exceeds(value: float | None, limit: float) -> bool:
    return value is not None and value > limit
