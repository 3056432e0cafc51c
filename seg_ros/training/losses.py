# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loss: cross-entropy of all outputs, Lovasz-Softmax and distillation."""

from __future__ import annotations

from collections.abc import Sequence
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..images.labels import IGNORE
from .parallel import batch_of_processes, full_precision, mean_of_processes

OHEM_MINIMUM = 1 / 16
"""The share of an image's pixels that always count, as its hardest ones."""

LOVASZ_STRIDE = 4
"""The stride, in pixels of the labels, at which the Lovasz-Softmax loss is computed."""


def class_weights(counts: Tensor, power: float) -> Tensor:
    """
    Return a weight for each class: (median frequency / frequency) ** power, 0 for absent classes.

    :param counts: pixels of each class, (C,).
    :param power: the exponent; 0 gives equal weights.
    :returns: weights, float32 (C,), 1 for the class of median frequency.
    """
    present = counts > 0
    median = counts[present].double().median()
    weights = (median / counts.clamp(min=1).double()) ** power
    return torch.where(present, weights, torch.zeros_like(weights)).float()


def label_weights(
    pixels: Tensor, classes: int, power: float, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """
    Return the pixels of each class, and the weights of classes and of groups of classes.

    The pixels of a group are divided among its classes in the proportions in which these occur
    outside groups, or equally if none does. A group's weight is the mean of its classes' weights
    in the same proportions.

    :param pixels: pixels of each id, classes first and then groups, (256,).
    :param classes: number of classes C.
    :param power: see :func:`class_weights`.
    :param groups: see :func:`cross_entropy`.
    :returns: pixels of each class, (C,), and weights, float32 (C,) or (C + G,).
    """
    counts = pixels[:classes]
    if groups is None:
        return counts, class_weights(counts, power)
    own = torch.where(groups, counts.double(), 0.0)
    own = torch.where(own.any(1, keepdim=True), own, groups.double())
    shares = own / own.sum(1, keepdim=True)
    counts = counts + pixels[classes : classes + len(groups)].double() @ shares
    weights = class_weights(counts, power)
    return counts, torch.cat([weights, (shares @ weights.double()).float()])


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    ohem: float = 0.0,
    groups: Tensor | None = None,
) -> Tensor:
    """
    Return the weighted mean cross-entropy over the pixels that count.

    A pixel of a group of classes may be any of them; its loss is that of the sum of their
    probabilities.

    :param logits: (N, C, H, W).
    :param labels: int64 (N, H, W), 255 ignored. If no pixel has a label the loss is 0, not nan.
        Ids from C on are groups.
    :param weights: weight of each class, and then of each group, (C,) or (C + G,).
    :param ohem: see :class:`seg_ros.training.config.Recipe`; online hard example mining is
        from Shrivastava et al., arXiv 1604.03540. Hard pixels are chosen in each image by itself.
    :param groups: which classes each group allows, bool (G, C); None without groups.
    """
    logits = full_precision(logits)
    weights = weights.to(logits.dtype)
    if groups is None:
        pixels = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, reduction='none')
    else:
        pixels = _with_groups(logits, labels, weights, groups)
    share = F.pad(weights, (0, IGNORE + 1 - len(weights)))[labels]
    if ohem > 0:
        hard = _hard_pixels(pixels.detach(), share, ohem)
        pixels, share = pixels * hard, share * hard
    # DistributedDataParallel averages gradients, so each process divides by the mean share.
    return pixels.sum() / mean_of_processes(share.sum()).clamp(min=1e-12)


def _with_groups(logits: Tensor, labels: Tensor, weights: Tensor, groups: Tensor) -> Tensor:
    """Return each pixel's weighted cross-entropy, (N, H, W), 0 where it is ignored."""
    classes = logits.shape[1]
    merged = (labels >= classes) & (labels != IGNORE)
    told = labels.masked_fill(merged, IGNORE)
    pixels = F.cross_entropy(
        logits, told, weights[:classes], ignore_index=IGNORE, reduction='none'
    )
    if not merged.any():
        return pixels
    ids = labels[merged]
    allowed = groups[ids - classes]
    # The gradient of logits[mask] would take several times as long.
    places = merged.flatten().nonzero().squeeze(1)
    here = logits.movedim(1, -1).flatten(0, 2).index_select(0, places)
    # -log(p / (p + q)), where p is the sum over the allowed classes, q that over the others.
    right = here.masked_fill(~allowed, -torch.inf).logsumexp(1)
    wrong = here.masked_fill(allowed, -torch.inf).logsumexp(1)
    return pixels.masked_scatter(merged, weights[ids] * F.softplus(wrong - right))


def _hard_pixels(pixels: Tensor, share: Tensor, threshold: float) -> Tensor:
    # A class's weight does not make its pixels harder: compare cross-entropies without weights.
    bare = torch.where(share > 0, pixels / share.clamp(min=1e-12), pixels).flatten(1)
    count = (share > 0).flatten(1).sum(1, keepdim=True)
    minimum = (count * OHEM_MINIMUM).ceil().long().clamp(min=1)
    hardest = bare.topk(int(minimum.max()), dim=1).values
    needed = hardest.gather(1, minimum - 1).clamp(max=threshold)
    return (bare >= needed).view_as(pixels)


