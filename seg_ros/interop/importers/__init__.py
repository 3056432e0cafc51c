# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Import of other projects' weights as checkpoints that give the same logits.

Each network of each project has an :class:`Importer`, which knows the names of the tensors and the
project's preprocessing. :mod:`.import_file` finds the importer for a file and checks its result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from ...inference.preprocessing import Preprocessing

COUNTER = 'num_batches_tracked'
"""The suffix of a batch norm's counter of batches, which does not affect a trained network."""


class UnsupportedError(ValueError):
    """Weights cannot be imported; the error says what was found and what is supported."""


def class_count(tensors: Mapping[str, Tensor], classifier: str) -> int:
    """
    Return the number of classes of a classifier.

    :param classifier: the name of its kernel.
    :raises UnsupportedError: the tensor is not the kernel of a convolution.
    """
    shape = tuple(tensors[classifier].shape)
    if len(shape) != 4:
        raise UnsupportedError(
            f'expected the kernel of a convolution named {classifier}; found {shape}'
        )
    return shape[0]


class Conversion(NamedTuple):
    """
    An importer's result: our network for a file's tensors, and the place of each tensor in it.

    :param architecture: the specification for :func:`seg_ros.models.build_model`, with the number
        of classes.
    :param sources: the name in the file of each tensor of our network, except counters of batches.
    :param left_out: the file's tensors that our network does not use, and why they are not needed;
        counters of batches need not be listed.
    :param preprocessing: the project's preprocessing.
    :param input_size: (height, width) at which the project measures its published mIoU.
    """

    architecture: dict[str, Any]
    sources: dict[str, str]
    left_out: dict[str, str]
    preprocessing: Preprocessing
    input_size: tuple[int, int]


@dataclass(frozen=True)
class Importer:
    """
    The import of one network of one project.

    :param project: ``coincheung``, ``mmsegmentation``, ``paddleseg`` or ``liminn``.
    :param network: the network's name, such as BiSeNetV2.
    :param url: the project's address.
    :param mark: names of tensors that together occur only in this project's files of this network.
    :param variants: the supported variants, in words for messages.
    :param convert: a function that takes the file's tensors by name; it raises
        :class:`UnsupportedError` for variants that are not supported.
    """

    project: str
    network: str
    url: str
    mark: tuple[str, ...]
    variants: str
    convert: Callable[[Mapping[str, Tensor]], Conversion]

    def __str__(self) -> str:
        return f'{self.network} of {self.project} ({self.variants})'
