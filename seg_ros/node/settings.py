# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What frames are segmented with, and how that is made from the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import gc
from time import monotonic
from traceback import format_exception
from typing import Any, NamedTuple, TYPE_CHECKING

from rclpy.impl.rcutils_logger import RcutilsLogger

from ..images.ego_mask import EgoMask
from .parameters import ParameterError

if TYPE_CHECKING:
    from ..inference.checkpoint import Checkpoint
    from ..inference.deadline import Scheduler
    from ..inference.segmenter import Segmenter

NETWORK_PARAMETERS = (
    'model',
    'input_height',
    'input_width',
    'device',
    'backend',
    'precision',
)
"""A change of these takes another network."""


class NodeSettings(NamedTuple):
    """
    What frames are segmented with; replaced as a whole, so that no frame sees half a change.

    :param values: of all parameters.
    :param scheduler: the network, at one or several depths; None until the node is configured, and
        while a broken one is rebuilt.
    :param ego_masks: of the cameras that have one.
    """

    values: Mapping[str, Any]
    scheduler: Scheduler | None = None
    ego_masks: Mapping[str, EgoMask] = {}


def load(
    values: Mapping[str, Any],
    sizes: Sequence[tuple[int, int] | None],
    logger: RcutilsLogger,
    checkpoint: Checkpoint | None = None,
) -> Scheduler:
    """
    Return a network that is ready for the first frame.

    :param checkpoint: what was read from the model's file before; None reads it.
    :param sizes: (height, width) of each camera's images, None where it is not known yet.
    :raises ValueError: such a network cannot be had; the message says why and what to do.
    """
    start = monotonic()
    logger.info(f'loading {values["model"]}')
    # Here, as PyTorch takes seconds to import: signals and requests must not wait for it.
    from ..inference.segmenter import Segmenter

    chosen = {name: values[name] for name in NETWORK_PARAMETERS}
    if checkpoint is not None:
        chosen['model'] = checkpoint
    segmenter = Segmenter(**chosen, report=_reporter(logger))
    segmenter.model = values['model']
    segmenter.warm_up([size or segmenter.input_size for size in sizes])
    scheduler = deepen(segmenter, values, sizes, logger)
    # What is there now stays. To look through it for garbage takes 0.1 s, a frame's time.
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    logger.info(f'loaded in {monotonic() - start:.1f} s: {describe(scheduler)}')
    return scheduler


def deepen(
    segmenter: Segmenter,
    values: Mapping[str, Any],
    sizes: Sequence[tuple[int, int] | None],
    logger: RcutilsLogger,
) -> Scheduler:
    """Return a network at as many depths as a deadline needs, or at one. As :func:`load`."""
    from ..inference.deadline import make_scheduler, OperatingPoint, Scheduler

    if values['deadline_ms']:
        known = [size or segmenter.input_size for size in sizes]
        return make_scheduler(segmenter, known, _reporter(logger))
    height, width = segmenter.input_size
    return Scheduler([OperatingPoint(f'{width}x{height}', segmenter)])


def read_ego_masks(values: Mapping[str, Any]) -> dict[str, EgoMask]:
    """
    Return the ego masks of the cameras that have one.

    :raises ParameterError: one cannot be read.
    """
    masks = {}
    for name in values['cameras']:
        if path := values[f'{name}.ego_mask']:
            try:
                masks[name] = EgoMask(path)
            except (OSError, ValueError) as error:
                raise ParameterError(f'{name}.ego_mask: {error}') from error
    return masks


def describe(scheduler: Scheduler) -> str:
    """Return in words what runs."""
    segmenter = scheduler.points[0].segmenter
    height, width = segmenter.input_size
    names = [point.name for point in scheduler.points]
    depths = f' ({", ".join(names)} as time allows)' if len(names) > 1 else ''
    return (
        f'{len(segmenter.labels)} classes, input {width}x{height}{depths}, {segmenter.backend} in '
        f'{segmenter.precision} on {segmenter.device}'
    )


def explain(error: Exception) -> str:
    """Return a foreseen error's message; of any other the trace, as only that helps."""
    if isinstance(error, ValueError):
        return str(error)
    return ''.join(format_exception(error))


def brief(error: Exception) -> str:
    """Return what an error says, or at least what it is."""
    return str(error) or type(error).__name__


def _reporter(logger: RcutilsLogger) -> Any:
    # Not the logger's method: it takes each place in the code for one severity.
    return lambda line: logger.info(line)
