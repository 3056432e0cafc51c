# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A checkpoint as a file that programs without seg_ros run: 8-bit RGB in, labels or logits out.

The file is ONNX, or what ``torch.export`` saves. It takes images of any size, as many at once as
come, and holds the normalisation. What TensorRT asks of a network (its documentation of
``DataType`` and the operator list of onnx/onnx-tensorrt) is kept to, and harms nobody else:
opset 17 is the last that TensorRT 8.6 reads; 8-bit integers only come in and go out, as floats
and from floats at once; interpolation is never antialiased. Its zero points must be 0, though,
which others compute badly with: that is a choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
import inspect
from io import BytesIO
import json
import logging
from typing import Any
import warnings

import torch
from torch import nn, Tensor

from .checkpoint import Checkpoint
from .deployed import Deployed
from .quantization import quantize

FORMAT = 'seg_ros export 1'
OUTPUTS = ('labels', 'logits')
PRECISIONS = ('fp32', 'fp16', 'int8')
FACTS = 'seg_ros.json'
"""The file inside a .pt2 that holds what an ONNX file's metadata_props do."""

OPSET = 17
OPSETS = range(17, 22)
NATIVE_OPSET = 18
"""What PyTorch's exporter writes; others are converted from it."""

SMALLEST = 64
"""
Pixels a side that a .pt2 takes at least. Networks halve an image five times or more, and PyTorch
exports a map of one pixel as something else than all other sizes.
"""


# What PyTorch's exporter must know of this operator, to hold it for any size, and is not told.
_SHAPES = torch.library.Library('aten', 'IMPL')
_SHAPES.impl(
    'fake_quantize_per_tensor_affine_cachemask',
    lambda x, *_: (torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)),
    'Meta',
)


class ExportError(ValueError):
    """A network that cannot be exported like this; the message says what can be done."""


class Portable(nn.Module):
    """
    A checkpoint's network from pixels to results, as it is exported.

    :param output: ``labels`` or ``logits`` at the images' size, or ``coarse`` logits at the
        network's own stride.
    :param precision: one of :data:`PRECISIONS`.
    :param symmetric: as :func:`seg_ros.inference.quantization.quantize`'s.
    :raises CheckpointError: int8 without ranges.
    """

    def __init__(
        self, checkpoint: Checkpoint, output: str, precision: str, symmetric: bool = False
    ) -> None:
        super().__init__()
        deployed = Deployed(checkpoint).eval()
        if precision == 'int8':
            deployed = quantize(deployed, checkpoint.activation_ranges, symmetric)
        elif precision == 'fp16':
            deployed.network.half()
        self.deployed = deployed
        self.output = output

    def forward(self, pixels: Tensor) -> Tensor:
        """
        Map uint8 RGB (N, H, W, 3) to results.

        :returns: labels, uint8, (N, H, W); or logits, float32, (N, C, H, W).
        """
        # First of all, as TensorRT lets 8-bit integers do nothing but become floats.
        logits: Tensor = self.deployed(pixels.float())
        if self.output == 'coarse':
            return logits
        size = pixels.shape[1], pixels.shape[2]
        logits = self.deployed.network.upsample(logits, size)
        if self.output == 'logits':
            return logits
        # By way of floats, as TensorRT makes 8-bit integers of nothing else.
        return logits.argmax(1).float().to(torch.uint8)


def describe(
    checkpoint: Checkpoint, output: str, precision: str, symmetric: bool
) -> dict[str, Any]:
    """Return what a user of the file must know; it is stored inside."""
    height, width = checkpoint.input_size
    results = {
        'labels': 'uint8 class ids, (batch, height, width), at the size of the image',
        'logits': 'float32 logits, (batch, classes, height, width), at the size of the image',
    }
    return {
        'format': FORMAT,
        'input': 'pixels: uint8 RGB, (batch, height, width, 3), of any size from 64x64',
        'input_size': [height, width],
        'output': output,
        'output_layout': results[output],
        'class_names': checkpoint.labels.names,
        'palette': checkpoint.labels.palette,
        'preprocessing': {'inside': True, **asdict(checkpoint.preprocessing)},
        'precision': precision,
        'symmetric': symmetric,
        'architecture': checkpoint.architecture,
        'checkpoint_sha256': checkpoint.sha256,
        'terms': checkpoint.training.get('terms'),
        'seg_ros_version': _version(),
    }


def _version() -> str | None:
    try:
        return version('seg_ros')
    except PackageNotFoundError:  # run from its sources
        return None


def export_program(
    checkpoint: Checkpoint,
    output: str = 'labels',
    precision: str = 'fp32',
    symmetric: bool = False,
) -> bytes:
    """
    Return what ``torch.export.save`` writes of the network; arguments are :class:`Portable`'s.

    :raises CheckpointError: int8 without ranges.
    :raises ExportError: PyTorch cannot export it.
    """
    program = _exported(Portable(checkpoint, output, precision, symmetric), None)
    return _saved(program, {})


