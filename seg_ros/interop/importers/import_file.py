# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Import of a file: choose the importer, and check that every tensor has its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...images.labels import CITYSCAPES, COCO_STUFF, distinct_palette, LabelSet
from ...inference.checkpoint import build_unfilled, Checkpoint
from . import bisenetv2, Conversion, COUNTER, icnet, Importer, UnsupportedError
from .weights_file import read_weights

IMPORTERS = (*bisenetv2.IMPORTERS, *icnet.IMPORTERS)

PUBLISHED = {len(labels): labels for labels in (CITYSCAPES, COCO_STUFF)}
"""The classes of public data sets by their number, for files that do not name their classes."""

SHOWN = 10
"""The most tensors that an error message lists."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Imported(NamedTuple):
    """
    An imported network.

    :param checkpoint: the network with the file's weights.
    :param importer: the importer that was used.
    :param left_out: the file's tensors that are not used; see :class:`Conversion`.
    :param classes: where the names of the classes come from, in words.
    """

    checkpoint: Checkpoint
    importer: Importer
    left_out: dict[str, str]
    classes: str


def import_network(
    path: str | Path, project: str = '', labels: LabelSet | None = None
) -> Imported:
    """
    Make a checkpoint of another project's file; its network gives the original's logits.

    :param project: the project that wrote the file; by default it is found by the tensors' names.
    :param labels: the classes; by default those that the file names, or else those of the public
        data set with as many.
    :raises ValueError: the file cannot be read, its network is not supported, it has another
        number of classes, or a tensor is missing, unknown, of another shape or not finite.
    """
    weights = read_weights(path)
    importer = _find_importer(weights.tensors, path, project)
    try:
        conversion = importer.convert(weights.tensors)
        network = _built(conversion, weights.tensors)
    except UnsupportedError as error:
        raise UnsupportedError(f'{path}: {error}') from error
    count = conversion.architecture['num_classes']
    labels, classes = _labels(weights.metadata, labels, count, path)
    training = {
        'imported_from': {
            'project': importer.project,
            'url': importer.url,
            'file': Path(path).name,
            'sha256': weights.sha256,
        },
        'terms': f'those of {importer.url} and of the data it trained on',
    }
    checkpoint = Checkpoint(
        network,
        conversion.architecture,
        labels,
        conversion.input_size,
        conversion.preprocessing,
        training,
    )
    return Imported(checkpoint, importer, conversion.left_out, classes)


def _find_importer(tensors: Mapping[str, Tensor], path: str | Path, project: str) -> Importer:
    candidates = [each for each in IMPORTERS if project in ('', each.project)]
    if not candidates:
        known = ', '.join(dict.fromkeys(each.project for each in IMPORTERS))
        raise UnsupportedError(f'expected a project out of {known}; found {project!r}')
    for importer in candidates:
        if all(name in tensors for name in importer.mark):
            return importer
    some = ', '.join(f'{name} {tuple(t.shape)}' for name, t in list(tensors.items())[:5])
    raise UnsupportedError(
        f'{path}: expected the weights of {"; of ".join(map(str, candidates))}; found '
        f'{len(tensors)} tensors such as {some}. Check that it is the right file, and name the '
        'project with --project'
    )


def _built(conversion: Conversion, tensors: Mapping[str, Tensor]) -> Any:
    """
    Return the network with the file's tensors, in evaluation mode.

    :raises UnsupportedError: a tensor of the file has no place in the network, or one of the
        network is missing in the file, or is of another shape, not of floats, or not finite.
    """
    try:
        network = build_unfilled(conversion.architecture)
    except ValueError as error:
        raise UnsupportedError(f'its network cannot be built: {error}') from error
    state: dict[str, Tensor] = {}
    placed = {*conversion.sources.values(), *conversion.left_out}
    problems = [
        f'no place for {name}'
        for name in tensors
        if name not in placed and not name.endswith(COUNTER)
    ]
    for name, expected in network.state_dict().items():
        if name.endswith(COUNTER):
            state[name] = torch.zeros((), dtype=expected.dtype)
            continue
        source = conversion.sources[name]
        if source not in tensors:
            problems.append(f'missing {source}')
        elif tensors[source].shape != expected.shape:
            found = tuple(tensors[source].shape)
            problems.append(f'{source} is {found}, expected {tuple(expected.shape)}')
        elif tensors[source].dtype not in FLOATS or tensors[source].layout != torch.strided:
            problems.append(f'{source} is {tensors[source].dtype}, expected plain floats')
        elif not tensors[source].isfinite().all():
            problems.append(f'{source} has values that are not finite')
        else:
            state[name] = tensors[source].to(expected.dtype, copy=True).contiguous()
    if problems:
        rest = f'; and {len(problems) - SHOWN} more' if len(problems) > SHOWN else ''
        raise UnsupportedError(
            f'expected exactly the tensors of {conversion.architecture}; found otherwise: '
            f'{"; ".join(problems[:SHOWN])}{rest}. Check that the file is whole and the '
            'original network unchanged'
        )
    network.load_state_dict(state, assign=True)
    return network.eval()


def _labels(
    metadata: Mapping[str, Any], given: LabelSet | None, count: int, path: str | Path
) -> tuple[LabelSet, str]:
    """
    Return the classes, and where they come from in words.

    They are the given ones, else those that the file names, else those of a public data set.

    :raises UnsupportedError: the file's names cannot be read, or no classes of that number are
        known.
    """
    classes, labels = 'as given', given
    if labels is None:
        classes = 'as the file names them'
        try:
            labels = _named(metadata)
        except (AttributeError, TypeError, ValueError) as error:
            raise UnsupportedError(
                f'{path}: expected names of classes, and perhaps a colour (red, green, blue) for '
                f'each; found what cannot be read: {error!r:.200}. Name them with --classes'
            ) from error
    if labels is None:
        classes = f'taken to be those of the public data set of {count}, as the file names none'
        labels = PUBLISHED.get(count)
    if labels is None:
        raise UnsupportedError(
            f'{path}: expected the 19 classes of Cityscapes or the 171 of COCO-Stuff, or a file '
            f'that names its own; found {count} classes without names. Name them with --classes'
        )
    if len(labels) != count:
        raise UnsupportedError(
            f'{path}: expected a network of {len(labels)} classes ({", ".join(labels.names[:3])}, '
            f'...); found one of {count}. Give the classes that it was trained on with --classes'
        )
    return labels, classes


def _named(metadata: Mapping[str, Any]) -> LabelSet | None:
    """Return the classes that mmsegmentation stored in the file, if there are any."""
    # Releases since 1.0 store them under dataset_meta, older ones as CLASSES and PALETTE.
    meta = metadata.get('dataset_meta') or {}
    names, palette = (meta.get(key) or metadata.get(key.upper()) for key in ('classes', 'palette'))
    if not names:
        return None
    named = tuple(map(str, names))
    if not palette:
        return LabelSet(named, distinct_palette(len(named)))
    return LabelSet(named, tuple((int(r), int(g), int(b)) for r, g, b in palette))
