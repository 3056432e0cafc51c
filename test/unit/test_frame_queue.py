# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The queue between receiving and segmenting: newest only, fair, never blocking the receiver."""

from threading import Thread
from time import sleep

import pytest

from seg_ros.node.frame_queue import FrameQueue


@pytest.fixture
def queue():
    return FrameQueue()


def test_only_the_newest_frame_of_a_camera_is_kept(queue):
    assert [queue.put('front', frame) for frame in range(5)] == [False, *[True] * 4]
    assert not queue.put('rear', 0)
    assert queue.take() == {'front': 4, 'rear': 0}
    assert not queue.put('front', 5)


def test_one_frame_of_each_camera_the_one_that_waited_longest_first(queue):
    queue.put('rear', 1)
    queue.put('front', 2)
    queue.put('rear', 3)
    assert list(queue.take().items()) == [('rear', 3), ('front', 2)]
    queue.put('front', 4)
    assert queue.take() == {'front': 4}


def test_a_flood_from_one_camera_does_not_starve_another(queue):
    queue.put('front', 'one')
    for frame in range(1000):
        queue.put('rear', frame)
    assert queue.take() == {'front': 'one', 'rear': 999}


def test_cameras_that_send_together_take_turns(queue):
    """Each turn takes longer than it is from frame to frame, as on a busy machine."""
    served = []
    for moment in range(9):
        for camera in ('left', 'front', 'right'):
            queue.put(camera, moment)
        served += queue.take(together=False).items()
    assert [camera for camera, _ in served] == ['left', 'front', 'right'] * 3
    assert [frame for _, frame in served] == list(range(9)), 'not the newest'
    queue.put('rear', 9)
    assert queue.take(together=False) == {'rear': 9}, 'a new camera is first'


def test_take_waits_for_a_frame(queue):
    taken = []
    worker = Thread(target=lambda: taken.append(queue.take()))
    worker.start()
    sleep(0.05)
    assert not taken
    queue.put('front', 1)
    worker.join(60)
    assert taken == [{'front': 1}]


def test_closing_releases_who_waits_and_drops_what_waits(queue):
    taken = []
    worker = Thread(target=lambda: taken.append(queue.take()))
    worker.start()
    assert queue.close() == []
    worker.join(60)
    assert queue.put('front', 1), 'not said to be lost'
    assert taken == [None]
    assert queue.take() is None


def test_closing_names_the_cameras_whose_frame_is_lost(queue):
    queue.put('front', 1)
    queue.put('rear', 2)
    queue.take(together=False)
    assert queue.close() == ['rear']


def test_a_forgotten_frame_is_not_taken(queue):
    queue.put('front', 1)
    queue.put('rear', 2)
    assert queue.forget('front')
    assert not queue.forget('front')
    assert queue.take() == {'rear': 2}


def test_between_threads_the_last_frame_always_arrives_and_frames_never_go_back(queue):
    seen = []

    def work():
        while (frames := queue.take()) is not None:
            seen.append(frames['front'])

    worker = Thread(target=work)
    worker.start()
    last = 20_000
    replaced = sum(queue.put('front', frame) for frame in range(last + 1))
    while seen[-1:] != [last]:
        sleep(0.001)
    queue.close()
    worker.join(60)
    assert seen == sorted(seen)
    assert len(seen) + replaced == last + 1
