# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Checkpoints: one safetensors file with all that is needed to run a network.

The file's metadata holds, as JSON, the architecture, the class names and colours, the
preprocessing, the input size, and a description of the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib import resources
import json
import math
from pathlib import Path
from typing import Any

from safetensors import safe_open, SafetensorError
from safetensors.torch import load, save
import torch
from torch import nn, Tensor

from ..images.files import read_regular, write_atomically
from ..images.labels import LabelSet
from ..models import build_model, SegmentationNetwork
from .preprocessing import Preprocessing

FORMAT = 'seg_ros checkpoint 1'
SUFFIX = '.safetensors'

MAX_ARGUMENT = 4096
"""The largest number in an architecture; the largest in a paper is 1024, a number of channels."""

MAX_INPUT = 2**24
"""The most pixels of a network's input, as many as 4096x4096."""

ActivationRanges = dict[str, tuple[float, float]]
"""The lowest and highest input value of each convolution, by the convolution's name."""


class CheckpointError(ValueError):
    """A checkpoint cannot be found, read or run; the error says what to do."""


@dataclass
class Checkpoint:
    """
    A network and all that is needed to run it.

    :param architecture: the specification that :func:`seg_ros.models.build_model` takes.
    :param input_size: (height, width) of the images that the network is meant for.
    :param training: free-form metadata of the training: its data and their terms, the recipe, how
        many images it took, the measured mIoU.
    :param activation_ranges: the ranges that 8-bit inference needs; empty before calibration.
    :param sha256: the SHA-256 of the file that was read; empty if there was none.
    """

    network: SegmentationNetwork
    architecture: dict[str, Any]
    labels: LabelSet
    input_size: tuple[int, int]
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    training: dict[str, Any] = field(default_factory=dict)
    activation_ranges: ActivationRanges = field(default_factory=dict)
    sha256: str = ''


def shipped_models() -> list[str]:
    """Return the names of the networks that come with the package."""
    folder = resources.files('seg_ros') / 'weights'
    if not folder.is_dir():
        return []
    return sorted(p.name[: -len(SUFFIX)] for p in folder.iterdir() if p.name.endswith(SUFFIX))


def find_checkpoint(model: str | Path) -> Path:
    """
    Return a checkpoint's file.

    :param model: the name of a shipped network, or a path.
    :raises CheckpointError: it is neither.
    """
    if str(model) in shipped_models():
        return Path(str(resources.files('seg_ros') / 'weights' / f'{model}{SUFFIX}'))
    path = Path(model).expanduser()
    if str(model) and path.is_file():
        return path
    raise CheckpointError(
        f'model: expected a shipped network ({", ".join(shipped_models()) or "none here"}) or '
        f"a checkpoint's path; found {str(model)!r}, which is neither. Check the name, or give "
        f'the path of an existing {SUFFIX} file'
    )


