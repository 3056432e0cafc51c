# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of engines: a network compiled for one input size, device and precision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import ClassVar

from torch import Tensor

from ..checkpoint import Checkpoint
from .cache import Report


class EngineError(ValueError):
    """A device, backend or precision is not available; the error says which are."""


class Engine(ABC):
    """
    A network that is ready to run.

    :param checkpoint: the network; it is not changed, and the engine shares no memory with it.
    :param input_size: (height, width) of the images that :meth:`logits` will get.
    :param device: ``cpu``, ``cuda`` or ``cuda:N``.
    :param precision: one of :meth:`precisions`.
    :param report: called with messages about slow steps and about problems.
    :raises EngineError: the engine is not available with these arguments.
    """

    backend: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """The Python packages that the engine needs besides PyTorch."""
    recordable: ClassVar[bool] = False
    """Whether the engine's work can be recorded as a CUDA graph."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        input_size: tuple[int, int],
        device: str,
        precision: str,
        report: Report,
    ) -> None:
        self.device = device
        self.precision = precision

    @classmethod
    def installed(cls) -> bool:
        """Return whether all the packages that the engine needs are installed."""
        return all(find_spec(package) is not None for package in cls.packages)

    @classmethod
    def runs_on(cls, device: str) -> bool:
        """Return whether the engine supports a device; only called if it is installed."""
        return True

    @classmethod
    @abstractmethod
    def precisions(cls, device: str) -> tuple[str, ...]:
        """Return the precisions that the engine has on a device; ``auto`` means the first."""

    @abstractmethod
    def logits(self, pixels: Tensor) -> Tensor:
        """
        Run the network.

        Several threads may call this. The result may be overwritten by the next call of the same
        thread.

        :param pixels: RGB, uint8, (N, h, w, 3) of the input size, contiguous, on the device. N is
            1 on a CPU.
        :returns: logits at the network's own stride, float32, (N, C, h', w'), on the device.
        """
