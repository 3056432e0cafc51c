# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch as an engine, on a CPU or with CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..deployed import Deployed
from .cache import Report
from .engine import Engine, EngineError

TYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


class TorchEngine(Engine):
    """A network run by PyTorch, its convolutions in channels-last layout."""

    backend = 'torch'
    packages = ()
    recordable = True

    def __init__(
        self,
        checkpoint: Checkpoint,
        input_size: tuple[int, int],
        device: str,
        precision: str,
        report: Report,
    ) -> None:
        super().__init__(checkpoint, input_size, device, precision, report)
        if precision not in TYPES:
            raise EngineError(
                f'precision: PyTorch runs {", ".join(TYPES)}; found {precision!r}. int8 needs '
                'the backend openvino or onnxruntime'
            )
        if device.startswith('cuda') and precision == 'fp32':
            # Otherwise convolutions round to TF32, which has 10 bits of mantissa. PyTorch has this
            # switch for the whole process only.
            torch.backends.cudnn.allow_tf32 = False
        self._network = Deployed(checkpoint).to(device)
        self._network.network.to(TYPES[precision])
        self._network.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def share_weights(self, other: TorchEngine) -> None:
        """Replace this engine's weights by those of another engine where they are equal."""
        theirs = dict(other._network.named_parameters())
        for name, own in self._network.named_parameters():
            if name in theirs and torch.equal(own, theirs[name]):
                own.data = theirs[name].data

    @classmethod
    def precisions(cls, device: str) -> tuple[str, ...]:
        """Return PyTorch's precisions, first the fastest one on the device."""
        if device.startswith('cuda'):
            return ('fp16', 'bf16', 'fp32')
        # Emulated bfloat16 is slower than float32, so check that the CPU has instructions for it.
        # These functions are private to PyTorch and may be missing in other releases.
        probes = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')
        fast = any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
        return ('bf16', 'fp32', 'fp16') if fast else ('fp32', 'bf16', 'fp16')

    def logits(self, pixels: Tensor) -> Tensor:
        """Compute (N, C, h', w') from (N, h, w, 3)."""
        return self._network(pixels)
