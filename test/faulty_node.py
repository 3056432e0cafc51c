# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The real node with the faults that a test asks for: `faulty_node.py CONTROL --ros-args ...`.

PyTorch's engine asks before each image what is wrong with it; all else is the node's own. There is
a device ``cuda:0``, which computes on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import math
from pathlib import Path
import sys
from threading import Lock
from time import sleep
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from seg_ros.inference import segmenter
from seg_ros.inference.backends.torch_engine import TorchEngine
from seg_ros.inference.image_file import Image
from seg_ros.inference.segmenter import Segmenter

PRETENDED = 'cuda:0'
BRIGHT = 200
"""Mean of the pixels from which an image is bright."""

MESSAGES = {
    'throw': 'the engine throws',
    'memory': 'CUDA out of memory. Tried to allocate 2.00 GiB.',
    'gone': 'CUDA error: unspecified launch failure',
}


class Faults:
    """
    What is wrong now: the JSON of a control file.

    ``kind``: a name of :data:`MESSAGES`, nan, or hang, which lasts for as long as the file says
    so; empty for nothing. ``times``: for so many images; 0 is for ever. ``bright``: only for
    bright ones. ``device``: only there. ``build``: networks cannot be built either.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = ''
        self._fault: dict[str, Any] = {}
        self._left = 0.0
        self._lock = Lock()

    def _read(self, device: str) -> dict[str, Any]:
        """Return what is wrong on a device; the lock is held."""
        content = self._path.read_text(encoding='utf-8')
        if content != self._content:
            self._content, self._fault = content, json.loads(content)
            self._left = self._fault['times'] or math.inf
        here = self._fault['device'] in ('', device) and self._left > 0
        return self._fault if here and self._fault['kind'] else {}

    def before_building(self, device: str) -> None:
        """Fail where a network cannot be built."""
        with self._lock:
            fault = self._read(device)
        if fault and fault['build']:
            self._raise(fault['kind'], f'when building for {device}')

    def before_image(self, device: str, pixels: Tensor) -> bool:
        """Fail, or wait, as the fault is; return whether the result shall not be a number."""
        with self._lock:
            fault = self._read(device)
            if not fault or (fault['bright'] and pixels.float().mean() < BRIGHT):
                return False
            self._left -= 1
        if fault['kind'] == 'nan':
            print('fault: not a number', flush=True)
            return True
        if fault['kind'] == 'hang':
            print('fault: hangs', flush=True)
            content = self._content
            while self._path.read_text(encoding='utf-8') == content:
                sleep(0.01)
            return False
        self._raise(fault['kind'], f'on {device}')
        return False

    def _raise(self, kind: str, where: str) -> None:
        print(f'fault: {kind} {where}', flush=True)
        error = torch.cuda.OutOfMemoryError if kind == 'memory' else RuntimeError
        raise error(MESSAGES[kind])


class FaultySegmenter(Segmenter):
    """A segmenter that can pretend to be on CUDA; then several images are a batch."""

    faults: Faults

    def __init__(self, *arguments: Any, device: str = 'auto', **options: Any) -> None:
        pretends = device == PRETENDED
        self.faults.before_building(PRETENDED if pretends else 'cpu')
        super().__init__(*arguments, device='cpu' if pretends else device, **options)
        if pretends:
            self.device, self.batched = PRETENDED, True
            self.engine.pretended_device = PRETENDED

    def _input(self, image: Image, size: tuple[int, int]) -> Tensor:
        return Segmenter._input(SimpleNamespace(device='cpu'), image, size)


def break_engine(faults: Faults) -> None:
    """Let PyTorch's engine ask before each image what is wrong."""
    compute = TorchEngine.logits

    def logits(engine: TorchEngine, pixels: Tensor) -> Tensor:
        device = getattr(engine, 'pretended_device', engine.device)
        if faults.before_image(device, pixels):
            return torch.full_like(compute(engine, pixels), torch.nan)
        return compute(engine, pixels)

    TorchEngine.logits = logits


def main(arguments: Sequence[str]) -> int:
    """Run the node, its pauses between attempts short."""
    control, *options = arguments
    FaultySegmenter.faults = Faults(Path(control))
    segmenter.Segmenter = FaultySegmenter
    break_engine(FaultySegmenter.faults)
    from seg_ros.nodes import recovery, segmentation_node

    recovery.LATELY = 1.0
    recovery.PAUSES = 0.1, 0.5
    recovery.RETURN_PAUSES = 1.0, 2.0
    sys.argv = [segmentation_node.__file__, *options]
    return segmentation_node.main()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
