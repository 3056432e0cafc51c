# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
import io
from pathlib import Path
import time
from typing import Any

import numpy as np
import torch
from torch import nn, Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from ..datasets.augmentation import Augmentation
from ..datasets.camvid import camvid
from ..datasets.dataset import Dataset
from ..datasets.sample_drive import SampleDrive
from ..evaluation.dataset import evaluate
from ..inference.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ..inference.files import write_atomically
from ..inference.image_file import Image
from ..inference.preprocessing import Preprocessing
from ..inference.segmenter import Segmenter
from ..models import build_model, SegmentationNetwork
from .config import Recipe
from .losses import class_weights, total_loss

DATASETS = {'camvid': camvid}


class TrainingImages(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """
    Augmented images of a data set that is held in memory.

    An item is asked for by (epoch, index). Its random numbers depend on these and the seed
    alone, so a resumed training, and one with other workers, sees the same images.
    """

    def __init__(
        self, samples: list[tuple[Image, Image]], augmentation: Augmentation, seed: int
    ) -> None:
        self.samples = samples
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return uint8 (3, H, W) and uint8 (H, W)."""
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        image, labels = self.augmentation(*self.samples[index], rng)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(labels)


class Shuffled(Sampler[tuple[int, int]]):
    """Every index once, in an order that depends on the seed and the epoch alone."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        return ((self.epoch, int(i)) for i in order)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the rate of a step: linear warm-up, then polynomial decay to 0."""
    warm_up = max(1, round(recipe.warm_up * steps))
    rise = min(1.0, (step + 1) / warm_up)
    fall = 1 - max(0, step - warm_up) / max(1, steps - warm_up)
    return recipe.learning_rate * rise * fall**recipe.power


def make_optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Return the recipe's optimizer; biases and batch norms do not decay."""
    parameters = list(network.parameters())
    groups = [
        {'params': [p for p in parameters if p.ndim > 1], 'weight_decay': recipe.weight_decay},
        {'params': [p for p in parameters if p.ndim <= 1], 'weight_decay': 0.0},
    ]
    if recipe.optimizer == 'adamw':
        return torch.optim.AdamW(groups, recipe.learning_rate)
    if recipe.optimizer == 'sgd':
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=0.9)
    raise ValueError(f'optimizer: expected adamw or sgd; found {recipe.optimizer!r}')


