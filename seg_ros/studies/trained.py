# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The trainings behind the rows of studies; rows of the same recipe share one training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from hashlib import sha256
import json
from pathlib import Path
from typing import Any

from ..datasets.catalog import open_dataset
from ..datasets.dataset import read_ahead
from ..images.files import write_atomically
from ..inference.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ..inference.segmenter import Segmenter
from ..metrics.evaluate import evaluate
from ..models.cascade import Cascade
from ..pruning.compression import prune
from ..training.config import Recipe
from ..training.loop import Training
from .study_rows import StudyRow

RESULT = 'result.json'
"""The file in a training's folder that marks it as finished and holds its mIoU by exit."""

SCALES = (0.75, 1.5)
"""The smallest and largest random scale of an image, relative to one that fits the crop."""

FINE_TUNING = 0.5
"""The share of the schedule's epochs and learning rate with which pruned networks are trained."""


@dataclass(frozen=True)
class Schedule:
    """
    How all rows are trained, and where.

    :param dataset: a name of :data:`seg_ros.datasets.catalog.DATASETS`; the data set must have
        the splits ``train`` and ``val``.
    :param root: the data set's folder.
    :param epochs: number of epochs of each training.
    :param crop: (height, width) of a training image and of the input when scoring. It holds about
        the whole image, as in the papers, so that networks which pool over the whole image get the
        same view in training and in use.
    :param out: the folder that holds a folder for each training.
    :param device: ``cpu``, ``cuda`` or ``cuda:N``.
    :param resume: whether to resume a training that was interrupted.
    """

    dataset: str
    root: str
    epochs: int
    crop: tuple[int, int]
    out: Path
    device: str = 'cpu'
    resume: bool = False

    def recipe(self, row: StudyRow, seed: int) -> Recipe:
        """
        Return the recipe of a row.

        :raises ValueError: a value of the schedule is out of a recipe's range.
        """
        short = FINE_TUNING if row.pruned_from else 1
        return Recipe(**{
            'network': {key: value for key, value in row.network.items() if key != 'exit'},
            'dataset': self.dataset,
            'root': self.root,
            'input_size': self.crop,
            'crop': self.crop,
            'scale': tuple(each * self._fit for each in SCALES),
            'epochs': max(1, round(short * self.epochs)),
            'learning_rate': short * 1e-3,
            'warm_up': 0.05,
            'validate_every': self.epochs,
            'seed': seed,
            **row.recipe,
        })  # fmt: skip

    @cached_property
    def _fit(self) -> float:
        """The scale at which an image fits into the crop."""
        height, width = open_dataset(self.dataset, self.root, 'train')[0][1].shape
        return min(self.crop[0] / height, self.crop[1] / width)

    @cached_property
    def data(self) -> str:
        """Return a digest of the data set's classes, image counts and some images."""
        digest = sha256()
        for split in ('train', 'val'):
            images = open_dataset(self.dataset, self.root, split)
            digest.update(repr((images.labels.names, len(images))).encode())
            for index in (0, len(images) // 2, len(images) - 1):
                for array in images[index]:
                    digest.update(array.tobytes())
        return digest.hexdigest()


def folder_of(schedule: Schedule, row: StudyRow, seed: int) -> Path:
    """
    Return the folder of a training, whose name depends on its recipe.

    Rows with the same recipe have the same folder, also in different studies.
    """
    recipe = schedule.recipe(row, seed)
    changes = {**recipe.network, **row.recipe, 'seed': seed}
    name = changes.pop('name') + '-pruned' * bool(row.pruned_from)
    told = {
        f.name: value
        for f in fields(Recipe)
        if f.name != 'root' and (value := getattr(recipe, f.name)) != f.default
    }
    content = json.dumps([told, dict(row.pruned_from)], sort_keys=True, default=list)
    parts = [name, *(f'{key}={value:.4g}' if isinstance(value, float) else f'{key}={value}'
                     for key, value in changes.items())]  # fmt: skip
    return schedule.out / f'{",".join(parts)}-{sha256(content.encode()).hexdigest()[:8]}'


def score(schedule: Schedule, row: StudyRow, seed: int) -> float:
    """
    Return the mIoU of a row on ``val``, and train the row first if that has not been done.

    :raises ValueError: its training was interrupted and is not to be resumed, or was on other
        data.
    :raises seg_ros.datasets.dataset.DatasetError: see :class:`seg_ros.training.loop.Training`.
    """
    folder = _trained(schedule, row, seed)
    told = json.loads((folder / RESULT).read_text(encoding='utf-8'))
    leaves = row.network.get('exit', '')
    if leaves not in told['miou']:
        checkpoint = load_checkpoint(folder / 'best.safetensors')
        assert isinstance(checkpoint.network, Cascade)
        told['miou'][leaves] = _miou(
            replace(checkpoint, network=checkpoint.network.ending(leaves)), schedule
        )
        _write(folder, told)
    return float(told['miou'][leaves])


def _trained(schedule: Schedule, row: StudyRow, seed: int) -> Path:
    """Return the folder of a row's finished training, which is run if it has not been."""
    folder = folder_of(schedule, row, seed)
    if (folder / RESULT).exists():
        if json.loads((folder / RESULT).read_text(encoding='utf-8'))['data'] != schedule.data:
            raise ValueError(
                f'{folder}: expected a training on {schedule.root or "sample drives"}; found one '
                'on other data. Choose another folder (--out)'
            )
        return folder
    if (folder / 'last.pt').exists() and not schedule.resume:
        raise ValueError(
            f'{folder}: expected a training that has ended, or none; found one that was '
            'interrupted. Resume it (--resume), or choose another folder (--out)'
        )
    recipe = schedule.recipe(row, seed)
    if row.pruned_from:
        recipe = replace(recipe, pretrained=str(_pruned(schedule, row, seed, folder)))
    training = Training(recipe, folder, schedule.device)
    if schedule.resume:
        training.resume()
    result = training.run()
    _write(folder, {'miou': {'': result['miou']}, 'data': schedule.data})
    # The file to resume from is several times as large as the weights, and no longer needed.
    (folder / 'last.pt').unlink(missing_ok=True)
    return folder


def _pruned(schedule: Schedule, row: StudyRow, seed: int, folder: Path) -> Path:
    """Return the file of the weights that a pruned row starts from, which is made if need be."""
    whole = _trained(schedule, StudyRow(row.label, row.pruned_from), seed) / 'best.safetensors'
    if row.network == row.pruned_from:
        return whole
    pruned, checkpoint = folder / 'pruned.safetensors', load_checkpoint(whole)
    save_checkpoint(pruned, prune(checkpoint, {**checkpoint.architecture, **row.network}))
    return pruned


def _miou(checkpoint: Checkpoint, schedule: Schedule) -> float:
    images = open_dataset(schedule.dataset, schedule.root, 'val')
    segmenter = Segmenter(checkpoint, device=schedule.device, backend='torch')
    return evaluate(segmenter, read_ahead(images, range(len(images)))).miou()


def _write(folder: Path, told: dict[str, Any]) -> None:
    write_atomically(folder / RESULT, f'{json.dumps(told)}\n'.encode())


def shared(recipe: Recipe) -> dict[str, Any]:
    """Return the values of a recipe that all rows share and that a study's report needs."""
    keys = (
        'dataset', 'splits', 'input_size', 'crop', 'scale', 'jitter', 'batch', 'epochs',
        'optimizer', 'learning_rate', 'warm_up', 'weight_decay', 'class_weight_power',
        'precision',
    )  # fmt: skip
    everything = asdict(recipe)
    return {key: everything[key] for key in keys}
