# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's settings, and how the network is loaded from the parameters."""

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
"""The parameters whose change requires loading another network."""


class NodeSettings(NamedTuple):
    """
    The settings with which frames are segmented.

    They are replaced as a whole, so that no frame is segmented with half of a change.

    :param values: the values of all parameters by name.
    :param scheduler: the network at one or several operating points; None until the node is
        configured, and while a broken network is rebuilt.
    :param ego_masks: the ego masks by camera, for cameras that have one.
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
    Load the network, and return it ready for the first frame.

    :param values: the values of all parameters by name.
    :param sizes: (height, width) of each camera's images; None if it is not known yet.
    :param checkpoint: the content of the model's file if it was read before; None reads it.
    :raises ValueError: the network cannot be loaded; the message says why and what to do.
    """
    start = monotonic()
    logger.info(f'loading {values["model"]}')
    # Imported here, not above, as importing PyTorch takes seconds, for which signals and requests
    # must not wait.
    from ..inference.segmenter import Segmenter

    chosen = {name: values[name] for name in NETWORK_PARAMETERS}
    if checkpoint is not None:
        chosen['model'] = checkpoint
    segmenter = Segmenter(**chosen, report=_reporter(logger))
    segmenter.model = values['model']
    segmenter.warm_up([size or segmenter.input_size for size in sizes])
    scheduler = deepen(segmenter, values, sizes, logger)
    # The present objects stay, so the garbage collector need not search them, which takes 0.1 s.
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
    """
    Return a network at all operating points if there is a deadline, else at one.

    Parameters and errors are those of :func:`load`.
    """
    from ..inference.deadline import make_scheduler, OperatingPoint, Scheduler

    if values['deadline_ms']:
        known = [size or segmenter.input_size for size in sizes]
        return make_scheduler(segmenter, known, _reporter(logger))
    height, width = segmenter.input_size
    return Scheduler([OperatingPoint(f'{width}x{height}', segmenter)])


def read_ego_masks(values: Mapping[str, Any]) -> dict[str, EgoMask]:
    """
    Read the ego masks of the cameras that have one, and return them by camera.

    :raises ParameterError: an ego mask cannot be read.
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
    """Return a description of the network, its input and its backend."""
    segmenter = scheduler.points[0].segmenter
    height, width = segmenter.input_size
    names = [point.name for point in scheduler.points]
    depths = f' ({", ".join(names)} as time allows)' if len(names) > 1 else ''
    return (
        f'{len(segmenter.labels)} classes, input {width}x{height}{depths}, {segmenter.backend} in '
        f'{segmenter.precision} on {segmenter.device}'
    )


def explain(error: Exception) -> str:
    """Return the message of an expected error (ValueError), the whole trace of any other."""
    if isinstance(error, ValueError):
        return str(error)
    return ''.join(format_exception(error))


def brief(error: Exception) -> str:
    """Return an error's message, or its type if it has none."""
    return str(error) or type(error).__name__


def _reporter(logger: RcutilsLogger) -> Any:
    # A lambda, as rclpy's logger allows only one severity for each place in the code.
    return lambda line: logger.info(line)
