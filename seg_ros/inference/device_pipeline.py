# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From 8-bit images to 8-bit labels on a CUDA device; only 8-bit pixels cross the bus.

Resizing, network, upsampling, argmax and colours form one program for each combination of sizes
and outputs. A program is recorded as a CUDA graph, so that no kernel waits for Python. Images are
copied to page-locked memory, from which the device fetches them. Results arrive in page-locked
memory too, and the caller gets that memory without another copy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..images.image_file import Image
from ..images.labels import IGNORE, Palette
from ..images.overlay import Paint
from .backends.engine import Engine
from .preprocessing import resize
from .segmentation import LOW, NOT_FINITE, Segmentation

PROGRAMS = 8
"""The most programs that a lane keeps; each has buffers of its own."""

WARM_UP_RUNS = 3
"""Runs before a graph is recorded, in which the libraries choose their algorithms."""

_recording = Lock()


class _Work(NamedTuple):
    """
    What a program computes; each combination of these values has a program of its own.

    :param images: the number of images in a batch.
    :param backwards: whether the images are BGR; the pictures drawn are then BGR too.
    :param threshold: whether a confidence threshold applies; its value is an input.
    :param palette: the palette of the pictures; None if none is drawn.
    """

    images: int
    backwards: bool
    image_size: tuple[int, int]
    output_size: tuple[int, int]
    confidence: bool
    threshold: bool
    palette: Palette | None
    color: bool
    overlay: bool


class _Program(NamedTuple):
    """
    A recorded computation: fill the tensors, call ``run``, and read the tensors it returns.

    A CUDA graph holds only addresses, so the tensors that it reads must live as long as it does.
    """

    pixels: Tensor
    threshold: Tensor
    opacity: Tensor
    palette: Tensor
    run: Callable[[], list[Tensor | None]]


