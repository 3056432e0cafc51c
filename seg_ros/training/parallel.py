# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data parallel training: several processes take the same steps as one with all the images."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed, nn, Tensor
from torch.nn.parallel import DistributedDataParallel

from ..metrics.process_group import rank, world_size
from ..models import SegmentationNetwork


class _Sum(torch.autograd.Function):
    """
    The sum over all processes.

    The losses of all processes depend on it, so that their gradients are summed, too.
    """

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(None, gradients[0])


def full_precision(x: Tensor) -> Tensor:
    """Return ``x`` as float32 if its type is less precise, else unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def mean_of_processes(x: Tensor) -> Tensor:
    """Return the mean of ``x`` over all processes; gradients flow back to each of them."""
    return x if world_size() == 1 else _Sum.apply(x) / world_size()  # type: ignore[no-untyped-call]


def batch_of_processes(x: Tensor) -> Tensor:
    """Return the ``x``, (N, ...), of all processes as one batch; gradients flow back to each."""
    if world_size() == 1:
        return x
    parts = [x if i == rank() else torch.zeros_like(x) for i in range(world_size())]
    whole: Tensor = _Sum.apply(torch.cat(parts))  # type: ignore[no-untyped-call]
    return whole


class TrainingOutputs(nn.Module):
    """
    A network whose training outputs are returned by calling it.

    DistributedDataParallel synchronises gradients only if the module itself is called.
    """

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return :meth:`SegmentationNetwork.forward_train` for the images."""
        return self.network.forward_train(images)


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the images of all processes, since PyTorch's own runs on GPUs only."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``, (N, C, H, W), by mean and deviation over all processes' images."""
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
    Return the module to call in training, which returns the network's training outputs.

    If there are several processes, it averages their gradients, and the network's batch norms are
    replaced in place by ones over all processes.
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
