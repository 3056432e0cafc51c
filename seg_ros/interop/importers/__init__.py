# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Other projects' weights, made into checkpoints that give the same logits.

Each project and network has an :class:`Importer`, which knows the file's names and what the
project does to an image. ``choice`` finds the one for a file, and checks what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from ...inference.preprocessing import Preprocessing

COUNTER = 'num_batches_tracked'
"""Of a batch norm: it plays no part in what a trained network computes."""


class UnsupportedError(ValueError):
    """Weights that cannot be imported; the message says what was found and is supported."""


def class_count(tensors: Mapping[str, Tensor], classifier: str) -> int:
    """
    Return how many classes a classifier tells apart.

    :param classifier: the name of its kernel.
    :raises UnsupportedError: that is no kernel of a convolution.
    """
    shape = tuple(tensors[classifier].shape)
    if len(shape) != 4:
        raise UnsupportedError(
            f'expected the kernel of a convolution named {classifier}; found {shape}'
        )
    return shape[0]


class Conversion(NamedTuple):
    """
    What an importer makes of a file's tensors.

    :param architecture: what :func:`seg_ros.models.build_model` takes, the class count included.
    :param sources: the file's name of each tensor of our network but counters of batches.
    :param left_out: the file's tensors that our network does without, and why nothing is lost;
        counters of batches need not be named.
    :param preprocessing: what the project does to an image.
    :param input_size: (height, width) that the project's published mIoU is measured at.
    """

    architecture: dict[str, Any]
    sources: dict[str, str]
    left_out: dict[str, str]
    preprocessing: Preprocessing
    input_size: tuple[int, int]


@dataclass(frozen=True)
class Importer:
    """
    What is known of one project's files of one network.

    :param project: ``coincheung``, ``mmsegmentation``, ``paddleseg`` or ``liminn``.
    :param network: such as BiSeNetV2.
    :param url: where the project is published.
    :param mark: tensors that together only this project's files of this network have.
    :param variants: those that are supported, for messages.
    :param convert: takes the file's tensors by name; raises :class:`UnsupportedError` for a
        variant that it does not know.
    """

    project: str
    network: str
    url: str
    mark: tuple[str, ...]
    variants: str
    convert: Callable[[Mapping[str, Tensor]], Conversion]

    def __str__(self) -> str:
        return f'{self.network} of {self.project} ({self.variants})'
