# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an engine is: a network compiled for one input size, device and precision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import ClassVar

from torch import Tensor

from ..checkpoint import Checkpoint
from .cache import Report


class EngineError(ValueError):
    """A device, backend or precision that is not to be had here; the message says what is."""


class Engine(ABC):
    """
    A network that is ready to run.

    :param checkpoint: left as it is; engines share nothing with it.
    :param input_size: (height, width) of the pixels to come.
    :param device: ``cpu``, ``cuda`` or ``cuda:N``.
    :param precision: one of :meth:`precisions`.
    :param report: told what takes long, and what went wrong on the way.
    :raises EngineError: it cannot be had like this; the message says what can.
    """

    backend: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """What must be installed besides PyTorch."""
    recordable: ClassVar[bool] = False
    """Whether a CUDA graph can hold what it does."""

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
        """Return whether all that it needs is there."""
        return all(find_spec(package) is not None for package in cls.packages)

    @classmethod
    def runs_on(cls, device: str) -> bool:
        """Return whether it has any use for a device; asked only where it is installed."""
        return True

    @classmethod
    @abstractmethod
    def precisions(cls, device: str) -> tuple[str, ...]:
        """Return what it computes in on the device, first what ``auto`` stands for."""

    @abstractmethod
    def logits(self, pixels: Tensor) -> Tensor:
        """
        Run the network.

        Several threads may call it. What it returns may be overwritten by the same thread's next
        call.

        :param pixels: RGB, uint8, (N, h, w, 3) of the input size, contiguous, on the device. N is
            1 on a CPU.
        :returns: logits at the network's own stride, float32, (N, C, h', w'), on the device.
        """