class _Lane:
    """A CUDA stream with the programs recorded on it; one call at a time uses a lane."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device) if device.type == 'cuda' else None
        # A lane's programs run one after the other, so they can share a pool of memory.
        self.pool = torch.cuda.graph_pool_handle() if device.type == 'cuda' else None
        self.programs: OrderedDict[_Work, _Program] = OrderedDict()


class DevicePipeline:
    """
    An engine with all the steps before and after it, on the engine's device.

    Several threads may call it at once; the copies of one call then overlap with the computation
    of another.

    :param input_size: (height, width) of the network's input.
    :param align_corners: whether the upsampling of the logits aligns corners, as PyTorch defines
        it.
    :param graphs: whether to record CUDA graphs; engines that cannot be recorded run without them.
    """

    def __init__(
        self, engine: Engine, input_size: tuple[int, int], align_corners: bool, graphs: bool
    ) -> None:
        self._engine = engine
        self._input_size = input_size
        self._align_corners = align_corners
        self._graphs = graphs and engine.recordable and engine.device.startswith('cuda')
        self._device = torch.device(engine.device)
        self._idle: list[_Lane] = []

    def __call__(
        self,
        images: Sequence[Image],
        confidence: bool,
        threshold: float,
        output_size: tuple[int, int] | None,
        paint: Paint | None,
    ) -> list[Segmentation]:
        """Segment images; see :meth:`seg_ros.inference.segmenter.Segmenter.predict`."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, image in enumerate(images):
            groups.setdefault((image.shape, image.strides[2] < 0), []).append(i)
        results: dict[int, Segmentation] = {}
        for indices in groups.values():
            batch = [images[i] for i in indices]
            found = self._batch(batch, confidence, threshold, output_size, paint)
            results.update(zip(indices, found))
        return [results[i] for i in range(len(images))]

    def _batch(
        self,
        images: Sequence[Image],
        confidence: bool,
        threshold: float,
        output_size: tuple[int, int] | None,
        paint: Paint | None,
    ) -> list[Segmentation]:
        size = images[0].shape[:2]
        backwards = images[0].strides[2] < 0  # a view of BGR, whose channels the device reverses
        drawn = paint is not None and (paint.color or paint.overlay)
        work = _Work(
            len(images),
            backwards,
            size,
            output_size or size,
            confidence,
            threshold > 0,
            paint.palette if paint is not None and drawn else None,
            paint is not None and paint.color,
            paint is not None and paint.overlay,
        )
        try:
            lane = self._idle.pop()
        except IndexError:
            lane = _Lane(self._device)
        with ExitStack() as stack:
            if lane.stream is not None:
                stack.enter_context(torch.cuda.device(self._device))
                stack.enter_context(torch.cuda.stream(lane.stream))
            program = self._program(lane, work)
            # PyTorch reuses page-locked memory once nothing refers to it any more.
            locked = lane.stream is not None
            host = torch.empty(program.pixels.shape, dtype=torch.uint8, pin_memory=locked)
            for target, image in zip(host.numpy(), images):
                np.copyto(target, image[:, :, ::-1] if backwards else image)
            program.pixels.copy_(host, non_blocking=True)
            program.threshold.fill_(threshold)
            program.opacity.fill_(paint.opacity if paint is not None else 0)
            outputs = program.run()
            arrived = [
                None
                if tensor is None
                else torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=locked).copy_(
                    tensor, non_blocking=True
                )
                for tensor in outputs
            ]
            if lane.stream is not None:
                lane.stream.synchronize()  # without the GIL
        # After an error the lane is not used again, as its state is unknown.
        self._idle.append(lane)
        return _results(arrived, backwards)

    def _program(self, lane: _Lane, work: _Work) -> _Program:
        """Return the lane's program for some work, and record it if there is none yet."""
        if work not in lane.programs:
            while len(lane.programs) >= PROGRAMS:
                lane.programs.popitem(last=False)
            lane.programs[work] = self._record(lane, work)
        lane.programs.move_to_end(work)
        return lane.programs[work]

    def _record(self, lane: _Lane, work: _Work) -> _Program:
        device = self._device
        pixels = torch.zeros(work.images, *work.image_size, 3, dtype=torch.uint8, device=device)
        threshold, opacity = torch.zeros(2, device=device)
        palette = torch.zeros(256, 3, device=device)
        if work.palette is not None:
            colors = torch.tensor(work.palette, dtype=torch.float32)
            palette[: len(colors)] = (colors.flip(1) if work.backwards else colors).to(device)
        inputs = pixels, threshold, opacity, palette

        def compute() -> list[Tensor | None]:
            return self._compute(work, *inputs)

        if not self._graphs or lane.stream is None:
            return _Program(*inputs, compute)
        # Only one thread at a time: starting a recording waits for the device, which is forbidden
        # while another thread records.
        with _recording:
            for _ in range(WARM_UP_RUNS):
                compute()
            lane.stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # With thread_local, other threads can go on running their recorded programs.
            with torch.cuda.graph(
                graph, lane.pool, lane.stream, capture_error_mode='thread_local'
            ):
                outputs = compute()

        def replay() -> list[Tensor | None]:
            graph.replay()
            return outputs

        return _Program(*inputs, replay)

    def _compute(
        self, work: _Work, pixels: Tensor, threshold: Tensor, opacity: Tensor, palette: Tensor
    ) -> list[Tensor | None]:
        """
        Run one batch.

        :returns: labels, confidence, (mean confidence, low confidence), colours and overlay; None
            for outputs that are not asked for.
        """
        resized = resize(pixels, self._input_size)
        coarse = self._engine.logits(resized.flip(3) if work.backwards else resized)
        sure = coarse.softmax(1).amax(1)
        summary = torch.stack([sure.mean((1, 2)), (sure < LOW).to(sure.dtype).mean((1, 2))])
        logits = coarse
        if coarse.shape[2:] != work.output_size:
            logits = F.interpolate(
                coarse.contiguous(),
                work.output_size,
                mode='bilinear',
                align_corners=self._align_corners,
            )
        best, winners = logits.max(1)
        labels = winners.to(torch.uint8)
        confidence = color = blended = None
        if work.confidence or work.threshold:
            probability = (logits - best.unsqueeze(1)).exp_().sum(1).reciprocal_()
            if work.threshold:
                labels = labels.masked_fill(probability < threshold, IGNORE)
            if work.confidence:
                confidence = (probability * 255).round_().to(torch.uint8)
        if work.color or work.overlay:
            painted = palette[labels.long()]
            if work.overlay:
                under = resize(pixels, work.output_size).float()
                mixed = under.lerp(painted, opacity).round_()
                known = (labels != IGNORE).unsqueeze(3)
                blended = torch.where(known, mixed, under).to(torch.uint8)
            if work.color:
                color = painted.to(torch.uint8)
        return [labels, confidence, summary, color, blended]


def _results(outputs: Sequence[Tensor | None], backwards: bool) -> list[Segmentation]:
    """
    Return a batch's outputs as one result for each image; they share memory with the outputs.

    :raises ValueError: the logits are NaN or infinite.
    """
    labels, confidence, summary, color, blended = (
        None if tensor is None else tensor.numpy() for tensor in outputs
    )
    order = slice(None, None, -1 if backwards else 1)
    assert labels is not None and summary is not None
    if not np.isfinite(summary).all():
        raise ValueError(NOT_FINITE)
    return [
        Segmentation(
            labels[i],
            None if confidence is None else confidence[i],
            float(summary[0, i]),
            float(summary[1, i]),
            None if color is None else color[i][:, :, order],
            None if blended is None else blended[i][:, :, order],
        )
        for i in range(len(labels))
    ]