def save_checkpoint(
    path: str | Path, checkpoint: Checkpoint, dtype: torch.dtype = torch.float32
) -> None:
    """
    Write a checkpoint atomically.

    :param dtype: the type to store floating-point tensors in. Tensors with values that it cannot
        hold keep their own type.
    :raises CheckpointError: the network or its input is too large to be loaded again.
    :raises OSError: the file cannot be written; an older file at ``path`` is unchanged.
    """
    try:
        build_unfilled(checkpoint.architecture)
        _checked_size(*checkpoint.input_size)
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}; the checkpoint is not written') from error
    tensors = {
        name: _stored(t, dtype).detach().cpu().contiguous()
        for name, t in checkpoint.network.state_dict().items()
    }
    described = {
        'architecture': checkpoint.architecture,
        'labels': asdict(checkpoint.labels),
        'preprocessing': asdict(checkpoint.preprocessing),
        'input_size': checkpoint.input_size,
        'training': checkpoint.training,
        'activation_ranges': checkpoint.activation_ranges,
    }
    metadata = {'format': FORMAT, **{key: json.dumps(value) for key, value in described.items()}}
    write_atomically(path, save(tensors, metadata))


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in a smaller type, or as it is if finite values would become infinite."""
    if not tensor.is_floating_point():
        return tensor
    smaller = tensor.to(dtype)
    return smaller if smaller.isfinite().all() or not tensor.isfinite().all() else tensor


def add_ranges(source: str | Path, target: str | Path, ranges: ActivationRanges) -> None:
    """
    Write a copy of a checkpoint with other activation ranges; all else stays the same.

    :param source: a checkpoint that :func:`load_checkpoint` can read.
    :raises OSError: the target cannot be written; an older file there is unchanged.
    """
    with safe_open(str(source), framework='pt') as file:
        metadata = {**file.metadata(), 'activation_ranges': json.dumps(ranges)}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    write_atomically(target, save(tensors, metadata))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """
    Read a checkpoint; the network is in evaluation mode, in float32, on the CPU.

    :raises CheckpointError: the file is missing, damaged or of another format, or its tensors are
        not exactly those of its architecture.
    """
    try:
        # The file is read, not mapped into memory: if it were overwritten meanwhile, a mapping
        # would change the tensors or crash the process.
        content = read_regular(path)
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], 'little')])
        metadata = header.get('__metadata__') or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f'{path}: expected a checkpoint of seg_ros ({SUFFIX}); it cannot be read: {error}. '
            'Copy or download it again, or import it with import_checkpoint'
        ) from error
    if metadata.get('format') != FORMAT:
        raise CheckpointError(
            f'{path}: expected the format {FORMAT!r} in its metadata; found '
            f'{metadata.get("format")!r:.100}. Weights of other projects need import_checkpoint'
        )
    try:
        architecture = json.loads(metadata['architecture'])
        labels = json.loads(metadata['labels'])
        preprocessing = json.loads(metadata['preprocessing'])
        height, width = json.loads(metadata['input_size'])
        checkpoint = Checkpoint(
            network=build_unfilled(architecture),
            architecture=architecture,
            labels=LabelSet(
                tuple(labels['names']), tuple((r, g, b) for r, g, b in labels['palette'])
            ),
            input_size=_checked_size(height, width),
            preprocessing=Preprocessing(
                tuple(preprocessing['mean']),
                tuple(preprocessing['std']),
                preprocessing['channel_order'],
            ),
            training=json.loads(metadata['training']),
            sha256=sha256(content).hexdigest(),
            # Files that are older than 8-bit inference have no ranges.
            activation_ranges={
                name: (float(low), float(high))
                for name, (low, high) in json.loads(
                    metadata.get('activation_ranges', '{}')
                ).items()
            },
        )
    # Invalid metadata may raise any kind of error, in any of these lines.
    except Exception as error:
        raise CheckpointError(
            f'{path}: its metadata does not describe a network: {error!r:.1000}'
        ) from error
    if len(checkpoint.labels) != architecture['num_classes']:
        raise CheckpointError(
            f'{path}: expected as many class names as outputs; found {len(checkpoint.labels)} '
            f'names and {architecture["num_classes"]} outputs'
        )
    _fill(checkpoint.network, tensors, path)
    _check_ranges(checkpoint, path)
    checkpoint.network.eval()
    return checkpoint


def build_unfilled(architecture: Mapping[str, Any]) -> SegmentationNetwork:
    """
    Build a network whose tensors have shapes but no memory, so that none can be too large.

    :raises Exception: there is no such network; the kind of error depends on the architecture.
    """
    for name, value in architecture.items():
        if not isinstance(value, str) and not 0 < value <= MAX_ARGUMENT:
            raise ValueError(
                f'expected a {name} above 0 and up to {MAX_ARGUMENT}; found {value!r:.100}'
            )
    with torch.device('meta'):
        return build_model(architecture)


def _checked_size(height: Any, width: Any) -> tuple[int, int]:
    size = int(height), int(width)
    if min(size) < 1 or size[0] * size[1] > MAX_INPUT:
        raise ValueError(f'expected an input size of 1 to {MAX_INPUT} pixels; found {size}')
    return size


def _fill(network: SegmentationNetwork, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy the tensors into the network; every one must be expected and of the same shape."""
    expected = network.state_dict()
    problems = [f'missing {name}' for name in expected if name not in tensors]
    problems += [f'unexpected {name!r:.100}' for name in tensors if name not in expected]
    problems += [
        f'{name} is {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}'
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if problems:
        raise CheckpointError(
            f'{path}: its tensors are not those of its architecture: {"; ".join(problems[:10])}'
            + (f'; and {len(problems) - 10} more' if len(problems) > 10 else '')
        )
    network.load_state_dict(
        {
            name: tensors[name].to(tensor.dtype, copy=True)  # a copy that can be written to
            for name, tensor in expected.items()
        },
        assign=True,
    )


def _check_ranges(checkpoint: Checkpoint, path: str | Path) -> None:
    """
    Check that each activation range is valid and belongs to a convolution of the network.

    :raises CheckpointError: a range is not, or does not.
    """
    modules = dict(checkpoint.network.named_modules())
    for name, (low, high) in checkpoint.activation_ranges.items():
        is_a = f'is a {type(modules[name]).__name__}' if name in modules else 'does not exist'
        if not isinstance(modules.get(name), nn.Conv2d):
            raise CheckpointError(
                f'{path}: expected activation ranges of convolutions of its network; found one of '
                f'{name!r:.100}, which {is_a}. Calibrate it again: seg_ros calibrate'
            )
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise CheckpointError(
                f'{path}: expected a lowest and a highest value of what goes into {name}; found '
                f'{low} and {high}. Calibrate it again: seg_ros calibrate'
            )
