# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What tests of importers share: weights made from names, and what the originals answered to them.

A test runs another project's own network where ``SEG_ROS_ORIGINALS`` names the folder of its
clone (:func:`original`), gives it weights that follow from the names and shapes of its tensors
alone (:func:`make_weights`) and images that follow from their size (:func:`make_image`), and
stores what it answers (:func:`store_pair`). From that file (:func:`load_pair`) the same is
checked where no original is (:func:`assert_logits_agree`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import os
from pathlib import Path
import sys
from types import ModuleType
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray
import pytest
from torch import nn

Arrays = dict[str, NDArray]
Shapes = dict[str, tuple[int, ...]]
Size = tuple[int, int]

FOLDER = Path(__file__).parent / 'imports'
STORE = bool(os.environ.get('SEG_ROS_STORE_PAIRS'))
"""Whether the tests that run the originals are to write the pairs anew."""

TOLERANCE = 1e-4
"""How far logits of the order of 1 may differ: what order the sums of float32 are taken in."""

STEP = 7
"""Of the stored pixels: prime, so that they lie everywhere between those of coarser maps."""

BISENETV2_DAMPED = (
    'conv2.1.weight',
    'conv2.0.bn.weight',
    'conv.2._batch_norm.weight',
    'branch_1.3._batch_norm.weight',
)
"""Of the norms that end the gather-and-expansion layers of CoinCheung, mmsegmentation, Paddle."""


class Pair(NamedTuple):
    """
    An original, and what it answers.

    :param shapes: of its tensors, by name, as in its own files.
    :param logits: its outputs for one image, by (height, width) of that; each (1, C, h, w), of
        which a stored one has every :data:`STEP`-th row and column.
    """

    shapes: Shapes
    logits: dict[Size, list[NDArray]]


def original(project: str) -> Path:
    """Return the folder of a project's clone; without ``SEG_ROS_ORIGINALS``, skip the test."""
    folder = os.environ.get('SEG_ROS_ORIGINALS')
    if not folder:
        pytest.skip('SEG_ROS_ORIGINALS names no folder with clones of the original projects')
    path = Path(folder, project)
    assert path.is_dir(), f'expected a clone of {project} there; found no {path}'
    return path


class NoOperators(ModuleType):
    """Stands for a module of compiled operators that nobody calls."""

    def __getattr__(self, name: str) -> type:
        if name.startswith('__'):
            raise AttributeError(name)
        return type(name, (nn.Module,), {})


def mmsegmentation_network(config: str, patch: pytest.MonkeyPatch) -> nn.Module:
    """
    Return mmsegmentation's own network, untrained, in evaluation mode.

    :param config: below its folder of configurations.
    """
    folder = original('mmsegmentation')
    mmengine = pytest.importorskip('mmengine')
    mmcv = pytest.importorskip('mmcv')
    # It refuses releases of mmcv that came after its own, and imports compiled operators that
    # mmcv-lite leaves out and no network here uses.
    patch.setattr(mmcv, '__version__', '2.1.0')
    patch.setitem(sys.modules, 'mmcv.ops', NoOperators('mmcv.ops'))
    patch.syspath_prepend(str(folder))
    import mmseg.models  # noqa: F401, which registers them
    from mmseg.registry import MODELS

    mmengine.registry.init_default_scope('mmseg')
    # In a clone, and in what pip installs.
    configs = next(p for p in (folder / 'configs', folder / 'mmseg/.mim/configs') if p.is_dir())
    return MODELS.build(mmengine.Config.fromfile(configs / config).model).eval()


def make_weights(
    shapes: Mapping[str, Sequence[int]], damped: tuple[str, ...] = BISENETV2_DAMPED
) -> Arrays:
    """
    Return the same random weights whenever and wherever it is asked for these names and shapes.

    Signals keep their size from layer to layer, but where residual blocks add up.

    :param shapes: by name, as PyTorch or Paddle calls the tensors of convolutions and norms.
    :param damped: endings of names whose values are made a fifth, such as ``bn3.weight``: of the
        norms that end residual blocks, whose outputs would grow from one to the next.
    :returns: float32; what counts batches is int64 and 0.
    """
    return {
        name: _tensor(name, tuple(shape), 0.2 if name.endswith(damped) else 1.0)
        for name, shape in shapes.items()
    }


def _tensor(name: str, shape: tuple[int, ...], scale: float) -> NDArray:
    random = np.random.RandomState(crc32(name.encode()))  # whose numbers NumPy never changes
    if name.endswith('num_batches_tracked'):
        return np.zeros(shape, np.int64)
    if name.endswith(('running_var', '_variance')):
        values = random.uniform(0.5, 1.5, shape)
    elif name.endswith('weight') and len(shape) == 1:  # a norm's
        values = random.uniform(0.7, 1.3, shape) * scale
    elif name.endswith('weight'):  # He et al., as behind most there is a ReLU
        values = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif name.endswith(('bias', 'running_mean', '_mean')):
        values = random.standard_normal(shape) * 0.2
    else:
        raise ValueError(f'expected a tensor of a convolution or a norm; found {name}')
    return values.astype(np.float32)


def make_image(size: Size) -> NDArray:
    """Return one normalised image, float32, (1, 3, *size), with coarse and fine structure."""
    height, width = size
    random = np.random.RandomState(crc32(f'{height}x{width}'.encode()))
    coarse = random.standard_normal((1, 3, -(-height // 24), -(-width // 24)))
    blocks = np.kron(coarse, np.ones((24, 24)))[..., :height, :width]
    return (0.7 * (blocks + random.standard_normal((1, 3, height, width)))).astype(np.float32)


def store_pair(name: str, pair: Pair) -> None:
    """Write ``imports/<name>.npz``, with every :data:`STEP`-th row and column of whole outputs."""
    outputs = {
        f'{height} {width} {i}': output[..., ::STEP, ::STEP]
        for (height, width), group in pair.logits.items()
        for i, output in enumerate(group)
    }
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(FOLDER / f'{name}.npz', shapes=json.dumps(pair.shapes), **outputs)


def load_pair(name: str) -> Pair:
    """Read what :func:`store_pair` wrote."""
    with np.load(FOLDER / f'{name}.npz') as file:
        shapes = {key: tuple(shape) for key, shape in json.loads(str(file['shapes'])).items()}
        logits: dict[Size, list[NDArray]] = {}
        for key in file.files:
            if key != 'shapes':  # the others are in order
                height, width, _ = map(int, key.split())
                logits.setdefault((height, width), []).append(file[key])
    return Pair(shapes, logits)


def assert_logits_agree(found: ArrayLike, expected: ArrayLike, stored: bool = False) -> None:
    """
    Raise unless two outputs for one image are the same, and could have differed.

    :param found: ours, whole, (1, C, h, w).
    :param expected: the original's.
    :param stored: whether the original's comes from a file, thinned out.
    """
    ours, theirs = np.asarray(found), np.asarray(expected)
    if stored:
        ours = ours[..., ::STEP, ::STEP]
    assert ours.shape == theirs.shape
    difference = np.abs(ours - theirs).max()
    assert difference <= TOLERANCE, f'differs by {difference:.2g}'
    spread = theirs.std(axis=(-2, -1)).mean()
    assert 0.03 < spread < 10, f'logits that vary by {spread:.2g} in an image say nothing'
