# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data parallel training: several processes take the step that one would with all the images."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed, nn, Tensor
from torch.nn.parallel import DistributedDataParallel

from ..metrics.process_group import rank, world_size
from ..models import SegmentationNetwork


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each one's loss depends on it, so gradients sum up, too."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(None, gradients[0])


def full_precision(x: Tensor) -> Tensor:
    """Return ``x`` as float32 if it is of a smaller type."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def mean_of_processes(x: Tensor) -> Tensor:
    """Return the mean of all processes' ``x``, through which gradients flow to each."""
    return x if world_size() == 1 else _Sum.apply(x) / world_size()  # type: ignore[no-untyped-call]


def batch_of_processes(x: Tensor) -> Tensor:
    """Return all processes' (N, ...) as one batch, through which gradients flow to each."""
    if world_size() == 1:
        return x
    parts = [x if i == rank() else torch.zeros_like(x) for i in range(world_size())]
    whole: Tensor = _Sum.apply(torch.cat(parts))  # type: ignore[no-untyped-call]
    return whole


class TrainingOutputs(nn.Module):
    """A network as DistributedDataParallel wants it: called, not asked for a method."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return :meth:`SegmentationNetwork.forward_train` of the images."""
        return self.network.forward_train(images)


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the images of all processes; PyTorch's own exists for GPUs only."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) by the mean and deviation of every process's images."""
        if not self.training:
            return super().forward(x)
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        exact = full_precision(x)
        mean = mean_of_processes(exact.mean((0, 2, 3)))
        centred = exact - mean[:, None, None]
        variance = mean_of_processes(centred.square().mean((0, 2, 3)))
        count = x.numel() // x.shape[1] * world_size()
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def training_form(network: SegmentationNetwork, device: str) -> nn.Module:
    """
    Return what to call in training: the network's outputs, and their gradients in step.

    In several processes the network's batch norms are replaced, in place.
    """
    if world_size() == 1:
        return TrainingOutputs(network)
    if device.startswith('cuda'):
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return DistributedDataParallel(TrainingOutputs(network), [torch.device(device)])
    _synchronise(network)
    return DistributedDataParallel(TrainingOutputs(network))


def _synchronise(module: nn.Module) -> None:
    for name, child in module.named_children():
        _synchronise(child)
        if isinstance(child, nn.BatchNorm2d):
            norm = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
            norm.load_state_dict(child.state_dict())
            norm.requires_grad_(child.weight.requires_grad)
            setattr(module, name, norm)
