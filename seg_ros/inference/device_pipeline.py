# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From 8-bit images to 8-bit labels on a CUDA device: nothing wider crosses the bus.

Resizing, network, upsampling, argmax and colours are one program for each combination of sizes
and outputs. It is recorded as a CUDA graph, so that no kernel waits for Python. Images are copied
into page-locked memory, from where the device fetches them, and results arrive in page-locked
memory, which is what the caller gets.
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
"""How many programs a lane keeps; each has buffers of its own."""

WARM_UP_RUNS = 3
"""Before a graph is recorded, libraries choose their algorithms."""

_recording = Lock()


class _Work(NamedTuple):
    """
    What a program does; another combination is another program.

    :param backwards: the images are BGR, and so shall the pictures be.
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
    A recorded computation: fill the inputs, run, read what it returns.

    A graph knows addresses only, so whatever it reads must live as long.
    """

    pixels: Tensor
    threshold: Tensor
    opacity: Tensor
    palette: Tensor
    run: Callable[[], list[Tensor | None]]


class _Lane:
    """What one call at a time uses: a stream, and the programs recorded on it."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device) if device.type == 'cuda' else None
        # They run one after the other and so may share what they need in between.
        self.pool = torch.cuda.graph_pool_handle() if device.type == 'cuda' else None
        self.programs: OrderedDict[_Work, _Program] = OrderedDict()


class DevicePipeline:
    """
    An engine, and all that is around it, on the engine's device.

    Threads may call it at the same time; then one's copies overlap with the other's computing.

    :param input_size: (height, width) of what the network sees.
    :param align_corners: how the network's logits are upsampled.
    :param graphs: whether to record CUDA graphs; engines that cannot be recorded run without.
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
        backwards = images[0].strides[2] < 0  # BGR seen as RGB: turned on the device
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
            # PyTorch keeps page-locked memory for the next time, once its last user is gone.
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
        # Not after an error: what a broken lane would do is anyone's guess.
        self._idle.append(lane)
        return _results(arrived, backwards)

    def _program(self, lane: _Lane, work: _Work) -> _Program:
        """Return the lane's program for some work, recorded if that is new."""
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
        # One at a time: to begin recording waits for the device, which nobody may while another
        # records.
        with _recording:
            for _ in range(WARM_UP_RUNS):
                compute()
            lane.stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on running what they have.
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
        """Return labels, confidence, [mean, low confidence], colours, overlay; None: not asked."""
        seen = resize(pixels, self._input_size)
        coarse = self._engine.logits(seen.flip(3) if work.backwards else seen)
        sure = coarse.softmax(1).amax(1)
        facts = torch.stack([sure.mean((1, 2)), (sure < LOW).to(sure.dtype).mean((1, 2))])
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
        return [labels, confidence, facts, color, blended]


def _results(outputs: Sequence[Tensor | None], backwards: bool) -> list[Segmentation]:
    """Return one result an image of a batch's outputs on the host, which share their memory."""
    labels, confidence, facts, color, blended = (
        None if tensor is None else tensor.numpy() for tensor in outputs
    )
    order = slice(None, None, -1 if backwards else 1)
    assert labels is not None and facts is not None
    if not np.isfinite(facts).all():
        raise ValueError(NOT_FINITE)
    return [
        Segmentation(
            labels[i],
            None if confidence is None else confidence[i],
            float(facts[0, i]),
            float(facts[1, i]),
            None if color is None else color[i][:, :, order],
            None if blended is None else blended[i][:, :, order],
        )
        for i in range(len(labels))
    ]
