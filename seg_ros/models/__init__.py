# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The networks, from tensors to tensors. This package knows nothing of files, images or ROS."""

from __future__ import annotations

from collections.abc import Mapping
import inspect
from typing import Any

from .bisenetv2 import BiSeNetV2
from .icnet import ICNet
from .icnet_liminn import ICNetLiminn
from .icnet_lite import ICNetLite
from .icnet_mmsegmentation import ICNetMMSegmentation
from .layers import SegmentationNetwork
from .pspnet import PSPNet50

NETWORKS: dict[str, type[SegmentationNetwork]] = {
    'bisenetv2': BiSeNetV2,
    'icnet': ICNet,
    'icnet_liminn': ICNetLiminn,
    'icnet_lite': ICNetLite,
    'icnet_mmsegmentation': ICNetMMSegmentation,
    'pspnet50': PSPNet50,
}


def build_model(spec: Mapping[str, Any]) -> SegmentationNetwork:
    """
    Build an untrained network.

    :param spec: ``name``, one of :data:`NETWORKS`, ``num_classes``, and any other arguments of
        that network, for example ``{'name': 'icnet', 'num_classes': 19, 'width': 0.5}``.
    :raises ValueError: the name or an argument is unknown, or ``num_classes`` is missing.
    """
    arguments = dict(spec)
    name = arguments.pop('name', None)
    if name not in NETWORKS:
        raise ValueError(f'expected a network named {", ".join(NETWORKS)}; found {name!r}')
    known = inspect.signature(NETWORKS[name]).parameters
    unknown = sorted(set(arguments) - set(known))
    if unknown or 'num_classes' not in arguments:
        raise ValueError(
            f'{name} takes {", ".join(known)}, and needs num_classes; found '
            f'{", ".join(sorted(arguments)) or "nothing"}'
        )
    return NETWORKS[name](**arguments)


__all__ = ['NETWORKS', 'SegmentationNetwork', 'build_model']
