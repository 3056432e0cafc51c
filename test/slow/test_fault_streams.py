# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A clock that misbehaves, around the real node."""

from time import sleep

from builtin_interfaces.msg import Time
from fault_fixtures import models_fixture, Rig  # noqa: F401
from node_fixtures import picture, wait_until
from rosgraph_msgs.msg import Clock

DIM = picture(1, 40, 60)


def test_simulated_time_that_stands_still_and_jumps_back(tmp_path, models):
    with Rig(
        tmp_path, models[0], ['late'], name='simulated', use_sim_time='true', max_age_ms=1000
    ) as rig:
        front = rig.cameras['late']
        front.ask(DIM)  # time has not come yet
        clock = rig.peer.publisher(Clock, '/clock', 1)

        def set_time(seconds: int) -> None:
            for _ in range(5):
                clock.publish(Clock(clock=Time(sec=seconds)))
                sleep(0.05)

        for seconds in (1000, 1001, 10, 5000, 20):  # as a looped bag's, twice
            set_time(seconds)
            before = front.counts()
            front.masks.clear()  # a loop's stamps come again
            front.check(front.send(DIM, (seconds - 1, 500_000_000)), DIM)
            front.check(front.send(DIM, (seconds + 100, seconds)), DIM)  # ahead of its clock
            old = front.send(DIM, (seconds - 9, seconds))
            assert wait_until(lambda n=before['too_old']: front.count('too_old') > n)
            assert not front.answered(old)
            counts = front.counts()
            assert counts['processed'] == before['processed'] + 2
