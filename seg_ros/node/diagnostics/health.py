# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The health of cameras and network for /diagnostics: values, problems and remedies.

Times are of a monotonic clock; only ages are by the node's clock, which may jump.
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
from .image_statistics import image_statistics, ImageStatistics, same_image
from .model_file import ModelFile
from .process_metadata import cuda_memory, process_metadata
from .sliding_window import percentile, Recent

if TYPE_CHECKING:
    from ...inference.segmenter import Segmenter

WINDOW = 10
"""The seconds that rates, shares and percentiles are taken over, the current one included."""

MEMORY = 60
"""The seconds before :data:`WINDOW`, with which the share of low confidence is compared."""

LEARNED = 10
"""The fewest frames in :data:`MEMORY` for that comparison."""

PICTURE_SECONDS = 2
"""The seconds that brightness and saturation are averaged over, as one dark image is no fault."""

BELIEVED = (-1.0, 3600.0)
"""The credible ages in seconds; with others, a frame's stamp does not fit the node's clock."""

LONGEST_REASON = 500
"""The most characters of a failure's reason."""

COUNTED = ('received', 'processed', 'replaced', 'too_old', 'failed')
"""The counts of a camera's frames."""


class CameraHealth:
    """
    Counts and judges one camera's frames, as reported by the threads that receive and answer them.

    :param name: the camera's name.
    :param clock: returns the seconds of a monotonic clock.
    :ivar topic: the topic of the camera's images; the name until it is set.
    :ivar qos_problem: which publisher or subscriber has a QoS that does not fit, and how to mend
        it; empty if all fit.
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
        """Forget everything except the counts since the node began."""
        self._recent = Recent(WINDOW + MEMORY)
        self._since: float | None = None
        self._last_image: float | None = None
        self._unanswered: float | None = None
        self._last_too_old: float | None = None
        self._statistics: ImageStatistics | None = None
        self._first_looked = self._last_looked = 0.0
        self._size = (0, 0)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of frames for each of :data:`COUNTED` since the node began."""
        with self._lock:
            return dict(self._counts)

    def received(self) -> None:
        """Count a received frame."""
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

        :param age: the frame's age in seconds by the node's clock.
        """
        with self._lock:
            self._count('too_old')
            self._last_too_old = age
            self._unanswered = None

    def failed(self, reason: str) -> None:
        """
        Count a frame that could not be answered.

        :param reason: the error's message; its lines become one, which is cut if it is long.
        """
        reason = ' '.join(reason.split())[:LONGEST_REASON]
        with self._lock:
            self._failure = self._count('failed'), reason
            self._unanswered = None

    def published(self, age: float, late: bool, image: Image, result: Segmentation) -> None:
        """
        Count a frame whose mask was published.

        :param age: the mask's age in seconds by the node's clock; it may have any value if that
            clock or the stamp is wrong.
        :param late: whether the mask missed its deadline.
        :param image: uint8 RGB, (H, W, 3), of which a small part is copied.
        :param result: the segmentation of the image.
        """
        statistics = image_statistics(image)
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
                'brightness': statistics.brightness,
                'saturated': statistics.saturated,
                'confidence': result.mean_confidence,
                'low_confidence': result.low_confidence,
            }.items():
                second.sums[what] += amount
            silent = now - self._last_looked > WINDOW
            if silent or not same_image(self._statistics, statistics):
                self._statistics, self._first_looked = statistics, now
            self._last_looked = now
            self._size = image.shape[:2]

    def _count(self, what: str) -> float:
        """Add 1 to the count ``what``, and return the time."""
        now = self._clock()
        if self._since is None:
            self._since = now
        self._counts[what] += 1
        self._recent.second(now).sums[what] += 1
        return now

    def status(self, prefix: str, thresholds: Thresholds, watched: bool) -> DiagnosticStatus:
        """
        Return the camera's status; call it once a second, even while no images are answered.

        :param prefix: the begin of the status's name.
        :param thresholds: the limits of the status's values.
        :param watched: whether images should be answered. While they should not, there are no
            problems; when they should again, only newer frames count.
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
        """Return the status's values by their keys; None for unknown ones."""
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
            'image size': '{1}x{0}'.format(*self._size) if self._statistics else None,
            'brightness (0-255)': _ratio(pictures['brightness'], pictures['processed']),
            'saturated share': _ratio(pictures['saturated'], pictures['processed']),
            'same picture for (s)': self._last_looked - self._first_looked,
            'mean confidence': _ratio(sums['confidence'], masks),
            'low confidence share': low,
            'low confidence rise': rise if before['processed'] >= LEARNED else None,
        }


class NetworkHealth:
    """
    The network's status: its file, backend, device and problems.

    :ivar state: active, inactive, disabled or unconfigured.
    :ivar problem: what is wrong and what the node does about it; empty if nothing is wrong.
    :ivar failed: whether the problem is an error instead of a warning.
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
        Return the network's status.

        :param prefix: the begin of the status's name.
        :param segmenter: the network in use; None if there is none.
        :param values: the values of the node's parameters by name.
        :param points: the share of recent frames that each operating point answered, by its name.
        """
        problems = []
        if self.problem:
            problems.append(Problem(ERROR if self.failed else WARN, self.problem))
        metadata: dict[str, object] = {'state': self.state, 'model': values['model']}
        if segmenter is not None:
            if text := self._file.problem(segmenter.model, segmenter.checkpoint.sha256):
                problems.append(Problem(WARN, text))
            metadata |= {
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
        metadata |= process_metadata()
        device = segmenter.device if segmenter is not None else ''
        return make_status(f'{prefix}: network', problems, self.state, metadata, device)


def _ratio(part: float | None, whole: float) -> float | None:
    return part / whole if part is not None and whole else None


def _ago(now: float, then: float | None) -> float | None:
    return None if then is None else now - then
