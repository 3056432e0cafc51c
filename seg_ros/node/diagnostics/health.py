# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How cameras and network are, for /diagnostics: what is known, what is wrong, what to do.

Times are of a clock that only goes forward; ages alone are by the node's, which may jump.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from time import monotonic
from typing import Any, TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticStatus

from ...images.image_file import Image
from ...inference.segmentation import Segmentation
from .camera_problems import find_problems, Thresholds
from .diagnostic_status import ERROR, make_status, Problem, WARN
from .image_statistics import Look, look, same
from .model_file import ModelFile
from .process_metadata import cuda_memory, process_facts
from .sliding_window import percentile, Recent

if TYPE_CHECKING:
    from ...inference.segmenter import Segmenter

WINDOW = 10
"""Seconds that rates, shares and percentiles are over; the one that runs is one of them."""

MEMORY = 60
"""Seconds before those, which the share of low confidence is compared with."""

LEARNED = 10
"""Frames that there must have been in these."""

PICTURE_SECONDS = 2
"""Seconds that brightness and saturation are over, so that one dark picture is no fault."""

BELIEVED = (-1.0, 3600.0)
"""Seconds of age that a frame can have; beyond, its stamp and the node's clock do not agree."""

LONGEST_REASON = 500
"""Characters."""

COUNTED = ('received', 'processed', 'replaced', 'too_old', 'failed')


