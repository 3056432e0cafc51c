# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real node in cases of which test/node has a few."""

import signal

from node_fixtures import check_a_signal_while_loading, make_checkpoint
import pytest


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp('models') / 'network.safetensors', 1)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('delay', [0.0, 0.5, 1.0])
def test_a_signal_while_loading_ends_it_with_0(model, number, delay):
    check_a_signal_while_loading(model, number, delay)
