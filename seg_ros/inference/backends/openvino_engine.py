# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO as an engine, for CPUs."""

from __future__ import annotations

from functools import cache
from io import BytesIO
import threading
from typing import Any
import warnings

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..deployed import Deployed
from ..quantization import quantize
from .cache import building, content_key, load, Report, store
from .engine import Engine, EngineError

HINTS = {'fp32': 'f32', 'bf16': 'bf16', 'fp16': 'f16'}
"""OpenVINO's names of the precisions."""


@cache
def core() -> Any:
    """
    Return the process's only OpenVINO Core, which is never destroyed.

    The CPU plugin installs an alternate signal stack in the thread that loads it, and frees the
    stack when the last Core is destroyed. If another Core was made in between, or if the Core was
    destroyed in another thread, the first thread goes on using the freed stack, and the next
    signal that Python handles is a segmentation fault (OpenVINO 2026.4; it happened while waiting
    for a child process).
    """
    import openvino

    return openvino.Core()


class OpenVinoEngine(Engine):
    """A network compiled by OpenVINO, with as many threads as PyTorch has."""

    backend = 'openvino'
    packages = ('openvino',)

    def __init__(
        self,
        checkpoint: Checkpoint,
        input_size: tuple[int, int],
        device: str,
        precision: str,
        report: Report,
    ) -> None:
        super().__init__(checkpoint, input_size, device, precision, report)
        if precision not in self.precisions(device):
            raise EngineError(
                f'precision: expected what OpenVINO computes in on this CPU: '
                f'{", ".join(self.precisions(device))}; found {precision!r}'
            )
        self._model = _compiled(checkpoint, input_size, precision, report)
        self._threads = threading.local()

    @classmethod
    def runs_on(cls, device: str) -> bool:
        """Return whether the device is a CPU; OpenVINO is used on no other."""
        return device == 'cpu'

    @classmethod
    def precisions(cls, device: str) -> tuple[str, ...]:
        """Return the precisions that this CPU has instructions for, 16-bit floats first."""
        has = core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
        half = tuple(name for name in ('bf16', 'fp16') if name.upper() in has)
        return (*half, 'fp32', 'int8')

    def logits(self, pixels: Tensor) -> Tensor:
        """Compute (1, C, h', w') from (1, h, w, 3); neither is copied."""
        import openvino

        request = getattr(self._threads, 'request', None)
        if request is None:
            request = self._threads.request = self._model.create_infer_request()
        request.set_input_tensor(openvino.Tensor(pixels.numpy(), shared_memory=True))
        request.infer()
        return torch.from_numpy(request.get_output_tensor().data)


def _compiled(
    checkpoint: Checkpoint, input_size: tuple[int, int], precision: str, report: Report
) -> Any:
    """Return the compiled model, from the cache if it is stored there."""
    import openvino

    # The precision of an int8 network between its convolutions.
    floats = OpenVinoEngine.precisions('cpu')[0] if precision == 'int8' else precision
    settings = {
        'INFERENCE_PRECISION_HINT': HINTS[floats],
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_NUM_THREADS': torch.get_num_threads(),
        # With pinning, several processes would all use the first cores.
        'ENABLE_CPU_PINNING': False,
    }
    key = content_key(
        checkpoint,
        backend=openvino.__version__,
        machine=core().get_property('CPU', 'FULL_DEVICE_NAME'),
        capabilities=core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'),
        input_size=input_size,
        precision=precision,
        settings=settings,
    )
    if (content := load(key, report)) is not None:
        try:
            return core().import_model(content, 'CPU', settings)
        except RuntimeError as error:
            report(f'OpenVINO rejects its cached engine: {error}: building anew')
    height, width = input_size
    with building(f'OpenVINO engine, {width}x{height}, {precision}', report):
        network = Deployed(checkpoint)
        if precision == 'int8':
            network = quantize(network, checkpoint.activation_ranges)
        compiled = core().compile_model(_traced(network, (1, height, width, 3)), 'CPU', settings)
    stream = BytesIO()
    compiled.export_model(stream)
    store(key, stream.getvalue(), report)
    return compiled


def _traced(network: torch.nn.Module, shape: tuple[int, ...]) -> Any:
    """Return OpenVINO's model of a network that takes 8-bit pixels of one shape."""
    import openvino

    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter('ignore')  # tracing warns of constant sizes, which are intended
        example = torch.zeros(shape, dtype=torch.uint8)
        traced = torch.jit.trace(network, example, check_trace=False)
        return openvino.convert_model(traced, example_input=example, input=[(shape, np.uint8)])