class CameraHealth:
    """
    What becomes of one camera's frames, as told by the threads that receive and answer them.

    :param name: the camera's.
    :param clock: seconds that only go forward.
    :ivar topic: where its images come from; the name until somebody says.
    :ivar qos_problem: which publisher or subscriber does not fit and how to mend it; empty where
        all do.
    """

    def __init__(self, name: str, clock: Callable[[], float] = monotonic) -> None:
        self.name = name
        self.topic = name
        self.qos_problem = ''
        self._clock = clock
        self._lock = Lock()
        self._counts = dict.fromkeys(COUNTED, 0)
        self._failure: tuple[float, str] | None = None
        self._forget()

    def _forget(self) -> None:
        """Begin anew, but for what counts since the node began."""
        self._recent = Recent(WINDOW + MEMORY)
        self._since: float | None = None
        self._last_image: float | None = None
        self._unanswered: float | None = None
        self._last_too_old: float | None = None
        self._picture: Look | None = None
        self._first_looked = self._last_looked = 0.0
        self._size = (0, 0)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many frames were each of :data:`COUNTED` since the node began."""
        with self._lock:
            return dict(self._counts)

    def received(self) -> None:
        """Count a frame that came."""
        with self._lock:
            self._last_image = self._count('received')
            if self._unanswered is None:
                self._unanswered = self._last_image

    def replaced(self) -> None:
        """Count a frame that a newer one replaced before its turn."""
        with self._lock:
            self._count('replaced')

    def too_old(self, age: float) -> None:
        """
        Count a frame that was too old when its turn came.

        :param age: in seconds by the node's clock.
        """
        with self._lock:
            self._count('too_old')
            self._last_too_old = age
            self._unanswered = None

    def failed(self, reason: str) -> None:
        """
        Count a frame that could not be answered.

        :param reason: what an error says; its lines become one, cut where that is long.
        """
        reason = ' '.join(reason.split())[:LONGEST_REASON]
        with self._lock:
            self._failure = self._count('failed'), reason
            self._unanswered = None

    def published(self, age: float, late: bool, image: Image, seen: Segmentation) -> None:
        """
        Count a frame whose mask is out.

        :param age: in seconds by the node's clock; anything, where that or the stamp is off.
        :param late: whether the mask missed its deadline.
        :param image: uint8 RGB, (H, W, 3), of which a small part is copied.
        """
        picture = look(image)
        with self._lock:
            now = self._count('processed')
            self._unanswered = None
            second = self._recent.second(now)
            if BELIEVED[0] <= age <= BELIEVED[1]:
                second.ages.append(age)
            else:
                second.sums['doubted'] += 1
            for what, amount in {
                'late': late,
                'brightness': picture.brightness,
                'saturated': picture.saturated,
                'confidence': seen.mean_confidence,
                'low_confidence': seen.low_confidence,
            }.items():
                second.sums[what] += amount
            silent = now - self._last_looked > WINDOW
            if silent or not same(self._picture, picture):
                self._picture, self._first_looked = picture, now
            self._last_looked = now
            self._size = image.shape[:2]

    def _count(self, what: str) -> float:
        """Count something, and return when."""
        now = self._clock()
        if self._since is None:
            self._since = now
        self._counts[what] += 1
        self._recent.second(now).sums[what] += 1
        return now

    def status(self, prefix: str, thresholds: Thresholds, watched: bool) -> DiagnosticStatus:
        """
        Return how the camera is; call it once a second, also while nothing is answered.

        :param prefix: what the status's name begins with.
        :param watched: whether images are to be answered. While they are not, nothing is wrong;
            when they are again, the camera is judged anew.
        """
        with self._lock:
            now = self._clock()
            if not watched:
                self._forget()
            values = self._values(now)
            settled = self._since is not None and now - self._since >= WINDOW
        problems = find_problems(values, thresholds, settled) if watched else ()
        rates = values['output rate (Hz)'], values['input rate (Hz)']
        message = 'answering'
        if not watched:
            message = 'not active'
        elif None not in rates:
            message = 'answering {:.1f} of {:.1f} images a second'.format(*rates)
        return make_status(f'{prefix}: camera {self.name}', problems, message, values, self.name)

    def _values(self, now: float) -> dict[str, Any]:
        """Return all that is known, by its name in the status; None is what is not."""
        sums = self._recent.sums(now, WINDOW)
        before = self._recent.sums(now, MEMORY, WINDOW)
        pictures = self._recent.sums(now, PICTURE_SECONDS)
        ages = self._recent.ages(now, WINDOW)
        begun = now if self._since is None else self._since
        span = now - max(begun, int(now) - WINDOW + 1)
        masks, tried = sums['processed'], sums['processed'] + sums['failed']
        low = _ratio(sums['low_confidence'], masks)
        usual = _ratio(before['low_confidence'], before['processed'])
        rise = None if low is None or usual is None else low - usual
        return {
            'topic': self.topic,
            **{what.replace('_', ' '): count for what, count in self._counts.items()},
            'input rate (Hz)': sums['received'] / span if span >= 1 else None,
            'output rate (Hz)': masks / span if span >= 1 else None,
            'last image (s ago)': _ago(now, self._last_image),
            'unanswered for (s)': _ago(now, self._unanswered),
            **{
                f'age p{percent} (ms)': _ratio(percentile(ages, percent / 100), 1e-3)
                for percent in (50, 95, 99)
            },
            'ages not believed': int(sums['doubted']),
            'late share': _ratio(sums['late'], masks),
            'failed share': _ratio(sums['failed'], tried),
            'too old share': _ratio(sums['too_old'], tried + sums['too_old']),
            'last too old (ms)': _ratio(self._last_too_old, 1e-3),
            'replaced share': _ratio(min(sums['replaced'], sums['received']), sums['received']),
            'last failure': self._failure and self._failure[1],
            'last failure (s ago)': _ago(now, self._failure and self._failure[0]),
            'QoS problem': self.qos_problem,
            'image size': '{1}x{0}'.format(*self._size) if self._picture else None,
            'brightness (0-255)': _ratio(pictures['brightness'], pictures['processed']),
            'saturated share': _ratio(pictures['saturated'], pictures['processed']),
            'same picture for (s)': self._last_looked - self._first_looked,
            'mean confidence': _ratio(sums['confidence'], masks),
            'low confidence share': low,
            'low confidence rise': rise if before['processed'] >= LEARNED else None,
        }


class NetworkHealth:
    """
    What the network runs on, and what is wrong with it.

    :ivar state: active, inactive, disabled or unconfigured.
    :ivar problem: what is wrong, and what the node does about it; empty where nothing is.
    :ivar failed: whether it is an error, no warning.
    """

    def __init__(self) -> None:
        self.state = 'unconfigured'
        self.problem = ''
        self.failed = False
        self._file = ModelFile()

    def status(
        self,
        prefix: str,
        segmenter: Segmenter | None,
        values: Mapping[str, Any],
        points: Mapping[str, float],
    ) -> DiagnosticStatus:
        """
        Return how the network is.

        :param prefix: what the status's name begins with.
        :param segmenter: the one in use, if any.
        :param values: of the node's parameters.
        :param points: the share of recent frames by the exit or size that answered them.
        """
        problems = []
        if self.problem:
            problems.append(Problem(ERROR if self.failed else WARN, self.problem))
        facts: dict[str, object] = {'state': self.state, 'model': values['model']}
        if segmenter is not None:
            if text := self._file.problem(segmenter.model, segmenter.checkpoint.sha256):
                problems.append(Problem(WARN, text))
            facts |= {
                'model': segmenter.model,
                'model SHA-256': segmenter.checkpoint.sha256,
                'classes': len(segmenter.labels),
                'backend': segmenter.backend,
                'device': segmenter.device,
                'precision': segmenter.precision,
                'input size': '{1}x{0}'.format(*segmenter.input_size),
                'exit or size in use': max(points, key=lambda name: points[name], default=None),
                **{f'share of {name}': share for name, share in points.items()},
                **cuda_memory(segmenter.device),
            }
        facts |= process_facts()
        device = segmenter.device if segmenter is not None else ''
        return make_status(f'{prefix}: network', problems, self.state, facts, device)


def _ratio(part: float | None, whole: float) -> float | None:
    return part / whole if part is not None and whole else None


def _ago(now: float, then: float | None) -> float | None:
    return None if then is None else now - then