def export_onnx(
    checkpoint: Checkpoint,
    output: str = 'labels',
    precision: str = 'fp32',
    symmetric: bool = False,
    *,
    opset: int = OPSET,
    shape: tuple[int, int, int, int] | None = None,
) -> bytes:
    """
    Return the network as an ONNX file's content; arguments are those of :class:`Portable`.

    :param opset: one of :data:`OPSETS`.
    :param shape: of the pixels, (N, H, W, 3), where no other is to come; any by default.
    :raises CheckpointError: int8 without ranges.
    :raises ExportError: PyTorch or ONNX cannot export it.
    """
    import onnx
    import onnxscript  # noqa: F401  # what PyTorch's exporter needs, named where it is missing

    program = _exported(Portable(checkpoint, output, precision, symmetric), shape)
    name = 'labels' if output == 'labels' else 'logits'
    with _explained(), _quiet():
        exported = torch.onnx.export(
            program,
            (),
            input_names=['pixels'],
            output_names=[name],
            opset_version=NATIVE_OPSET,
            dynamo=True,
            verbose=False,
        )
        assert exported is not None
        model = onnx.load_from_string(exported.model_proto.SerializeToString())
        model = _at_opset(model, opset)
    _tidy(model.graph, any_size=shape is None)
    model.producer_name, model.producer_version = 'seg_ros', _version() or ''
    content: bytes = model.SerializeToString()
    return content


def with_facts(content: bytes, suffix: str, facts: Mapping[str, Any]) -> bytes:
    """
    Return a file's content with facts in it.

    :param suffix: of the file. An ONNX file holds facts in its metadata_props, all as texts: what
        is none as JSON; a .pt2 file as one JSON, :data:`FACTS`.
    """
    if suffix == '.pt2':
        return _saved(torch.export.load(BytesIO(content)), {FACTS: json.dumps(facts)})
    import onnx

    model = onnx.load_from_string(content)
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()
    }
    onnx.helper.set_model_props(model, texts)
    changed: bytes = model.SerializeToString()
    return changed


def _saved(program: torch.export.ExportedProgram, files: dict[str, Any]) -> bytes:
    stream = BytesIO()
    with _quiet():
        torch.export.save(program, stream, extra_files=files)
    return stream.getvalue()


def _exported(
    network: nn.Module, shape: tuple[int, int, int, int] | None
) -> torch.export.ExportedProgram:
    """Return a network that takes pixels of one shape, or of any batch, height and width."""
    sizes = None
    options: dict[str, Any] = {}
    if shape is None:
        # Neither square nor of one image, as it might then be exported for such alone.
        shape = (2, 2 * SMALLEST + 2, 3 * SMALLEST + 3, 3)
        sides = {
            1: torch.export.Dim('height', min=SMALLEST),
            2: torch.export.Dim('width', min=SMALLEST),
        }
        sizes = ({0: torch.export.Dim('batch'), **sides},)
        # Sizes that are equal, but cannot be proved to be, are compared at run time.
        late = 'prefer_deferred_runtime_asserts_over_guards'
        if late in inspect.signature(torch.export.export).parameters:  # since 2.9
            options[late] = True
    example = torch.zeros(shape, dtype=torch.uint8)
    with _explained(), _quiet():
        return torch.export.export(
            network, (example,), dynamic_shapes=sizes, strict=False, **options
        )


def _at_opset(model: Any, opset: int) -> Any:
    """Return an ONNX model in another version of the operators."""
    import onnx
    from onnx import version_converter

    if model.opset_import[0].version == opset:
        return model
    model = version_converter.convert_version(model, opset)
    # The converter leaves attributes to operators that do not have them yet.
    for node in model.graph.node:
        known = onnx.defs.get_schema(node.op_type, opset).attributes
        for attribute in [a for a in node.attribute if a.name not in known]:
            node.attribute.remove(attribute)
    onnx.checker.check_model(model)
    return model


def _tidy(graph: Any, any_size: bool) -> None:
    """Name the open sizes, and take out what tells of the exporting machine's files."""
    for node in graph.node:
        node.ClearField('metadata_props')
        node.ClearField('doc_string')
    graph.ClearField('value_info')  # every runtime infers it, and it speaks of sizes by old names
    graph.ClearField('metadata_props')
    if any_size:
        result = graph.output[0].type.tensor_type.shape.dim
        height = 1 if len(result) == 3 else 2
        for dims, first in ((graph.input[0].type.tensor_type.shape.dim, 1), (result, height)):
            for i, side in ((0, 'batch'), (first, 'height'), (first + 1, 'width')):
                dims[i].dim_param = side


@contextmanager
def _explained() -> Iterator[None]:
    """Turn whatever the exporters raise into an error for users."""
    try:
        yield
    except Exception as error:  # theirs have no class in common
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(
            'expected a network that PyTorch can export, and releases of torch, onnx and '
            f'onnxscript that go together; exporting fails: {" ".join(reason[:8]):.1000}. Update '
            'them; of a network of your own, see doc/new_network.md'
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters from telling users what only their authors can use."""
    level = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
