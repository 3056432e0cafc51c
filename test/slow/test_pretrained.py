# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weights to start from: every form of a published ResNet-50 in every network that has one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from published_resnets import check_places, check_results, PLACES, STEMS
import pytest

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder that goes at once, as pytest keeps its own and these files are large."""
    with TemporaryDirectory() as path:
        yield Path(path)


@pytest.mark.parametrize(('name', 'form'), product(PLACES, STEMS))
def test_each_tensor_of_a_resnet_lands_where_it_belongs(
    name: str, form: str, folder: Path
) -> None:
    check_places(name, form, folder / 'resnet.pth')


@pytest.mark.parametrize(
    ('name', 'form'),
    [
        ('icnet', 'mmsegmentation'),
        ('pspnet50', 'semseg'),
        ('icnet_mmsegmentation', 'mmsegmentation'),
        ('icnet_liminn', 'semseg'),
    ],
)
def test_a_filled_network_computes_what_the_resnet_does(
    name: str, form: str, folder: Path
) -> None:
    check_results(name, form, folder / 'nested.pt')
