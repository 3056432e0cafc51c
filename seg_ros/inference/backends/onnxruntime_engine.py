# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime as an engine, with a choice of execution providers, TensorRT's among them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
import shutil
import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..export import export_onnx, ExportError, NATIVE_OPSET
from .cache import building, content_key, folder, load, Report, store
from .engine import Engine, EngineError

PROVIDERS = {
    'cpu': {
        'cpu': 'CPUExecutionProvider',
        'openvino': 'OpenVINOExecutionProvider',
        'dnnl': 'DnnlExecutionProvider',
    },
    'cuda': {'tensorrt': 'TensorrtExecutionProvider', 'cuda': 'CUDAExecutionProvider'},
}
"""ONNX Runtime's execution providers by device; by default the first that works is used."""


class OnnxRuntimeEngine(Engine):
    """
    A network exported to ONNX, with a session for each batch size, built when it first occurs.

    :param provider: ``cpu``, ``openvino`` or ``dnnl`` on a CPU, ``tensorrt`` or ``cuda`` on CUDA.
        The default is ``cpu`` on a CPU, and on CUDA the first of the two that works.
    """

    backend = 'onnxruntime'
    packages = ('onnxruntime', 'onnx', 'onnxscript')

    def __init__(
        self,
        checkpoint: Checkpoint,
        input_size: tuple[int, int],
        device: str,
        precision: str,
        report: Report,
        provider: str = '',
    ) -> None:
        super().__init__(checkpoint, input_size, device, precision, report)
        if precision not in self.precisions(device):
            raise EngineError(
                f'precision: expected what ONNX Runtime computes in on {device}: '
                f'{", ".join(self.precisions(device))}; found {precision!r}'
            )
        self._providers = _choose(provider, device, precision)
        self._checkpoint, self._input_size, self._report = checkpoint, input_size, report
        self._sessions: dict[int, Any] = {}
        self._building = threading.Lock()
        self._threads = threading.local()
        self._session(1)

    @classmethod
    def runs_on(cls, device: str) -> bool:
        """Return whether the installed ONNX Runtime was built for the device."""
        return bool(_available(device))

    @classmethod
    def precisions(cls, device: str) -> tuple[str, ...]:
        """Return the precisions of its providers; on CUDA only TensorRT has int8."""
        if not device.startswith('cuda'):
            return ('fp32', 'int8')
        return ('fp16', 'fp32', *(('int8',) if 'tensorrt' in _available(device) else ()))

    def logits(self, pixels: Tensor) -> Tensor:
        """Compute (N, C, h', w') from (N, h, w, 3); neither is copied."""
        session = self._session(len(pixels))
        bindings = self._threads.__dict__.setdefault('bindings', {})
        kind, index = pixels.device.type, pixels.device.index or 0
        if len(pixels) not in bindings:
            output = session.get_outputs()[0]
            result = torch.empty(output.shape, device=pixels.device)
            binding = session.io_binding()
            address = result.data_ptr()
            binding.bind_output(output.name, kind, index, np.float32, output.shape, address)
            bindings[len(pixels)] = binding, result
        binding, result = bindings[len(pixels)]
        name, shape = session.get_inputs()[0].name, tuple(pixels.shape)
        binding.bind_input(name, kind, index, np.uint8, shape, pixels.data_ptr())
        if kind == 'cuda':
            # ONNX Runtime has a CUDA stream of its own and does not wait for PyTorch's.
            torch.cuda.current_stream(pixels.device).synchronize()
        session.run_with_iobinding(binding)
        logits: Tensor = result
        return logits

    def _session(self, batch: int) -> Any:
        """Return the session for a batch size, and build it if it is new."""
        with self._building:
            if batch not in self._sessions:
                self._sessions[batch] = self._build(batch)
            return self._sessions[batch]

    def _build(self, batch: int) -> Any:
        import onnxruntime

        height, width = self._input_size
        shape = (batch, height, width, 3)
        symmetric = self.device.startswith('cuda')
        key = content_key(
            self._checkpoint,
            backend=self.backend,
            torch=torch.__version__,
            shape=shape,
            precision=self.precision,
            symmetric=symmetric,
        )
        if (content := load(key, self._report)) is None:
            what = f'ONNX network, {batch}x{width}x{height}, {self.precision}'
            with building(what, self._report):
                content = self._exported(shape, symmetric)
            store(key, content, self._report)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = torch.get_num_threads()
        # Else threads that spin until the next image would keep a core from the code that brings
        # that image.
        options.add_session_config_entry('session.force_spinning_stop', '1')
        options.log_severity_level = 3  # errors only; other messages are of no use to users
        engines = folder() / f'{key}.tensorrt'
        # If TensorRT cannot read its cached engine, that is deleted and TensorRT is tried again.
        again = ['tensorrt'] if 'tensorrt' in self._providers and engines.exists() else []
        problems = []
        for name in [*again, *self._providers]:
            settings = self._settings(name, engines)
            what = f'{name} engine, {batch}x{width}x{height}, {self.precision}'
            try:
                with building(what, self._report) if name == 'tensorrt' else nullcontext():
                    session = onnxruntime.InferenceSession(content, options, settings)
            except Exception as error:  # ONNX Runtime's exceptions have no other common class
                problems.append(f'{name}: {error}')
                shutil.rmtree(engines, ignore_errors=True)
                continue
            if session.get_providers()[0] == settings[0][0]:
                return session
            problems.append(f'{name}: its libraries do not load')
        raise EngineError(
            f'backend onnxruntime: expected a provider that runs the network on {self.device}; '
            f'found none: {"; ".join(problems)}. Install the libraries of the one you want, or '
            'choose another backend'
        )

    def _exported(self, shape: tuple[int, int, int, int], symmetric: bool) -> bytes:
        try:
            return export_onnx(
                self._checkpoint,
                'coarse',
                self.precision,
                symmetric,
                opset=NATIVE_OPSET,
                shape=shape,
            )
        except ExportError as error:
            raise EngineError(
                f'backend onnxruntime: {error}, or choose another backend'
            ) from error

    def _settings(self, provider: str, engines: Path) -> list[tuple[str, dict[str, str]]]:
        """
        Return a session's providers and settings: the one chosen, and the one it falls back to.

        :param engines: the folder where TensorRT caches its engines.
        """
        device = torch.device(self.device)
        if device.type == 'cpu':
            own = {'device_type': 'CPU'} if provider == 'openvino' else {}
            return [(PROVIDERS['cpu'][provider], own)]
        index = {'device_id': str(device.index or 0)}
        # TF32 would round to fewer bits than float32.
        cuda = (PROVIDERS['cuda']['cuda'], index | {'use_tf32': '0'})
        if provider == 'cuda':
            return [cuda]
        tensorrt = index | {
            'trt_fp16_enable': str(int(self.precision != 'fp32')),
            'trt_int8_enable': str(int(self.precision == 'int8')),
        }
        try:
            engines.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._report(f'cannot keep the engine for the next start: {error}')
        else:
            tensorrt |= {
                'trt_engine_cache_enable': '1',
                'trt_engine_cache_path': str(engines),
                'trt_timing_cache_enable': '1',
                'trt_timing_cache_path': str(folder()),
            }
        return [(PROVIDERS['cuda']['tensorrt'], tensorrt), cuda]


def _available(device: str) -> list[str]:
    """Return the providers for a device that the installed ONNX Runtime has, best first."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    names = PROVIDERS[torch.device(device).type]
    return [name for name, provider in names.items() if provider in there]


def _choose(provider: str, device: str, precision: str) -> list[str]:
    """
    Return the providers to try, in that order.

    :raises EngineError: the provider asked for is not available.
    """
    available = _available(device)
    if provider and provider not in available:
        raise EngineError(
            f'backend onnxruntime: expected a provider that is installed here and runs on '
            f'{device} ({", ".join(available) or "none"}); found {provider!r}. Others come with '
            'other builds of ONNX Runtime, such as onnxruntime-gpu or onnxruntime-openvino'
        )
    if provider:
        return [provider]
    if not device.startswith('cuda'):
        return available[:1]
    return [name for name in available if precision != 'int8' or name == 'tensorrt']
