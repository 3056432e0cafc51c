# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The shortest look at a CUDA device, where there is one; test/slow has every way through it."""

from engine_fixtures import check_labels
import pytest
import torch

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='PyTorch sees no CUDA device'
)


def test_labels_are_those_of_float32() -> None:
    check_labels('bisenetv2_camvid', 'torch', 'fp16', (96, 128), 'cuda')
