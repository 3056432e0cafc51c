# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A training recipe, read from a YAML file."""

from __future__ import annotations

from dataclasses import dataclass, fields, MISSING
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Recipe:
    """
    All that decides what a training makes. Each key of the YAML file is one of these.

    :param network: what :func:`seg_ros.models.build_model` takes, the class count left out.
    :param dataset: the data set's name.
    :param root: its folder; the command line may give another.
    :param splits: to train on, to choose the best weights on, and, if there is a third, to score
        those on at the end.
    :param drives: seeds of sample drives to mix in, each of ``drive_frames`` frames.
    :param crop: (height, width) of a training image.
    :param scale: range of random scales.
    :param stretch: largest random change of the width against the height, as a factor.
    :param jitter: largest relative photometric change.
    :param batch: images a step.
    :param epochs: passes over the data.
    :param optimizer: ``adamw`` or ``sgd`` (momentum 0.9).
    :param learning_rate: at the end of the warm-up.
    :param warm_up: share of all steps over which the rate rises to it.
    :param power: of the polynomial that the rate then falls by.
    :param weight_decay: not applied to biases and batch norms.
    :param class_weight_power: classes weigh (median frequency / frequency) to this power; 0 for
        equal weights, 1 for median-frequency balancing.
    :param ohem: cross-entropy above which a pixel counts as hard; with it, easy pixels count
        only as far as hard ones make less than 1/16 of all. 0 counts every pixel.
    :param ema: decay a step of the moving average of the weights that is kept; 0 for none.
    :param precision: ``fp32``, or ``bf16`` for mixed precision.
    :param validate_every: epochs between two validations.
    """

    network: dict[str, Any]
    dataset: str
    root: str = ''
    splits: tuple[str, ...] = ('train', 'val')
    drives: tuple[int, ...] = ()
    drive_frames: int = 100
    crop: tuple[int, int] = (288, 384)
    scale: tuple[float, float] = (0.5, 2.0)
    stretch: float = 1.0
    jitter: float = 0.4
    batch: int = 8
    epochs: int = 100
    optimizer: str = 'adamw'
    learning_rate: float = 1e-3
    warm_up: float = 0.02
    power: float = 0.9
    weight_decay: float = 1e-2
    class_weight_power: float = 0.5
    ohem: float = 0.0
    ema: float = 0.0
    precision: str = 'bf16'
    validate_every: int = 1
    seed: int = 0


def load_recipe(path: str | Path) -> Recipe:
    """
    Read a recipe.

    :raises ValueError: it is not a mapping, or has an unknown key or lacks a needed one.
    :raises OSError: there is no such file.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except yaml.YAMLError as error:
        raise ValueError(f'{path}: expected YAML: {error}') from error
    known = {f.name for f in fields(Recipe)}
    if not isinstance(content, dict) or not {'network', 'dataset'} <= set(content) <= known:
        found = sorted(content) if isinstance(content, dict) else content
        raise ValueError(
            f'{path}: expected network, dataset and any of {", ".join(sorted(known))}; '
            f'found {found}'
        )
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
    }
    for f in fields(Recipe):
        kinds: Any = {float: (int, float), tuple: tuple}.get(type(f.default), type(f.default))
        if f.name in values and f.default is not MISSING and not isinstance(values[f.name], kinds):
            raise ValueError(
                f'{path}: expected {f.name} to be like {f.default!r}; found {values[f.name]!r}. '
                'YAML reads 1e-3 as text; write 1.0e-3'
            )
    return Recipe(**values)
