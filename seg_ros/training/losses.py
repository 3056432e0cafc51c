# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loss: cross-entropy of the main output and of the auxiliary ones."""

from __future__ import annotations

from collections.abc import Sequence
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..inference.labels import IGNORE

OHEM_MINIMUM = 1 / 16


def class_weights(counts: Tensor, power: float) -> Tensor:
    """
    Weigh rare classes up: (median frequency / frequency) ** power, and 0 for absent ones.

    :param counts: pixels by class, (C,).
    :returns: weights, float32 (C,), 1 for the class of median frequency.
    """
    present = counts > 0
    median = counts[present].double().median()
    weights = (median / counts.clamp(min=1).double()) ** power
    return torch.where(present, weights, torch.zeros_like(weights)).float()


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, ohem: float = 0.0) -> Tensor:
    """
    Return the weighted mean cross-entropy over the pixels that count.

    :param logits: (N, C, H, W).
    :param labels: int64 (N, H, W), 255 ignored. If no pixel has a label the loss is 0, not nan.
    :param ohem: see :class:`seg_ros.training.config.Recipe`; online hard example mining is
        from Shrivastava et al., arXiv 1604.03540.
    """
    pixels = F.cross_entropy(
        logits.float(), labels, weights, ignore_index=IGNORE, reduction='none'
    )
    share = F.pad(weights, (0, IGNORE + 1 - len(weights)))[labels]
    if ohem > 0:
        # A weight makes a class count more, not its pixels harder: compare the bare entropy.
        bare = torch.where(share > 0, pixels / share.clamp(min=1e-12), pixels).detach().flatten()
        minimum = max(1, math.ceil(OHEM_MINIMUM * int((share > 0).sum())))
        threshold = min(ohem, float(bare.topk(min(minimum, bare.numel())).values[-1]))
        chosen = (bare >= threshold).view_as(pixels)
        pixels, share = pixels * chosen, share * chosen
    return pixels.sum() / share.sum().clamp(min=1e-12)


def total_loss(
    main: Tensor,
    auxiliary: Sequence[Tensor],
    labels: Tensor,
    weights: Tensor,
    auxiliary_weights: Sequence[float],
    ohem: float = 0.0,
) -> Tensor:
    """
    Return the main loss plus the auxiliary ones, each at its own output's size.

    Auxiliary outputs meet labels taken at every stride-th pixel, as cascade label guidance does
    (arXiv 1704.08545, section 3.4): a quarter of the memory and time of upsampling them.
    """
    loss = cross_entropy(main, labels, weights, ohem)
    for weight, logits in zip(auxiliary_weights, auxiliary):
        # A power of two; where it does not divide the size, the map's last pixel sees less.
        stride = 2 ** math.ceil(math.log2(labels.shape[-1] / logits.shape[-1]))
        small = labels[:, ::stride, ::stride]
        loss = loss + weight * cross_entropy(logits, small, weights, ohem)
    return loss