class Training:
    """
    One training, from a recipe to ``OUT/best.safetensors``.

    :param out: folder of ``last.pt`` (all that resuming needs) and ``best.safetensors``.
    :param device: ``cpu`` or ``cuda``.
    """

    def __init__(self, recipe: Recipe, out: str | Path, device: str = 'cpu') -> None:
        if recipe.dataset not in DATASETS:
            raise ValueError(
                f'dataset: expected one of {", ".join(DATASETS)}; found {recipe.dataset!r}'
            )
        self.recipe, self.out, self.device = recipe, Path(out), device
        if len(recipe.splits) not in (2, 3):
            raise ValueError(
                'splits: expected one to train on, one to choose on and perhaps one to test on; '
                f'found {recipe.splits}'
            )
        train, val, *_ = (DATASETS[recipe.dataset](recipe.root, split) for split in recipe.splits)
        self.data: Dataset = train
        self.validation = [val[i] for i in range(len(val))]
        samples = [train[i] for i in range(len(train))]
        samples += _drive_samples(recipe, samples[0][0].shape)
        self.sampler = Shuffled(len(samples), recipe.seed)
        augmentation = Augmentation(
            recipe.crop, recipe.scale, stretch=recipe.stretch, jitter=recipe.jitter
        )
        self.loader = DataLoader(
            TrainingImages(samples, augmentation, recipe.seed),
            recipe.batch,
            sampler=self.sampler,
            num_workers=1,
            drop_last=True,
            persistent_workers=True,
        )
        if not len(self.loader):
            raise ValueError(
                f'batch: expected at most the {len(samples)} training images; found {recipe.batch}'
            )
        torch.manual_seed(recipe.seed)
        self.architecture = {**recipe.network, 'num_classes': len(train.labels)}
        self.network: SegmentationNetwork = build_model(self.architecture)
        self.network.to(device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(recipe, self.network)
        average = get_ema_multi_avg_fn(recipe.ema)
        self.average = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
        counts = np.zeros(256, np.int64)
        for _, labels in samples:
            counts += np.bincount(labels.ravel(), minlength=256)
        self.weights = class_weights(
            torch.from_numpy(counts[: len(train.labels)]), recipe.class_weight_power
        ).to(device)
        self.preprocessing = Preprocessing()
        self.input_size = samples[0][0].shape[:2]
        self.epoch, self.best = 0, -1.0
        self.history: list[dict[str, float]] = []

    def run(self) -> dict[str, Any]:
        """
        Train to the last epoch, then score the best weights on all but the training split.

        :returns: ``miou`` (of the last split in the recipe), ``epochs``, ``images_seen`` and
            ``checkpoint``, whose metadata holds the scores.
        """
        while self.epoch < self.recipe.epochs:
            started = time.monotonic()
            loss = self._train_epoch()
            self.epoch += 1
            seconds = time.monotonic() - started
            record = {'epoch': self.epoch, 'loss': loss, 'seconds': round(seconds, 1)}
            if self.epoch % self.recipe.validate_every == 0 or self.epoch == self.recipe.epochs:
                record['miou'] = self._validate()
            self.history.append(record)
            self._save()
            tqdm.write('  '.join(f'{k} {v:.4g}' for k, v in record.items()))
        return {
            'miou': self._score_best(),
            'epochs': self.epoch,
            'images_seen': self.images_seen,
            'checkpoint': str(self.out / 'best.safetensors'),
        }

    @property
    def images_seen(self) -> int:
        """Return how many augmented images the network has been trained on."""
        return self.epoch * len(self.loader) * self.recipe.batch

    def _train_epoch(self) -> float:
        """Run one pass over the data; return the mean loss."""
        recipe = self.recipe
        self.network.train()
        self.sampler.epoch = self.epoch
        steps = recipe.epochs * len(self.loader)
        losses = []
        bar = tqdm(self.loader, f'epoch {self.epoch + 1}/{recipe.epochs}', leave=False)
        for i, (images, labels) in enumerate(bar):
            step = self.epoch * len(self.loader) + i
            for group in self.optimizer.param_groups:
                group['lr'] = learning_rate(recipe, step, steps)
            x = self.preprocessing.normalise(images.to(self.device).float())
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device, torch.bfloat16, enabled=recipe.precision == 'bf16'):
                main, auxiliary = self.network.forward_train(x)
            loss = total_loss(
                main,
                auxiliary,
                labels.to(self.device).long(),
                self.weights,
                self.network.auxiliary_weights,
                recipe.ohem,
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            if recipe.ema:
                # Early on a short average, as the weights still move fast.
                decay = min(recipe.ema, (1 + step) / (10 + step))
                self.average.multi_avg_fn = get_ema_multi_avg_fn(decay)
                self.average.update_parameters(self.network)
            losses.append(float(loss.detach()))
            bar.set_postfix(loss=f'{np.mean(losses[-20:]):.3f}', miou=f'{self.best:.3f}')
        return float(np.mean(losses))

    def _validate(self) -> float:
        """Score the current weights; keep them if no earlier ones were better."""
        network: Any = self.average.module if self.recipe.ema else self.network
        checkpoint = Checkpoint(
            network,
            self.architecture,
            self.data.labels,
            self.input_size,
            self.preprocessing,
            {
                'data': self.data.name,
                'split': self.recipe.splits[0],
                'terms': self.data.terms,
                'recipe': asdict(self.recipe) | {'root': ''},
                'epoch': self.epoch,
                'images_seen': self.images_seen,
            },
        )
        miou = evaluate(Segmenter(checkpoint, device=self.device), self.validation).miou()
        if miou > self.best:
            self.best = miou
            checkpoint.training['miou'] = {self.recipe.splits[1]: miou}
            save_checkpoint(self.out / 'best.safetensors', checkpoint, torch.float16)
        return miou

    def _score_best(self) -> float:
        """Write the scores of the stored weights beside them; return the last split's mIoU."""
        path = self.out / 'best.safetensors'
        best = load_checkpoint(path)
        best.training['miou'], best.training['iou'] = {}, {}
        segmenter = Segmenter(best, device=self.device)
        for split in self.recipe.splits[1:]:
            data = DATASETS[self.recipe.dataset](self.recipe.root, split)
            matrix = evaluate(segmenter, map(data.__getitem__, range(len(data))))
            best.training['miou'][split] = miou = matrix.miou()
            iou = (round(value, 4) for value in matrix.iou().tolist())
            best.training['iou'][split] = dict(zip(data.labels.names, iou))
        save_checkpoint(path, best, torch.float16)
        return miou

    def _save(self) -> None:
        state = {
            'network': self.network.state_dict(),
            'average': self.average.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'epoch': self.epoch,
            'best': self.best,
            'history': self.history,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.out / 'last.pt', buffer.getvalue())

    def resume(self) -> None:
        """
        Go on from ``OUT/last.pt``.

        :raises OSError: there is none.
        """
        state = torch.load(self.out / 'last.pt', map_location=self.device, weights_only=True)
        self.network.load_state_dict(state['network'])
        self.average.load_state_dict(state['average'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.epoch, self.best = state['epoch'], state['best']
        self.history = state['history']


def _drive_samples(recipe: Recipe, shape: tuple[int, ...]) -> list[tuple[Image, Image]]:
    height, width = shape[:2]
    samples: list[tuple[Image, Image]] = []
    for seed in recipe.drives:
        drive = SampleDrive(seed=seed, frames=recipe.drive_frames, size=(width, height))
        samples += [drive[i] for i in range(len(drive))]
    return samples
