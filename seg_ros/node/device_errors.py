# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of errors that a network raises, by what the process can do after them."""

from __future__ import annotations

from enum import Enum
import sys


class ErrorKind(Enum):
    """What a process can do after an error of a network."""

    MEMORY = 'out of memory'
    """The device works. Memory can be given back and the work tried again."""

    ENGINE = 'engine'
    """One engine, or one image, is at fault. A network that is built anew may work."""

    LOST = 'device lost'
    """
    Every further CUDA call of the process fails with the same error. Only another process can use
    the device again.
    """


LOST_MESSAGES = {
    'uncorrectable ECC error encountered': 'cudaErrorECCUncorrectable',
    'uncorrectable NVLink error detected': 'cudaErrorNvlinkUncorrectable',
    'an illegal memory access was encountered': 'cudaErrorIllegalAddress',
    'the launch timed out and was terminated': 'cudaErrorLaunchTimeout',
    'device-side assert triggered': 'cudaErrorAssert',
    'hardware stack error': 'cudaErrorHardwareStackError',
    'an illegal instruction was encountered': 'cudaErrorIllegalInstruction',
    'misaligned address': 'cudaErrorMisalignedAddress',
    'operation not supported on global/shared address space': 'cudaErrorInvalidAddressSpace',
    'invalid program counter': 'cudaErrorInvalidPc',
    'unspecified launch failure': 'cudaErrorLaunchFailure',
}
"""
The texts of the errors after which CUDA must be started anew, each with its name.

PyTorch, ONNX Runtime and TensorRT all put the text of cudaGetErrorString into their messages. That
the process must be ended and started again is said of each error in the reference of the CUDA
Runtime API, section "Data types used by CUDA Runtime", enum cudaError
(https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html); of the two uncorrectable
ones in NVIDIA's "XID Errors" (https://docs.nvidia.com/deploy/xid-errors/), XID 48, 63 and 74.
"""

MEMORY_MESSAGES = ('out of memory', 'Failed to allocate memory', 'CUBLAS_STATUS_ALLOC_FAILED')
"""What PyTorch, ONNX Runtime and cuBLAS write of memory that the device does not have."""


def kind_of(error: BaseException) -> ErrorKind:
    """Return the kind of an error, by its type, its text and those of its causes."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    texts = [str(cause) for cause in chain]
    if any(message in text for text in texts for message in LOST_MESSAGES):
        return ErrorKind.LOST
    torch = sys.modules.get('torch')
    if torch and any(isinstance(cause, torch.cuda.OutOfMemoryError) for cause in chain):
        return ErrorKind.MEMORY
    if any(message in text for text in texts for message in MEMORY_MESSAGES):
        return ErrorKind.MEMORY
    return ErrorKind.ENGINE
