# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Finding a network to measure: a shipped one, a checkpoint, or a paper's network, untrained."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets.synthetic.sample_drive import SampleDrive
from ..images.labels import CITYSCAPES
from ..inference.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from ..inference.preprocessing import Preprocessing
from ..inference.quantization import calibrate
from ..models import build_model, NETWORKS, SegmentationNetwork
from ..models.bisenetv2 import BiSeNetV2
from ..models.cascade import Cascade

SETTLING_SIZE = (256, 128)
"""(width, height) of the images from which an untrained network learns its values' ranges."""


def find_network(name: str, size: tuple[int, int]) -> Checkpoint:
    """
    Return the network of a name, as a checkpoint in memory.

    :param name: one of :data:`seg_ros.models.NETWORKS`, which is untrained and has the 19
        classes of Cityscapes; or a shipped network's name, or a checkpoint's path. After a colon
        follow arguments of :func:`~seg_ros.models.build_model`, such as
        ``icnet:width=0.5,exit=sub4``; a trained network takes only ``exit``, and ``head_width``
        as a multiple of its own.
    :param size: (height, width) of an untrained network's input.
    :raises ValueError: there is no such network, or it does not take such an argument.
    """
    name, _, text = name.partition(':')
    arguments = _arguments(text)
    if name in NETWORKS:
        return _untrained({'num_classes': len(CITYSCAPES), **arguments, 'name': name}, size)
    checkpoint = load_checkpoint(find_checkpoint(name))
    if not arguments:
        return checkpoint
    architecture = {**checkpoint.architecture, **arguments}
    if set(arguments) == {'exit'} and isinstance(checkpoint.network, Cascade):
        network: SegmentationNetwork = checkpoint.network.ending(arguments['exit'])
    elif set(arguments) == {'head_width'} and isinstance(checkpoint.network, BiSeNetV2):
        network = _with_wide_head(checkpoint.network, architecture)
    else:
        raise ValueError(
            f'{name}: expected nothing after the name of trained weights but the exit of an ICNet '
            f'or the head_width of a BiSeNetV2; found {text!r}'
        )
    return replace(checkpoint, network=network.eval(), architecture=architecture)


def _with_wide_head(narrow: BiSeNetV2, architecture: dict[str, Any]) -> SegmentationNetwork:
    """
    Return a network with a wider head that computes the same, as its channels are repeated.

    With it a wide head that nobody has published weights for can be timed with realistic labels.
    """
    network = build_model(architecture)
    old, new = narrow.state_dict(), network.state_dict()
    before, after = (len(state['head.0.0.weight']) for state in (old, new))
    if after % before:
        raise ValueError(f'head_width: expected a multiple of {before}; found {after}')
    times = after // before
    for key in [key for key in old if key.startswith('head.0.') and old[key].ndim]:
        old[key] = torch.cat([old[key]] * times)
    old['head.1.weight'] = torch.cat([old['head.1.weight'] / times] * times, dim=1)
    network.load_state_dict(old)
    return network


def _arguments(text: str) -> dict[str, Any]:
    """Parse arguments such as ``width=0.5,exit=sub4``."""
    arguments: dict[str, Any] = {}
    for part in filter(None, text.split(',')):
        key, equals, value = part.partition('=')
        if not equals:
            raise ValueError(f'expected arguments as in width=0.5,exit=sub4; found {text!r}')
        arguments[key] = _number(value)
    return arguments


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _untrained(architecture: dict[str, Any], size: tuple[int, int]) -> Checkpoint:
    """Build an untrained network, always with the same weights, calibrated to run in 8 bits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_model(architecture)
        settle(network)
    checkpoint = Checkpoint(network, architecture, CITYSCAPES, size)
    ranges = calibrate(checkpoint, _frames().split(1))
    return replace(checkpoint, activation_ranges=ranges)


def settle(network: SegmentationNetwork) -> None:
    """
    Let an untrained network's batch norms learn from images, then switch to evaluation mode.

    Without this, values double from block to block until half precision cannot hold them, and
    processors take longer for numbers out of range.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the running statistics become the plain mean over the images
    network.train()
    with torch.no_grad():
        pixels = _frames().permute(0, 3, 1, 2).float()
        network.forward_train(Preprocessing().normalise(pixels))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    network.eval()


@cache
def _frames() -> Tensor:
    """Return two images, uint8 RGB, (2, h, w, 3)."""
    drive = SampleDrive(frames=2, size=SETTLING_SIZE)
    return torch.from_numpy(np.stack([drive[i][0] for i in range(2)]))
