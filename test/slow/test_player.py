# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The player's clock in real time, which a busy machine cannot hold."""

import numpy as np
from player_fixtures import hear_clock, recording, START
import pytest


@pytest.mark.parametrize('rate', [0.5, 2.0])
def test_the_clock_ticks_through_the_recorded_time(rate):
    messages = recording('player_test/clocked')
    messages = [messages[0], messages[7]]
    clock, arrived = hear_clock(messages, f'clock=True, rate={rate}')
    assert (np.diff(clock) >= 0).all()
    assert clock[0] >= START
    assert clock[-1] == messages[-1][2]  # as that is published
    assert len(clock) >= 5  # between the two messages, too
    assert np.diff(clock).max() < 0.2e9
    slope = np.polyfit((arrived - arrived[0]) / 1e9, (clock - clock[0]) / 1e9, 1)[0]
    assert slope == pytest.approx(rate, rel=0.2)
