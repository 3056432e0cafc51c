# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The segmenter: from 8-bit images to 8-bit labels, on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import overload

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from ..images.image_file import Image
from ..images.overlay import draw, Paint
from . import DEFAULT_MODEL
from .backends import EngineError, make_engine
from .backends.cache import Report
from .backends.torch_engine import TorchEngine
from .checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from .device_pipeline import DevicePipeline
from .labelling import label, label_with_confidence
from .preprocessing import resize
from .segmentation import LOW, NOT_FINITE, Segmentation

MEAN_POINTS = 2**14
"""About how many coarse pixels the mean confidence is computed from on a CPU."""

BATCH_GAIN = 1.1
"""How many times faster than one by one a batch must be, since its first image has to wait."""


class Segmenter:
    """
    A network that is loaded and ready to segment images.

    :param model: a shipped network's name, a checkpoint's path, or a checkpoint in memory.
    :param input_height: the height of the network's input; 0 is the checkpoint's own.
    :param input_width: the width of the network's input; 0 is the checkpoint's own.
    :param device: ``auto`` (CUDA if there is a GPU), ``cpu``, ``cuda`` or ``cuda:N``.
    :param backend: ``torch``, ``openvino``, ``onnxruntime``, one of ONNX Runtime's providers, such
        as ``onnxruntime:tensorrt``, or ``auto``: the fastest backend that is installed and
        computes the same as PyTorch in float32.
    :param precision: ``fp32``, ``bf16``, ``fp16``, ``int8``, or ``auto``: 16 bits if the hardware
        has instructions for them.
    :param graphs: whether to use CUDA graphs; without them CUDA is slower.
    :param report: called with messages for users: the engine that was chosen, and slow steps.
    :ivar backend: the backend that was chosen, with the provider if one was asked for.
    :ivar batched: whether several images are faster as one batch; see :meth:`warm_up`.
    :raises CheckpointError: the model cannot be found, read or run.
    :raises EngineError: the device, backend or precision is not available.
    :raises ValueError: the input size is smaller than 1x1.
    """

    def __init__(
        self,
        model: str | Path | Checkpoint = DEFAULT_MODEL,
        *,
        input_height: int = 0,
        input_width: int = 0,
        device: str = 'auto',
        backend: str = 'auto',
        precision: str = 'auto',
        graphs: bool = True,
        report: Report = lambda line: None,
    ) -> None:
        self.device = choose_device(device)
        if isinstance(model, Checkpoint):
            self.checkpoint, self.model = model, ''
        else:
            self.checkpoint, self.model = load_checkpoint(find_checkpoint(model)), str(model)
        self.labels = self.checkpoint.labels
        own_height, own_width = self.checkpoint.input_size
        self.input_size = (input_height or own_height, input_width or own_width)
        if min(self.input_size) < 1:
            raise ValueError(
                f'expected an input size of at least 1x1; found {self.input_size}. '
                "0 is the checkpoint's own"
            )
        self.engine = make_engine(
            self.checkpoint, self.input_size, self.device, backend, precision, report
        )
        self.precision = self.engine.precision
        self.backend = backend if ':' in backend else self.engine.backend
        self.batched = False
        self._align_corners = self.checkpoint.network.align_corners
        self._pipeline: DevicePipeline | None = None
        if self.device != 'cpu':
            self._pipeline = DevicePipeline(
                self.engine, self.input_size, self._align_corners, graphs
            )

    def warm_up(self, sizes: Sequence[tuple[int, int]] = ()) -> None:
        """
        Run the network on blank images, so that the first real frame is not delayed by set-up.

        :param sizes: (height, width) of the images that each camera sends; by default one image of
            the network's input size. If there are several, a GPU also runs them as one batch, to
            measure whether that is faster. On a CPU it never is, as all cores work on one image.
        """
        images = [np.zeros((*size, 3), np.uint8) for size in sizes or [self.input_size]]
        for image in {image.shape: image for image in images}.values():
            self.predict(image)
            self.predict(image, confidence=True)
        if self._pipeline is not None and len(images) > 1:
            by_turns = _seconds(lambda: [self.predict(image) for image in images])
            self.batched = BATCH_GAIN * _seconds(lambda: self.predict(images)) < by_turns

    @overload
    def predict(
        self,
        images: Image,
        *,
        confidence: bool = ...,
        confidence_threshold: float = ...,
        output_size: tuple[int, int] | None = ...,
        paint: Paint | None = ...,
    ) -> Segmentation: ...

    @overload
    def predict(
        self,
        images: Sequence[Image],
        *,
        confidence: bool = ...,
        confidence_threshold: float = ...,
        output_size: tuple[int, int] | None = ...,
        paint: Paint | None = ...,
    ) -> list[Segmentation]: ...

    def predict(
        self,
        images: Image | Sequence[Image],
        *,
        confidence: bool = False,
        confidence_threshold: float = 0.0,
        output_size: tuple[int, int] | None = None,
        paint: Paint | None = None,
    ) -> Segmentation | list[Segmentation]:
        """
        Segment one image, or several. On a GPU, images of the same size form a batch.

        :param images: uint8 RGB, (H, W, 3); several may differ in size.
        :param confidence: whether to return each pixel's confidence too.
        :param confidence_threshold: pixels with a lower softmax probability get the label 255.
        :param output_size: (height, width) of the results; by default each image's own size.
        :param paint: the pictures to draw, if any.
        :returns: one result for one image, a list for several.
        :raises ValueError: an image has another type or shape, or the network's logits are NaN or
            infinite.
        """
        several = [images] if isinstance(images, np.ndarray) else images
        for image in several:
            _check(image)
        run = self._on_cpu if self._pipeline is None else self._pipeline
        with torch.inference_mode():
            results = run(several, confidence, confidence_threshold, output_size, paint)
        return results[0] if isinstance(images, np.ndarray) else results

    def _on_cpu(
        self,
        images: Sequence[Image],
        confidence: bool,
        threshold: float,
        output_size: tuple[int, int] | None,
        paint: Paint | None,
    ) -> list[Segmentation]:
        results = []
        for image in images:
            logits = np.ascontiguousarray(self._coarse(image)[0].numpy())
            with np.errstate(invalid='ignore'):  # infinities of both signs sum to NaN
                total = logits.sum()
            if not np.isfinite(total):
                raise ValueError(NOT_FINITE)
            size = output_size or image.shape[:2]
            sure: Image | None = None
            if confidence or threshold > 0:
                labels, sure = label_with_confidence(logits, size, self._align_corners, threshold)
            else:
                labels = label(logits, size, self._align_corners)
            results.append(
                Segmentation(
                    labels,
                    sure if confidence else None,
                    *_confidence(logits),
                    *(draw(image, labels, paint) if paint is not None else ()),
                )
            )
        return results

    def logits(self, images: Sequence[Image]) -> list[Tensor]:
        """Return each image's logits at the network's own stride, float32, (1, C, h, w)."""
        with torch.inference_mode():
            return [self._coarse(image).clone() for image in images]

    def _coarse(self, image: Image) -> Tensor:
        return self.engine.logits(self._input(image, self.input_size))

    def _input(self, image: Image, size: tuple[int, int]) -> Tensor:
        """Return an image at a network's input size, RGB, (1, *size, 3), on the device."""
        backwards = image.strides[2] < 0  # a view of BGR, whose channels are reversed when small
        pixels = np.ascontiguousarray(image[:, :, ::-1] if backwards else image)
        if not pixels.flags.writeable:  # PyTorch warns of arrays that cannot be written to
            pixels = pixels.copy()
        resized = resize(torch.from_numpy(pixels)[None].to(self.device), size)
        if not backwards:
            return resized
        if self.device != 'cpu':
            return resized.flip(3)
        return torch.from_numpy(cv2.cvtColor(resized[0].numpy(), cv2.COLOR_BGR2RGB))[None]

    def predict_averaged(self, image: Image, scales: Sequence[float], flip: bool) -> Image:
        """
        Return the most probable class ids, uint8 (H, W), by :meth:`probabilities`.

        Papers raise their scores by such averaging; it is too slow for a robot.
        """
        return self.probabilities(image, scales, flip).argmax(0).astype(np.uint8)

    def probabilities(
        self, image: Image, scales: Sequence[float] = (1.0,), flip: bool = False
    ) -> NDArray[np.float32]:
        """
        Return the classes' probabilities at the image's own size, averaged over several scales.

        PyTorch computes them whatever the backend, since engines are made for one input size.

        :param image: uint8 RGB, (H, W, 3).
        :param scales: factors on the network's input size.
        :param flip: whether to average over the mirrored image too.
        :returns: float32, (C, H, W).
        :raises ValueError: the image has another type or shape.
        """
        _check(image)
        total = torch.zeros((), device=self.device)
        with torch.inference_mode():
            for scale in scales:
                height, width = (max(1, round(scale * side)) for side in self.input_size)
                pixels = self._input(image, (height, width))
                for mirrored in (False, True)[: 1 + flip]:
                    view = pixels.flip(2) if mirrored else pixels
                    logits = self._any_size.logits(view).contiguous()
                    upsample = self.checkpoint.network.upsample
                    probability = upsample(logits, image.shape[:2]).softmax(1)
                    total = total + (probability.flip(3) if mirrored else probability)
            mean: NDArray[np.float32] = (total / (len(scales) * (1 + flip)))[0].cpu().numpy()
            return mean

    @cached_property
    def _any_size(self) -> TorchEngine:
        if isinstance(self.engine, TorchEngine):
            return self.engine
        known = self.precision in TorchEngine.precisions(self.device)
        precision = self.precision if known else 'fp32'
        return TorchEngine(
            self.checkpoint, self.input_size, self.device, precision, lambda line: None
        )


