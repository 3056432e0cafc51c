# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Export of a checkpoint as a file for programs without seg_ros, from 8-bit RGB to labels or logits.

The file is ONNX, or what ``torch.export`` saves. It takes batches of any number and size of
images, and includes the normalisation. Exported networks keep TensorRT's restrictions (its
documentation of ``DataType``, and the operator list of onnx/onnx-tensorrt), which do no harm in
other runtimes: TensorRT 8.6 reads opset 17 at most; 8-bit integers may only be inputs, converted
to floats first of all, and outputs, converted from floats last; interpolation must not be
antialiased. TensorRT also needs zero points of 0, with which other runtimes are less accurate, so
this is an option: ``symmetric``.
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
METADATA = 'seg_ros.json'
"""The file inside a .pt2 with the metadata, which an ONNX file has in its metadata_props."""

OPSET = 17
OPSETS = range(17, 22)
NATIVE_OPSET = 18
"""The opset that PyTorch's exporter writes; other opsets are converted from it."""

SMALLEST = 64
"""
The smallest height and width that a .pt2 takes. Networks halve an image five times or more, and
PyTorch would export a map of one pixel differently from all other sizes.
"""


# PyTorch's exporter needs the output shapes of this operator to export it for any size, and
# PyTorch does not define them.
_SHAPES = torch.library.Library('aten', 'IMPL')
_SHAPES.impl(
    'fake_quantize_per_tensor_affine_cachemask',
    lambda x, *_: (torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)),
    'Meta',
)


class ExportError(ValueError):
    """A network cannot be exported in this way; the error says what to do."""


class Portable(nn.Module):
    """
    A checkpoint's network in the form that is exported, from pixels to results.

    :param output: ``labels`` or ``logits`` at the images' size, or ``coarse`` for logits at the
        network's own stride.
    :param precision: one of :data:`PRECISIONS`.
    :param symmetric: whether to quantize symmetrically; see
        :func:`seg_ros.inference.quantization.quantize`.
    :raises CheckpointError: int8 is asked for, and the checkpoint has no activation ranges.
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
        # First of all, since TensorRT can only convert 8-bit integers to floats.
        logits: Tensor = self.deployed(pixels.float())
        if self.output == 'coarse':
            return logits
        size = pixels.shape[1], pixels.shape[2]
        logits = self.deployed.network.upsample(logits, size)
        if self.output == 'logits':
            return logits
        # By way of floats, since TensorRT can convert only these to 8-bit integers.
        return logits.argmax(1).float().to(torch.uint8)


def describe(
    checkpoint: Checkpoint, output: str, precision: str, symmetric: bool
) -> dict[str, Any]:
    """Return the metadata of an exported file: all that its users must know."""
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
    except PackageNotFoundError:  # seg_ros runs from its sources and is not installed
        return None


def export_program(
    checkpoint: Checkpoint,
    output: str = 'labels',
    precision: str = 'fp32',
    symmetric: bool = False,
) -> bytes:
    """
    Return the content of a .pt2 file of the network; for arguments see :class:`Portable`.

    :raises CheckpointError: int8 is asked for, and the checkpoint has no activation ranges.
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
    Return the content of an ONNX file of the network; for arguments see :class:`Portable`.

    :param opset: one of :data:`OPSETS`.
    :param shape: the only shape of pixels that the file will take, (N, H, W, 3); by default it
        takes any.
    :raises CheckpointError: int8 is asked for, and the checkpoint has no activation ranges.
    :raises ExportError: PyTorch or ONNX cannot export it.
    """
    import onnx
    import onnxscript  # noqa: F401  # needed by PyTorch's exporter; imported for a clear error

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


def with_metadata(content: bytes, suffix: str, metadata: Mapping[str, Any]) -> bytes:
    """
    Return an exported file's content with metadata added.

    :param suffix: the file's suffix. An ONNX file holds the metadata in its metadata_props, as
        text; values that are not text are written as JSON. A .pt2 file holds it as one JSON file,
        :data:`METADATA`.
    """
    if suffix == '.pt2':
        return _saved(torch.export.load(BytesIO(content)), {METADATA: json.dumps(metadata)})
    import onnx

    model = onnx.load_from_string(content)
    texts = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
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
    """Export a network for pixels of one shape, (N, H, W, 3), or of any (None)."""
    sizes = None
    options: dict[str, Any] = {}
    if shape is None:
        # The example is neither square nor a single image, as the export might then be for such
        # images only.
        shape = (2, 2 * SMALLEST + 2, 3 * SMALLEST + 3, 3)
        sides = {
            1: torch.export.Dim('height', min=SMALLEST),
            2: torch.export.Dim('width', min=SMALLEST),
        }
        sizes = ({0: torch.export.Dim('batch'), **sides},)
        # Sizes that the exporter cannot prove to be equal are compared at run time.
        late = 'prefer_deferred_runtime_asserts_over_guards'
        if late in inspect.signature(torch.export.export).parameters:  # since 2.9
            options[late] = True
    example = torch.zeros(shape, dtype=torch.uint8)
    with _explained(), _quiet():
        return torch.export.export(
            network, (example,), dynamic_shapes=sizes, strict=False, **options
        )


def _at_opset(model: Any, opset: int) -> Any:
    """Convert an ONNX model to another opset."""
    import onnx
    from onnx import version_converter

    if model.opset_import[0].version == opset:
        return model
    model = version_converter.convert_version(model, opset)
    # The converter leaves attributes that the operators of an older opset do not have.
    for node in model.graph.node:
        known = onnx.defs.get_schema(node.op_type, opset).attributes
        for attribute in [a for a in node.attribute if a.name not in known]:
            node.attribute.remove(attribute)
    onnx.checker.check_model(model)
    return model


def _tidy(graph: Any, any_size: bool) -> None:
    """Name the variable sizes, and remove metadata that contains paths of this machine."""
    for node in graph.node:
        node.ClearField('metadata_props')
        node.ClearField('doc_string')
    graph.ClearField('value_info')  # it has the sizes' old names, and every runtime infers it
    graph.ClearField('metadata_props')
    if any_size:
        result = graph.output[0].type.tensor_type.shape.dim
        height = 1 if len(result) == 3 else 2
        for dims, first in ((graph.input[0].type.tensor_type.shape.dim, 1), (result, height)):
            for i, side in ((0, 'batch'), (first, 'height'), (first + 1, 'width')):
                dims[i].dim_param = side


@contextmanager
def _explained() -> Iterator[None]:
    """Turn any error of the exporters into one for users."""
    try:
        yield
    except Exception as error:  # the exporters' errors have no other common class
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(
            'expected a network that PyTorch can export, and releases of torch, onnx and '
            f'onnxscript that go together; exporting fails: {" ".join(reason[:8]):.1000}. Update '
            'them; for a network of your own, see doc/new_network.md'
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings and log messages of the exporters, which are of no use to users."""
    level = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
