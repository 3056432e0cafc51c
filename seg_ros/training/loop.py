# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, fields
import io
import json
from math import isnan
import os
from pathlib import Path
import time
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from ..datasets.augmentation import Augmentation
from ..datasets.catalog import open_dataset
from ..datasets.dataset import class_counts, LabelledImages, read_ahead
from ..images.files import write_atomically
from ..inference.checkpoint import (
    Checkpoint,
    CheckpointError,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from ..inference.preprocessing import Preprocessing
from ..inference.segmenter import Segmenter
from ..metrics.confusion_matrix import ConfusionMatrix
from ..metrics.evaluate import evaluate
from ..metrics.process_group import gathered, local_world_size, rank, summed, world_size
from ..models import build_model, SegmentationNetwork
from ..models.cascade import EXITS
from .config import Recipe
from .images import Batches, in_memory, TrainingImages, union
from .log import Log
from .losses import class_weights, distillation_loss, label_weights, labels_of, total_loss
from .mixture import open_mixture
from .parallel import training_form
from .pretrained import load_pretrained, Origin, origin_of
from .schedule import learning_rate, make_optimizer

LAST = EXITS[-1]
"""The exit of a network that does not leave early."""

TYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
"""PyTorch's type for each precision of a recipe."""

MAY_CHANGE = ('epochs', 'validate_every', 'pretrained', 'learning_rate', 'warm_up')
"""The keys of a recipe that may be changed when a training is resumed."""

Outputs = tuple[Tensor, list[Tensor]]
"""The logits of a network's main output and of its auxiliary outputs, each (N, C, H, W)."""


class Training:
    """
    One training, from a recipe to ``OUT/best.safetensors``.

    :param recipe: the recipe.
    :param out: folder for ``last.pt`` (everything that resuming needs), ``best.safetensors`` and
        ``tensorboard``.
    :param device: ``cpu``, ``cuda`` or ``cuda:N``.
    :raises DatasetError: a file of the data set cannot be used; all files are checked.
    :raises ValueError: the recipe does not fit the data, the network or the device.
    """

    def __init__(self, recipe: Recipe, out: str | Path, device: str = 'cpu') -> None:
        self.recipe, self.out, self.device = recipe, Path(out), device
        self.kind = torch.device(device).type
        if recipe.precision == 'fp16' and self.kind != 'cuda':
            raise ValueError('precision: fp16 needs a GPU; use bf16 or fp32 here')
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision('high')
        torch.manual_seed(recipe.seed)
        self.log = Log(self.out)
        self._open_data()
        self._build_network()
        self.epoch, self.best = 0, -1.0
        self.history: list[dict[str, float]] = []

    def _open_data(self) -> None:
        recipe = self.recipe
        mixture = open_mixture(recipe)
        self.data = mixture.images
        height, width = self.data[0][1].shape
        self.input_size = (recipe.input_size[0] or height, recipe.input_size[1] or width)
        by_image = class_counts(self.data, progress=rank() == 0)
        pixels, classes = torch.from_numpy(mixture.pixels(by_image)), len(self.data.labels)
        groups = None if mixture.groups is None else torch.from_numpy(mixture.groups)
        counts, weights = label_weights(pixels, classes, recipe.class_weight_power, groups)
        self.weights = weights.to(self.device)
        self.groups = None if groups is None else groups.to(self.device)
        rare = class_weights(counts, 1.0).gt(1).nonzero().flatten().tolist()
        # A rare class that occurs only within groups of classes cannot be cut out of an image.
        having = {c: np.flatnonzero(by_image[:, c]).tolist() for c in rare}
        donors = {c: images for c, images in having.items() if images}
        augmentation = Augmentation(
            recipe.crop, recipe.scale, recipe.stretch, appearance=recipe.appearance
        )
        self.batches = Batches(len(self.data), recipe.batch, recipe.seed, mixture.sets)
        self.loader = DataLoader(
            TrainingImages(self.data, augmentation, recipe.seed, recipe.paste, donors),
            batch_sampler=self.batches,
            num_workers=_workers(),
            worker_init_fn=_begin_worker,
            persistent_workers=True,
            pin_memory=self.kind == 'cuda',
        )
        self.scored: dict[str, LabelledImages] = {}
        for split in recipe.splits[1:]:
            self.scored[split] = in_memory(open_dataset(recipe.dataset, recipe.root, split))
            class_counts(self.scored[split], progress=rank() == 0)

    def _build_network(self) -> None:
        recipe, classes = self.recipe, len(self.data.labels)
        self.architecture = {'num_classes': classes, **recipe.network}
        if self.architecture['num_classes'] != classes:
            raise ValueError(
                f'network: expected num_classes of {self.data.name}, {classes}, or none; found '
                f'{self.architecture["num_classes"]}'
            )
        try:
            self.network: SegmentationNetwork = build_model(self.architecture)
        except TypeError as error:
            raise ValueError(
                f'network: expected arguments that {recipe.network.get("name")} takes; found '
                f'{error}'
            ) from error
        self.origin = Origin(Preprocessing(), {})
        if recipe.pretrained:
            self.origin = origin_of(recipe.pretrained)
            lacking = ', '.join(load_pretrained(self.network, recipe.pretrained)) or 'none'
            self.log.say(f'{recipe.pretrained}: tensors that it lacks: {lacking}')
        if not recipe.auxiliary and recipe.network.get('exit', LAST) != LAST:
            raise ValueError(
                f'auxiliary: expected more than 0 for a network with an early exit, which learns '
                f'by auxiliary losses; found {recipe.auxiliary:g} and the exit '
                f'{recipe.network["exit"]!r}. Train without exit, and choose one afterwards'
            )
        if not recipe.auxiliary:
            # These outputs have no loss. Their weights must not require gradients, for which
            # DistributedDataParallel would wait.
            for name in self.network.training_only:
                self.network.get_submodule(name).requires_grad_(False)
        self.network.train_stride = recipe.loss_stride
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = self._load_teacher() if recipe.teacher else None
        # Copy the network before its batch norms are synchronised; the copy is only evaluated.
        self.average = AveragedModel(self.network, use_buffers=True) if recipe.ema else None
        self.outputs = training_form(self.network, self.device)
        self.optimizer = make_optimizer(recipe, self.network)
        self.scaler = torch.amp.GradScaler(self.kind, enabled=recipe.precision == 'fp16')

    def _load_teacher(self) -> Checkpoint:
        teacher = load_checkpoint(find_checkpoint(self.recipe.teacher))
        if teacher.labels.names != self.data.labels.names:
            raise CheckpointError(
                f'{self.recipe.teacher}: expected a teacher of the classes of {self.data.name}; '
                f'found {", ".join(teacher.labels.names)}'
            )
        teacher.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return teacher

    def run(self) -> dict[str, Any]:
        """
        Train to the last epoch, and then score the best weights on all but the training split.

        :returns: ``miou`` (of the last split in the recipe), ``epochs``, ``images_seen`` and
            ``checkpoint``, the path of the best weights, whose metadata holds the scores.
        :raises ValueError: the loss is not finite.
        """
        recipe = self.recipe
        total = recipe.epochs * len(self.batches) * recipe.batch
        with closing(self.log), self.log.start(total, self.images_seen) as bar:
            try:
                while self.epoch < recipe.epochs:
                    record = self._train_epoch(bar)
                    self.epoch += 1
                    record = {'epoch': self.epoch, **record}
                    if self.epoch % recipe.validate_every == 0 or self.epoch == recipe.epochs:
                        record['miou'] = self._validate()
                    self.history.append(record)
                    self._save()
                    self.log.epoch(record, self.images_seen)
            finally:
                # End the loader's processes here. The garbage collector would first close the
                # queues that tell them to end, and then wait 5 seconds for them in vain.
                del self.loader
        return {
            'miou': self._score_best(),
            'epochs': self.epoch,
            'images_seen': self.images_seen,
            'checkpoint': str(self.out / 'best.safetensors'),
        }

    @property
    def images_seen(self) -> int:
        """Return the number of augmented images that the network has been trained on."""
        return self.epoch * len(self.batches) * self.recipe.batch

    def _train_epoch(self, bar: Any) -> dict[str, float]:
        """Run one pass over the data; return its mean loss, its duration and its speed."""
        self.batches.epoch = self.epoch
        started, waited = time.monotonic(), 0.0
        losses = []
        batches = iter(self.loader)
        for i in range(len(self.batches)):
            asked = time.monotonic()
            images, labels = next(batches)
            waited += time.monotonic() - asked
            losses.append(self.step(images, labels, self.epoch * len(self.batches) + i))
            bar.update(self.recipe.batch)
            if i % 20 == 0:  # Reading a loss from a GPU waits for all its work.
                scores = {'miou': f'{self.best:.3f}'} if self.best >= 0 else {}
                bar.set_postfix(loss=f'{losses[-1]:.3f}', **scores)
        # Each process's loss is the sum over its own images, divided by the mean weight per
        # process, so that the mean over processes is the loss of the whole batch.
        loss = float(np.mean(gathered(float(torch.stack(losses).mean()))))
        if not np.isfinite(loss):
            raise ValueError(
                f'epoch {self.epoch + 1}: expected a finite loss; found {loss}. Lower '
                'learning_rate, or lengthen warm_up, and --resume from the epoch before'
            )
        seconds = time.monotonic() - started
        return {
            'loss': loss,
            'learning_rate': self.optimizer.param_groups[0]['lr'],
            'seconds': round(seconds, 2),
            'images_per_second': round(len(losses) * self.recipe.batch / seconds, 2),
            'waiting': round(waited / seconds, 3),
        }

    def step(self, images: Tensor, labels: Tensor, step: int) -> Tensor:
        """
        Train on one batch.

        :param images: uint8 RGB, (N, 3, H, W).
        :param labels: uint8 train ids, (N, H, W).
        :param step: number of the step in the whole training, which decides the learning rate.
        :returns: the loss.
        """
        x, y = self.to_device(images, labels)
        loss = self.loss(self.forward(x), y, images)
        self.backward(loss)
        self.update(step)
        return loss.detach()

    def to_device(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch on the device: normalised float32 images, channels last, int64 labels."""
        x = self.origin.preprocessing.normalise(images.to(self.device, non_blocking=True).float())
        y = labels.to(self.device, non_blocking=True).long()
        return x.contiguous(memory_format=torch.channels_last), y

    def forward(self, x: Tensor) -> Outputs:
        """Return the network's training outputs of normalised images in the recipe's precision."""
        self.network.train()
        with self._autocast():
            outputs: Outputs = self.outputs(x)
        return outputs

    def loss(self, outputs: Outputs, labels: Tensor, images: Tensor) -> Tensor:
        """
        Return the recipe's loss for the network's outputs.

        :param outputs: the outputs for these images.
        :param labels: int64 train ids, (N, H, W).
        :param images: uint8 RGB, (N, 3, H, W), for the teacher.
        """
        recipe, (main, auxiliary) = self.recipe, outputs
        if recipe.full_size_loss:
            size = (labels.shape[-2], labels.shape[-1])
            main, *auxiliary = (self.network.upsample(x, size) for x in (main, *auxiliary))
        loss = total_loss(
            main,
            auxiliary,
            labels,
            self.weights,
            [recipe.auxiliary * weight for weight in self.network.auxiliary_weights],
            recipe.ohem,
            recipe.lovasz,
            self.groups,
            self._middle,
        )
        if self.teacher:
            with torch.inference_mode(), self._autocast():
                x = self.teacher.preprocessing.normalise(images.to(self.device).float())
                coarse = self.teacher.network.coarse_logits(x)
                target = self.teacher.network.upsample(coarse, (main.shape[-2], main.shape[-1]))
            here = labels_of(main, labels, self._middle)
            loss = loss + recipe.distillation * distillation_loss(main, target, here)
        return loss

    @property
    def _middle(self) -> bool:
        """Whether a pixel of the main output stands for the middle of the square it covers."""
        recipe = self.recipe
        resized = recipe.loss_stride > 1 and not recipe.full_size_loss
        return resized and not self.network.align_corners

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()

    def update(self, step: int) -> None:
        """Update the weights by the gradients, and the moving average by the weights."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group['lr'] = learning_rate(recipe, step, recipe.epochs * len(self.batches))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average:
            # At first, average over few steps only, since the weights still change fast.
            decay = min(recipe.ema, (1 + step) / (10 + step))
            self.average.multi_avg_fn = get_ema_multi_avg_fn(decay)
            self.average.update_parameters(self.network)

    def _autocast(self) -> torch.autocast:
        precision = self.recipe.precision
        return torch.autocast(self.kind, TYPES[precision], enabled=precision != 'fp32')

    def _validate(self) -> float:
        """Score the current weights, and save them if they are the best so far."""
        network: Any = self.average.module if self.average else self.network
        checkpoint = Checkpoint(
            network,
            self.architecture,
            self.data.labels,
            self.input_size,
            self.origin.preprocessing,
            {
                **self.origin.metadata,
                'data': self.data.name,
                'split': ', '.join(dict.fromkeys(s.split for s in self.recipe.sources)),
                # Weights come under the terms of all data that they were trained on.
                'terms': union(self.data.terms, self.origin.metadata.get('terms', '')),
                # Files are recorded without their folders, which are private.
                'recipe': {
                    **_without_folders(self.recipe),
                    'pretrained': Path(self.recipe.pretrained).name,
                    'teacher': Path(self.recipe.teacher).name,
                },
                'epoch': self.epoch,
                'images_seen': self.images_seen,
            },
        )
        segmenter = Segmenter(checkpoint, device=self.device, backend='torch')
        split = self.recipe.splits[1]
        matrix = self._score(segmenter, split)
        miou = matrix.miou()
        self.log.validation(segmenter, self.scored[split], matrix, self.images_seen)
        if miou > self.best:
            self.best = miou
            checkpoint.training['miou'] = {split: miou}
            self._save_best(checkpoint)
        return miou

    def _score(self, segmenter: Segmenter, split: str) -> ConfusionMatrix:
        """Score on a split, of which each process takes a part of the images."""
        images = self.scored[split]
        part = range(rank(), len(images), world_size())
        matrix = evaluate(segmenter, read_ahead(images, part))
        matrix.counts = summed(matrix.counts)
        return matrix

    def _score_best(self) -> float:
        """Score the best weights, store the scores in their file, return the last split's mIoU."""
        best = load_checkpoint(self.out / 'best.safetensors')
        best.training['miou'], best.training['iou'] = {}, {}
        segmenter = Segmenter(best, device=self.device, backend='torch')
        for split in self.recipe.splits[1:]:
            matrix = self._score(segmenter, split)
            best.training['miou'][split] = miou = matrix.miou()
            iou = (None if isnan(v) else round(v, 4) for v in matrix.iou().tolist())
            best.training['iou'][split] = dict(zip(self.data.labels.names, iou))
        self._save_best(best)
        return miou

    def _save_best(self, checkpoint: Checkpoint) -> None:
        if rank() == 0:
            save_checkpoint(self.out / 'best.safetensors', checkpoint, torch.float16)
        gathered(None)  # No process may read the file before it is written.

    def _save(self) -> None:
        if rank() > 0:
            return
        state = {
            'network': self.network.state_dict(),
            'average': self.average.state_dict() if self.average else {},
            'optimizer': self.optimizer.state_dict(),
            'scaler': self.scaler.state_dict(),
            'recipe': asdict(self.recipe),
            'classes': self.data.labels.names,
            'epoch': self.epoch,
            'best': self.best,
            'history': self.history,
            'preprocessing': asdict(self.origin.preprocessing),
            'facts': json.dumps(self.origin.metadata),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.out / 'last.pt', buffer.getvalue())

    def resume(self) -> None:
        """
        Continue from ``OUT/last.pt``, or begin at the first epoch if there is no such file yet.

        :raises CheckpointError: the file is damaged, of another origin, or of another recipe.
        """
        path = self.out / 'last.pt'
        if not path.exists():
            self.log.say(f'{path}: no such file yet; the training begins with epoch 1')
            return
        for name in ('last.pt', 'best.safetensors'):
            for leftover in self.out.glob(f'.{name}.*') if rank() == 0 else ():
                leftover.unlink()  # The training was killed while it wrote this file.
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            recipe, classes = state['recipe'], state['classes']
        except Exception as error:  # A damaged file makes PyTorch raise many kinds of errors.
            raise CheckpointError(
                f'{path}: expected the state of a training to resume; found a file that is '
                f'damaged or of another origin ({type(error).__name__}). Fine-tune from '
                'best.safetensors (pretrained), or train anew into another folder'
            ) from error
        wanted = {**_without_folders(self.recipe), 'classes': self.data.labels.names}
        # A key that did not exist when the training began has its default.
        had = {f.name: f.default for f in fields(Recipe)} | _without_folders(recipe)
        had['classes'] = classes
        for key, value in wanted.items():
            found = had[key]
            if key not in MAY_CHANGE and found != value:
                raise CheckpointError(
                    f'{path}: expected a training with {key}: {value!r}; found {found!r}. Resume '
                    'with its recipe and data, or choose another folder'
                )
        self.network.load_state_dict(state['network'])
        if self.average:
            self.average.load_state_dict(state['average'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.scaler.load_state_dict(state['scaler'])
        self.epoch, self.best = state['epoch'], state['best']
        self.history = state['history']
        # The file that the training started from may have changed since. Older last.pt files do
        # not hold its preprocessing and metadata.
        if 'preprocessing' in state:
            preprocessing = Preprocessing(**state['preprocessing'])
            self.origin = Origin(preprocessing, json.loads(state['facts']))


def _without_folders(recipe: Recipe | Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's keys and values without the folders of its data."""
    values = asdict(recipe) if isinstance(recipe, Recipe) else dict(recipe)
    values['datasets'] = [
        {**each, 'root': '', 'mapping': Path(each['mapping']).name}
        for each in values.get('datasets', ())
    ]
    return {**values, 'root': ''}


def _begin_worker(_: int) -> None:
    # OpenCV's threads do not survive the fork, and each worker has only one core.
    cv2.setNumThreads(0)


def _workers() -> int:
    """Return the number of loader processes: all cores but one, shared between trainings."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(16, (cores - 1) // local_world_size()))
