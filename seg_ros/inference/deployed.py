# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint's network as engines run it: from 8-bit pixels to logits at its own stride."""

from __future__ import annotations

import copy

import torch
from torch import nn, Tensor

from ..models.layers import fold_batch_norms
from .checkpoint import Checkpoint


class Deployed(nn.Module):
    """
    A copy of a checkpoint's network without the parts that only training needs.

    Batch norms are folded into the convolutions before them, auxiliary heads and other modules
    that inference does not run are removed, and the normalisation of the pixels is included.

    :ivar network: the copy; its data type may be changed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.network = copy.deepcopy(checkpoint.network).cpu().float().eval()
        for name in self.network.training_only:
            parent, _, child = name.rpartition('.')
            delattr(self.network.get_submodule(parent), child)
        fold_batch_norms(self.network)
        self.requires_grad_(False)
        self._preprocessing = checkpoint.preprocessing
        # Buffers, since neither a CUDA graph nor a trace can record that they are made.
        mean, std = checkpoint.preprocessing.constants()
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)

    def forward(self, pixels: Tensor) -> Tensor:
        """
        Return the logits at the network's own stride.

        :param pixels: RGB, uint8, (N, h, w, 3), of the network's input size.
        :returns: float32, (N, num_classes, h', w').
        """
        images = pixels.permute(0, 3, 1, 2).float()
        x = self._preprocessing.normalise(images, (self.mean, self.std))
        dtype = next(self.network.parameters()).dtype
        x = x.to(dtype, memory_format=torch.channels_last)
        return self.network.coarse_logits(x).float()
