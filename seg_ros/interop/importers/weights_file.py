# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reading of other projects' files of weights, without running any code in them."""

from __future__ import annotations

import codecs
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
import io
import json
from pathlib import Path
import pickle
from typing import Any, NamedTuple

import numpy as np
from safetensors.torch import load
import torch
from torch import Tensor

from ...images.files import read_regular

SUFFIXES = ('.safetensors', '.pth', '.pt', '.pdparams')
NESTED = ('state_dict', 'model_state_dict')
"""The keys of the weights in files that also hold other state of a training."""

DEEPEST = 3
"""The most levels of dictionaries under :data:`NESTED` that are searched for the weights."""

PARALLEL = 'module.'
"""The prefix that PyTorch's DataParallel puts before every name."""

SHARED = 4
"""The largest ratio of the tensors' bytes to the file's. It is above 1 since tensors may share
memory, and limited so that a small file cannot fill the machine's memory."""


class Weights(NamedTuple):
    """
    The content of a file of weights.

    :param tensors: the tensors by name, without :data:`PARALLEL`.
    :param metadata: the metadata of a safetensors file, or mmsegmentation's ``meta``.
    :param sha256: the SHA-256 of the file.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    sha256: str


def read_weights(path: str | Path) -> Weights:
    """
    Read a file of weights.

    :param path: a ``.safetensors`` file; a ``.pth`` or ``.pt`` file that torch.save wrote, with
        the tensors at the top or under one of :data:`NESTED`; or a ``.pdparams`` file that
        paddle.save wrote.
    :raises ValueError: the file is missing or damaged, holds other objects than tensors, numbers
        and text, or has no tensor.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f'{path}: expected a file of weights; found none. Check the path')
    content = _checked_read(path)
    metadata: dict[str, Any] = {}
    try:
        if path.suffix == '.safetensors':
            held: Any = load(content)
            size = int.from_bytes(content[:8], 'little')
            metadata = json.loads(content[8 : 8 + size]).get('__metadata__') or {}
        elif path.suffix == '.pdparams':
            held = _Arrays(content).load()
        else:
            held = torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own message advises to load with weights_only=False, which runs the file's
        # code.
        raise ValueError(
            f'{path}: expected tensors alone; found other objects, which could run code when '
            'read, or a damaged file. Download it again; if it holds a whole network, save its '
            'state_dict() as .safetensors where you trust it'
        ) from error
    except Exception as error:  # a damaged file may raise any kind of error
        raise ValueError(
            f'{path}: expected weights as {", ".join(SUFFIXES)}; it cannot be read: {error!r:.500}'
            '. Copy or download it again'
        ) from error
    for _ in range(DEEPEST):
        inner = [key for key in NESTED if key in held] if isinstance(held, Mapping) else []
        if inner:
            metadata = metadata or _plain(held.get('meta'))
            held = held[inner[0]]
    if not isinstance(held, Mapping):
        raise ValueError(
            f'{path}: expected tensors by name; found {type(held).__name__}. Save the '
            "network's state_dict()"
        )
    tensors = {
        name: tensor
        for name, tensor in held.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }
    if all(name.startswith(PARALLEL) for name in tensors):
        tensors = {name.removeprefix(PARALLEL): tensor for name, tensor in tensors.items()}
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > SHARED * len(content):
        raise ValueError(
            f'{path}: expected tensors of {SHARED} times the bytes of the file at most; found '
            f'{claimed} bytes of tensors in {len(content)} bytes of file. Download it again, or '
            'save each tensor in full (contiguous())'
        )
    if not tensors:
        raise ValueError(
            f'{path}: expected tensors by name; found no tensor, but '
            f'{", ".join(f"{key!r:.50}" for key in list(held)[:5]) or "nothing"}. Save the '
            "network's state_dict()"
        )
    return Weights(tensors, metadata, sha256(content).hexdigest())


def _checked_read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise ValueError(f'{path}: expected a file of weights; {error}') from error


def _plain(meta: Any) -> dict[str, Any]:
    return dict(meta) if isinstance(meta, Mapping) else {}


class _Array:
    """A stand-in for a NumPy array in unpickling, so that no function of NumPy is called."""

    def __init__(self, *_: Any) -> None:
        self.content = b''

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.kind, self.columns_first, self.content = state

    def tensor(self) -> Tensor:
        """Return the array as a tensor, copied."""
        array = np.frombuffer(self.content, np.dtype(self.kind.name).newbyteorder('<'))
        array = array.reshape(self.shape, order='F' if self.columns_first else 'C')
        native = array.dtype.newbyteorder('=')
        return torch.from_numpy(np.array(array, native, order='C'))


class _Type:
    """A stand-in for a NumPy dtype in unpickling; only little-endian numbers are accepted."""

    def __init__(self, name: str, *_: Any) -> None:
        if name.lstrip('<')[:1] not in set('fiu'):
            raise pickle.UnpicklingError(f'an array of {name!r:.50}')
        self.name = name

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ('<', '|'):
            raise pickle.UnpicklingError(f'an array of byte order {state[1]!r:.50}')


def _as_bytes(text: str, _: str) -> bytes:
    # Pickles of protocol 2 hold bytes as text.
    return codecs.encode(text, 'latin1')


class _Arrays(pickle.Unpickler):
    """An unpickler for files of paddle.save: dictionaries of NumPy arrays, and nothing else."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._size = len(content)

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a class or function that the file names."""
        package = module.partition('.')[0]
        known = {
            ('numpy', '_reconstruct'): _Array,
            ('numpy', 'ndarray'): _Array,
            ('numpy', 'dtype'): _Type,
            ('_codecs', 'encode'): _as_bytes,
            ('collections', 'OrderedDict'): OrderedDict,
        }
        if (package, name) not in known:
            raise pickle.UnpicklingError(f'{module}.{name} is not part of an array')
        return known[package, name]

    def load(self) -> Any:
        """Return the tensors by name."""
        held = super().load()
        if not isinstance(held, Mapping):
            return held
        # Counted before they are copied, as the bytes of one array may be used by many.
        arrays = [value for value in held.values() if isinstance(value, _Array)]
        if sum(len(array.content) for array in arrays) > SHARED * self._size:
            raise pickle.UnpicklingError(f'arrays of more than {SHARED} times the file')
        return {
            name: value.tensor() if isinstance(value, _Array) else value
            for name, value in held.items()
        }
