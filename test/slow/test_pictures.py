# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Colours for everyone, and for as many classes as there may be."""

import pytest
from visions import check_differences, check_number_of_colours, VISIONS

from seg_ros.images.labels import COCO_STUFF


@pytest.mark.parametrize('vision', VISIONS)
def test_everybody_can_tell_the_colours_apart(vision: str) -> None:
    check_differences(COCO_STUFF, 4.5, vision)


def test_there_are_colours_for_any_number_of_classes() -> None:
    check_number_of_colours(255)
