# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Import of mmsegmentation's and liminn's ICNet: the logits of all branches are the original's."""

from __future__ import annotations

from pathlib import Path

from import_fixtures import load_pair, make_weights
from imported_networks import check_stored_icnet, import_icnet
import pytest

from seg_ros.interop.importers import UnsupportedError

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.mark.parametrize('name', ['mmsegmentation_icnet18', 'liminn_icnet50'])
def test_logits_are_those_the_original_gave(name: str, tmp_path: Path) -> None:
    check_stored_icnet(name, tmp_path)


@pytest.mark.parametrize('name', ['mmsegmentation_icnet18', 'liminn_icnet50'])
def test_an_unknown_backbone_is_named(name: str, tmp_path: Path) -> None:
    # Only the names of the tensors matter here, not their shapes.
    weights = make_weights(dict.fromkeys(load_pair(name).shapes, (19,)))
    changed = {key: a for key, a in weights.items() if '.layer3.1.' not in key}
    blocks = '3, 4, 5, 3 blocks of three' if '50' in name else '2, 2, 1, 2 blocks of two'
    with pytest.raises(UnsupportedError, match=f'theirs.*depth 18, 34, 50.*stages of {blocks}'):
        import_icnet(changed, tmp_path)


def test_what_has_no_place_is_named(tmp_path: Path) -> None:
    name = 'mmsegmentation_icnet18'
    shapes = {**load_pair(name).shapes, 'decode_head.conv_cat.conv.weight': (1,)}
    with pytest.raises(UnsupportedError, match='no place for decode_head.conv_cat.conv.weight'):
        import_icnet(make_weights(shapes), tmp_path)
