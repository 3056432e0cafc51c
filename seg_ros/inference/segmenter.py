# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The segmenter: 8-bit images in, 8-bit labels out, on any device."""

from __future__ import annotations

from collections.abc import Sequence
import copy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from .checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from .image_file import Image
from .labels import IGNORE

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
DEFAULT_MODEL = 'bisenetv2_camvid'

STRIP = 32
"""Rows of an image whose probabilities are computed at once on a CPU."""


class DeviceError(ValueError):
    """A device or precision that is not to be had here; the message says what is."""


class Segmentation(NamedTuple):
    """
    What the network sees in one image.

    :param labels: class ids, uint8, (H, W) of the image; 255 where it was not confident enough.
    :param confidence: the winning class's softmax probability times 255, uint8, (H, W); None
        where nobody asked.
    :param mean_confidence: that probability's mean over the image, 0 to 1, at the network's own
        stride, where it costs next to nothing.
    """

    labels: Image
    confidence: Image | None
    mean_confidence: float


class Segmenter:
    """
    A network that is loaded and ready.

    :param model: a shipped network's name, a checkpoint's path, or a checkpoint in memory.
    :param input_height: of what the network sees; 0 is the checkpoint's own.
    :param input_width: likewise.
    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    :param precision: ``auto`` (half where the hardware computes in it), ``fp32``, ``bf16``,
        ``fp16``.
    :raises CheckpointError: the model cannot be found, read or run.
    :raises DeviceError: the device or precision is not to be had.
    """

    def __init__(
        self,
        model: str | Path | Checkpoint = DEFAULT_MODEL,
        *,
        input_height: int = 0,
        input_width: int = 0,
        device: str = 'auto',
        precision: str = 'auto',
    ) -> None:
        self.device = choose_device(device)
        self.precision = _choose_precision(precision, self.device)
        if isinstance(model, Checkpoint):
            # A network of its own: what follows changes the weights' type and place.
            self.checkpoint = replace(model, network=copy.deepcopy(model.network))
        else:
            self.checkpoint = load_checkpoint(find_checkpoint(model))
        self.model = '' if isinstance(model, Checkpoint) else str(model)
        self.labels = self.checkpoint.labels
        own_height, own_width = self.checkpoint.input_size
        self.input_size = (input_height or own_height, input_width or own_width)
        if min(self.input_size) < 1:
            raise ValueError(
                f'expected an input size of at least 1x1; found {self.input_size}. '
                "0 is the checkpoint's own"
            )
        self._dtype = PRECISIONS[self.precision]
        self._network = self.checkpoint.network.eval().requires_grad_(False)
        self._network.to(device=self.device, dtype=self._dtype)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def warm_up(self, size: tuple[int, int] | None = None) -> None:
        """
        Run once, so that the first real frame does not pay for what is set up on first use.

        :param size: (height, width) of the images to come; the network's input size by default.
        """
        self.predict(np.zeros((*(size or self.input_size), 3), np.uint8), confidence=True)

    @overload
    def predict(
        self,
        images: Image,
        *,
        confidence: bool = ...,
        confidence_threshold: float = ...,
        output_size: tuple[int, int] | None = ...,
    ) -> Segmentation: ...

    @overload
    def predict(
        self,
        images: Sequence[Image],
        *,
        confidence: bool = ...,
        confidence_threshold: float = ...,
        output_size: tuple[int, int] | None = ...,
    ) -> list[Segmentation]: ...

    def predict(
        self,
        images: Image | Sequence[Image],
        *,
        confidence: bool = False,
        confidence_threshold: float = 0.0,
        output_size: tuple[int, int] | None = None,
    ) -> Segmentation | list[Segmentation]:
        """
        Segment one image or several.

        :param images: uint8 RGB, (H, W, 3); several may differ in size.
        :param confidence: whether to return that, too.
        :param confidence_threshold: below this softmax probability a pixel is 255.
        :param output_size: (height, width) of the results; each image's own by default.
        :returns: one result for one image, a list for several.
        :raises ValueError: an image of another type or shape.
        """
        if isinstance(images, np.ndarray):
            return self.predict(
                [images],
                confidence=confidence,
                confidence_threshold=confidence_threshold,
                output_size=output_size,
            )[0]
        for image in images:
            _check(image)
        if not images:
            return []
        with torch.inference_mode():
            logits = self.logits(images)
            return [
                self._label(
                    coarse, output_size or image.shape[:2], confidence, confidence_threshold
                )
                for coarse, image in zip(logits, images)
            ]

    def predict_averaged(self, image: Image, scales: Sequence[float], flip: bool) -> Image:
        """
        Segment one image at several sizes, by the mean of its probabilities at its own size.

        This is how papers raise their scores; no robot has the time for it.

        :param image: uint8 RGB, (H, W, 3).
        :param scales: of the network's input size.
        :param flip: whether the mirrored image counts, too.
        :returns: class ids, uint8, (H, W).
        :raises ValueError: an image of another type or shape.
        """
        _check(image)
        height, width = self.input_size
        mean = torch.zeros((), device=self.device)
        with torch.inference_mode():
            for scale in scales:
                size = (max(1, round(scale * height)), max(1, round(scale * width)))
                inputs = self._to_input(image, size)
                for mirrored in (False, True)[: 1 + flip]:
                    x = inputs.flip(3) if mirrored else inputs
                    logits = self._network.coarse_logits(x).float().contiguous()
                    probability = self.upsample(logits, image.shape[:2]).softmax(1)
                    mean = mean + (probability.flip(3) if mirrored else probability)
            return mean.max(1).indices[0].to(torch.uint8).cpu().numpy()

    def logits(self, images: Sequence[Image]) -> list[Tensor]:
        """Return each image's logits at the network's own stride, float32, (1, C, h, w)."""
        batch = [self._to_input(image, self.input_size) for image in images]
        # A CPU gains nothing from a batch, and an image's labels shall not depend on its company.
        batches = [torch.cat(batch)] if self.device.startswith('cuda') else batch
        return [
            logits
            for inputs in batches
            for logits in self._network.coarse_logits(inputs).float().split(1)
        ]

    def _to_input(self, image: Image, size: tuple[int, int]) -> Tensor:
        """Return a normalised (1, 3, *size) on the device, channels last in memory."""
        # PyTorch warns of read-only memory, such as a message's, and takes no view that runs
        # backwards, such as BGR seen as RGB.
        if not image.flags.writeable or min(image.strides) < 0:
            image = image.copy()
        pixels = torch.from_numpy(image)
        pixels = pixels.to(self.device, non_blocking=True).permute(2, 0, 1).unsqueeze(0)
        x = self.checkpoint.preprocessing(pixels, size, self._dtype)
        return x.contiguous(memory_format=torch.channels_last)

    def upsample(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Return coarse logits at ``size``, bilinearly, as the network's paper aligns it."""
        return self._network.upsample(logits, size)

    def _label(
        self, logits: Tensor, size: tuple[int, int], confidence: bool, threshold: float
    ) -> Segmentation:
        mean = float(logits.softmax(1).max(1).values.mean())
        logits = self.upsample(logits.contiguous(), size)
        if not confidence and threshold <= 0:
            # Of the two, PyTorch computes max several times faster than argmax on a CPU.
            labels = logits.max(1).indices[0].to(torch.uint8)
            return Segmentation(labels.cpu().numpy(), None, mean)
        # A CPU is several times faster on what fits its cache.
        rows = STRIP if self.device == 'cpu' else size[0]
        strips = [_most_probable(strip) for strip in logits[0].split(rows, dim=1)]
        labels, probability = (torch.cat(parts) for parts in zip(*strips))
        if threshold > 0:
            labels = labels.masked_fill(probability < threshold, IGNORE)
        quantised = (probability * 255).round().to(torch.uint8) if confidence else None
        return Segmentation(
            labels.cpu().numpy(), None if quantised is None else quantised.cpu().numpy(), mean
        )


def _most_probable(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the class of each pixel, uint8 (H, W), and its softmax probability; of (C, H, W)."""
    highest, labels = logits.max(0)
    return labels.to(torch.uint8), (logits - highest).exp_().sum(0).reciprocal_()


def _check(image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f'expected images of uint8 RGB, (H, W, 3); found {image.dtype} {image.shape}'
        )


def choose_device(device: str) -> str:
    """
    Return the device that ``auto`` stands for here, or ``device`` itself.

    :raises DeviceError: it is not to be had.
    """
    count = torch.cuda.device_count()
    available = ['cpu', 'cuda', *(f'cuda:{i}' for i in range(count))] if count else ['cpu']
    if device == 'auto':
        return available[min(1, len(available) - 1)]
    if device not in available:
        raise DeviceError(
            f'device: expected auto or one of {", ".join(available)}; found {device!r}. '
            'PyTorch sees no other device here: check nvidia-smi and that PyTorch has CUDA'
        )
    return device


def _choose_precision(precision: str, device: str) -> str:
    if precision not in ('auto', *PRECISIONS):
        raise DeviceError(
            f'precision: expected auto, {", ".join(PRECISIONS)}; found {precision!r}'
        )
    if precision != 'auto':
        return precision
    if device.startswith('cuda'):
        return 'fp16'
    # Emulated bfloat16 is slower than float32, so ask for the instructions. The names are
    # PyTorch's private ones and may be missing from another version.
    probes = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')
    fast = any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
    return 'bf16' if fast else 'fp32'
