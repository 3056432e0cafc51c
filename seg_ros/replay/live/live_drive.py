# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a bag that is played to a running node will bring, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ...bags.bag import Bag, read_images, read_labels
from .bag_clock import BagClock
from .live_evaluation import Answers, LiveEvaluation

UNANSWERED_NS = 10**9
"""An image played this shortly before an interruption may still have got its mask."""


class Drive(NamedTuple):
    """
    The images that a bag has.

    :param stamps: of their headers, as ``recorded`` in nanoseconds and in its order.
    :param topics: to play for the node: the images' first, then their camera_info if there is one.
    """

    stamps: list[int]
    recorded: list[int]
    topics: list[str]


def read_drive(path: str | Path, topic: str | None = None, labels: str | None = None) -> Drive:
    """
    Read what a bag has of the images to come.

    :param topic: of the images; may be left out where there is only one.
    :param labels: topic of their true ids, whose size is checked.
    :raises ValueError: the bag is damaged, there are no such images or labels, or images share a
        stamp, by which masks are matched.
    """
    with Bag(path) as bag:
        (topic,) = bag.image_topics([topic] if topic else [])
        times = [(bag.stamp(message), message.time) for message in bag.messages([topic])]
        info = f'{topic.removesuffix("/compressed").rpartition("/")[0]}/camera_info'
        topics = [topic, *([info] if info in bag.topics else [])]
    if bag.damage:
        raise ValueError(bag.damage)  # it cannot be played as a whole
    if not times:
        raise ValueError(f'{path}: expected images on {topic}; found none')
    stamps, recorded = ([row[column] for row in times] for column in (0, 1))
    if len(set(stamps)) < len(stamps):
        raise ValueError(
            f'{path}: expected each image on {topic} to have a stamp of its own, by which '
            f'masks are matched; found {len(set(stamps))} stamps of {len(stamps)} images. Let the '
            'camera driver stamp them'
        )
    if labels:
        _check_size(path, topic, labels)
    return Drive(stamps, recorded, topics)


def _check_size(path: str | Path, topic: str, labels: str) -> None:
    _, _, image = next(read_images(path, topic))
    for _, ids in read_labels(path, labels):
        if ids.shape != image.shape[:2]:
            wanted, found = (f'{shape[1]}x{shape[0]}' for shape in (image.shape, ids.shape))
            raise ValueError(
                f"{path}: expected labels of the images' size, {wanted}, on {labels}; found "
                f'{found}. Name another topic, or none'
            )
        return


def match(
    drive: Drive, evaluation: LiveEvaluation, clock: BagClock, interrupted_at: int | None = None
) -> Answers:
    """
    Return what became of the images that were played while the clock was heard.

    :param interrupted_at: when that was cut short, in nanoseconds; masks were still on their way.
    """
    places, moments = clock.played(drive.recorded)
    stamps = [drive.stamps[place] for place in places]
    answers = evaluation.answers(stamps, moments.tolist())
    if interrupted_at is None:
        return answers
    return answers.only(answers.answered | (moments < interrupted_at - UNANSWERED_NS))