def _confidence(logits: np.ndarray) -> tuple[float, float]:
    """Return the mean and the low confidence, see :class:`Segmentation`, of logits (C, h, w)."""
    step = max(1, int((logits[0].size / MEAN_POINTS) ** 0.5))
    some = logits[:, ::step, ::step]
    probability = 1 / np.exp(some - some.max(0)).sum(0)
    return float(probability.mean()), float((probability < LOW).mean())


def _seconds(run: Callable[[], object], times: int = 5) -> float:
    """Return the median seconds of several runs, after one that is not timed."""
    run()
    seconds = []
    for _ in range(times):
        start = perf_counter()
        run()
        seconds.append(perf_counter() - start)
    return median(seconds)


def _check(image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f'expected images of uint8 RGB, (H, W, 3); found {image.dtype} {image.shape}'
        )


def choose_device(device: str) -> str:
    """
    Return the device to use: CUDA or the CPU for ``auto``, else ``device`` itself.

    :raises EngineError: the device is not available.
    """
    count = torch.cuda.device_count()
    available = ['cpu', 'cuda', *(f'cuda:{i}' for i in range(count))] if count else ['cpu']
    if device == 'auto':
        return available[min(1, len(available) - 1)]
    if device not in available:
        raise EngineError(
            f'device: expected auto or one of {", ".join(available)}; found {device!r}. '
            'PyTorch sees no other device here: check nvidia-smi and that PyTorch has CUDA'
        )
    return device
