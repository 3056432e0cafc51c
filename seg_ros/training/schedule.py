# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The optimizer, and its learning rate at each step."""

from __future__ import annotations

import torch
from torch import nn

from .config import Recipe

MOMENTUM = 0.9
"""The momentum of SGD."""


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of a step: a linear warm-up, then a polynomial decay to 0."""
    warm_up = max(1, round(recipe.warm_up * steps))
    rise = min(1.0, (step + 1) / warm_up)
    fall = 1 - max(0, step - warm_up) / max(1, steps - warm_up)
    return recipe.learning_rate * rise * fall**recipe.power


def make_optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Return the recipe's optimizer, without weight decay for biases and batch norms."""
    parameters = list(network.parameters())
    fused = parameters[0].is_cuda
    groups = [
        {'params': [p for p in parameters if p.ndim > 1], 'weight_decay': recipe.weight_decay},
        {'params': [p for p in parameters if p.ndim <= 1], 'weight_decay': 0.0},
    ]
    if recipe.optimizer == 'adamw':
        return torch.optim.AdamW(groups, recipe.learning_rate, fused=fused)
    return torch.optim.SGD(groups, recipe.learning_rate, momentum=MOMENTUM, fused=fused)
