# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Tracing the channels of a network while it runs.

Therefore no network, nor a user's own one, has to list which of its layers depend on which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import copy
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ..models import SegmentationNetwork

SIZE = (65, 97)
"""The height and width, in pixels, of the image with which a network is run to trace it."""

Axis = tuple[str, int]
"""A dimension of one of a network's tensors: the tensor's name and the dimension's index."""


class Channels(TorchFunctionMode):
    """
    Traces channels through a network: which tensors hold them, and which are pruned together.

    Channels are numbered. Channels that are added to or multiplied by each other, or that are
    input and output of the same filter of a depthwise convolution, are tied: either all of them
    stay, or none.

    :param network: the network to trace, from its image to all outputs of training. It is not
        changed.
    :ivar axes: the channels along each dimension of the network's tensors that holds channels.
    :ivar filters: the dimensions of convolutions' weights that hold output channels (filters).
    :raises ValueError: the channels of a function's result cannot be derived from its arguments.
    """

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.axes: dict[Axis, list[int]] = {}
        self.filters: list[Axis] = []
        self._tied: list[int] = []
        # Tensors are identified by id(). They are kept here, so that no id is used again.
        self._maps: dict[int, tuple[Tensor, list[int]]] = {}
        network = copy.deepcopy(network).eval()
        tensors = [*network.named_parameters(), *network.named_buffers()]
        self._names = {id(tensor): name for name, tensor in tensors}
        # With such a small image, running the network is faster than tracing on the meta device.
        images = torch.zeros(1, 3, *SIZE, dtype=next(network.parameters()).dtype)
        self._follow(images, self._new(3))
        with torch.no_grad(), self:
            network.forward_train(images)
        self._maps.clear()

    def together(self, channel: int) -> int:
        """Return the channel that represents all channels which are tied to this one."""
        while self._tied[channel] != channel:
            self._tied[channel] = channel = self._tied[self._tied[channel]]
        return channel

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function of PyTorch, and record the channels of its result."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(id(tensor) in self._maps for tensor in given):
            name = getattr(func, '__name__', str(func))
            if name in ('conv2d', 'conv_transpose2d'):
                # In both functions, the seventh argument is the number of groups.
                groups = kwargs.get('groups', args[6] if len(args) > 6 else 1)
                self._convolution(given, result, groups, name == 'conv_transpose2d')
            elif (
                name in ('cat', 'concat', 'concatenate')
                and _along(args, kwargs) % result.ndim == 1
            ):
                self._follow(result, [c for tensor in given for c in self._of(tensor)])
            else:
                for tensor in tree_leaves(result):
                    if isinstance(tensor, Tensor):
                        self._channelwise(name, given, tensor)
        return result

    def _convolution(
        self, given: Sequence[Tensor], result: Tensor, groups: int, transposed: bool
    ) -> None:
        x, weight, *bias = given
        inputs, outputs = self._of(x), result.shape[1]
        name = self._name(weight)
        rows, columns = (name, int(transposed)), (name, int(not transposed))
        if rows not in self.axes:
            self.axes[rows] = self._new(outputs)
            self.filters.append(rows)
        made = self.axes[rows]
        if groups == 1:
            self._hold(columns, inputs)
        elif groups == len(inputs) and not transposed:
            self._tie([inputs[i * groups // outputs] for i in range(outputs)], made)
        else:
            raise ValueError(
                f'{name}: expected 1 group to prune, or as many as channels; found {groups}'
            )
        for tensor in bias:
            self._hold((self._name(tensor), 0), made)
        self._follow(result, made)

    def _channelwise(self, function: str, given: Sequence[Tensor], result: Tensor) -> None:
        """Record a result in which each channel depends only on the same channel of ``given``."""
        maps = [self._of(tensor) for tensor in given if id(tensor) in self._maps]
        count = max(map(len, maps))
        # A tensor of one channel may be broadcast to many.
        if result.ndim < 2 or result.shape[1] != count or {*map(len, maps)} - {1, count}:
            raise ValueError(
                f'expected each channel of {function} to depend on one channel, to prune it; '
                f'found {", ".join(str(len(each)) for each in maps)} that become '
                f'{tuple(result.shape)}'
            )
        channels = next(each for each in maps if len(each) == count)
        for each in maps:
            if len(each) == count:
                self._tie(channels, each)
        for tensor in given:
            if id(tensor) in self._names and tensor.shape == (count,):
                self._hold((self._names[id(tensor)], 0), channels)
        self._follow(result, channels)

    def _new(self, count: int) -> list[int]:
        first = len(self._tied)
        self._tied += range(first, first + count)
        return list(range(first, first + count))

    def _tie(self, some: Sequence[int], others: Sequence[int]) -> None:
        for one, other in zip(some, others, strict=True):
            self._tied[self.together(other)] = self.together(one)

    def _hold(self, axis: Axis, channels: list[int]) -> None:
        """Record the channels along a tensor's axis; tie them to those recorded before."""
        self._tie(self.axes.setdefault(axis, channels), channels)

    def _follow(self, tensor: Tensor, channels: list[int]) -> None:
        self._maps[id(tensor)] = tensor, channels

    def _of(self, tensor: Tensor) -> list[int]:
        return self._maps[id(tensor)][1]

    def _name(self, tensor: Tensor) -> str:
        if id(tensor) not in self._names:
            raise ValueError(
                'expected convolutions whose weights are parameters or buffers, to prune them; '
                'found other weights'
            )
        return self._names[id(tensor)]


def _along(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Return the dimension along which a call of ``torch.cat`` concatenates tensors."""
    return int(args[1] if len(args) > 1 else kwargs.get('dim', kwargs.get('axis', 0)))