def lovasz_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """
    Return the Lovasz-Softmax loss, a smooth substitute for 1 - mIoU of the batch.

    From Berman et al., arXiv 1705.08790, with the mean over the classes that occur.

    :param logits: (N, C, H, W).
    :param labels: int64 (N, H, W), 255 ignored. If no pixel has a label the loss is 0. Pixels
        of groups of classes, from id C on, are left out, since their class is not known.
    """
    # The classes that occur are those in the images of all processes.
    logits, labels = batch_of_processes(full_precision(logits)), batch_of_processes(labels)
    valid = labels < logits.shape[1]
    probabilities = logits.softmax(1).movedim(1, 0)[:, valid]
    truth = F.one_hot(labels[valid], logits.shape[1]).T
    present = truth.any(1)
    truth = truth[present].to(logits.dtype)
    errors, order = (truth - probabilities[present]).abs().sort(dim=1, descending=True)
    truth = truth.gather(1, order)
    # Intersection and union of a class if only its 1, 2, ... worst pixels were wrong.
    total = truth.sum(1, keepdim=True)
    intersection = total - truth.cumsum(1)
    union = total + (1 - truth).cumsum(1)
    jaccard = 1 - intersection / union
    gradient = jaccard.diff(dim=1, prepend=torch.zeros_like(total))
    return (errors * gradient).sum() / present.sum().clamp(min=1)


def distillation_loss(logits: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """
    Return the mean divergence of the teacher's class probabilities from the network's.

    Pixel-wise distillation as in Liu et al., arXiv 1903.04197, section 3.1.

    :param logits: (N, C, H, W).
    :param teacher: logits of the teacher, (N, C, H, W).
    :param labels: int64 (N, H, W). Ignored pixels, such as a crop's border, do not count. Pixels
        of groups of classes do, since the teacher may tell the classes of a group apart.
    """
    divergence = F.kl_div(
        full_precision(logits).log_softmax(1),
        full_precision(teacher).log_softmax(1),
        reduction='none',
        log_target=True,
    ).sum(1)
    valid = labels != IGNORE
    return (divergence * valid).sum() / mean_of_processes(valid.sum()).clamp(min=1)


def total_loss(
    main: Tensor,
    auxiliary: Sequence[Tensor],
    labels: Tensor,
    weights: Tensor,
    auxiliary_weights: Sequence[float],
    ohem: float = 0.0,
    lovasz: float = 0.0,
    groups: Tensor | None = None,
    middle: bool = False,
) -> Tensor:
    """
    Return the sum of the main loss and the auxiliary losses, each at the size of its own output.

    An output is compared with labels taken at every stride-th pixel, as in cascade label guidance
    (arXiv 1704.08545, section 3.4). This takes a fraction of the memory and time of upsampling it.

    :param main: logits of the main output, (N, C, H, W).
    :param auxiliary: logits of each auxiliary output, of any size.
    :param labels: int64 train ids, (N, H, W).
    :param weights: see :func:`cross_entropy`.
    :param auxiliary_weights: weight of each auxiliary loss; a loss of weight 0 is not computed.
    :param ohem: see :func:`cross_entropy`.
    :param lovasz: weight of the main output's Lovasz-Softmax loss, taken at 1/4 of the size.
    :param groups: see :func:`cross_entropy`.
    :param middle: for the main output, see :func:`labels_of`.
    """
    here = labels_of(main, labels, middle)
    loss = cross_entropy(main, here, weights, ohem, groups)
    if lovasz > 0:
        stride = max(1, LOVASZ_STRIDE * main.shape[-1] // labels.shape[-1])
        sampled = main[..., ::stride, ::stride]
        loss = loss + lovasz * lovasz_softmax(
            sampled, labels_of(main, labels, middle)[:, ::stride, ::stride]
        )
    for weight, logits in zip(auxiliary_weights, auxiliary):
        if not weight:
            continue
        here = labels_of(logits, labels)
        loss = loss + weight * cross_entropy(logits, here, weights, ohem, groups)
    return loss


def labels_of(logits: Tensor, labels: Tensor, middle: bool = False) -> Tensor:
    """
    Return the label of each pixel of the logits, which is every stride-th label.

    :param logits: (N, C, H, W).
    :param labels: labels of a larger size.
    :param middle: whether a pixel of the logits stands for the middle of the square it covers,
        as after resizing without aligned corners, or for the square's first pixel, as after
        strided convolutions or with aligned corners.
    """
    # Strides are powers of two. If one does not divide the size, the last pixel covers less.
    stride = 2 ** math.ceil(math.log2(labels.shape[-1] / logits.shape[-1]))
    if not middle:
        return labels[:, ::stride, ::stride]
    for axis in (1, 2):
        places = stride // 2 + stride * torch.arange(logits.shape[axis + 1], device=labels.device)
        labels = labels.index_select(axis, places.clamp_(max=labels.shape[axis] - 1))
    return labels
