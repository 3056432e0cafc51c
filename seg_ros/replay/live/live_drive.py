# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The images of a bag that is played to a running node, matched with the node's masks."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ...bags.bag import Bag, read_images, read_labels
from .bag_clock import BagClock
from .live_evaluation import Answers, LiveEvaluation

UNANSWERED_NS = 10**9
"""Images played less than this many ns before an interruption do not count as dropped."""


class Drive(NamedTuple):
    """
    The images of one of a bag's topics.

    :param stamps: the header stamps in nanoseconds, in the order of recording.
    :param recorded: the recording times in nanoseconds, in the same order.
    :param topics: the topics to play: that of the images, then their camera_info if there is one.
    """

    stamps: list[int]
    recorded: list[int]
    topics: list[str]


def read_drive(path: str | Path, topic: str | None = None, labels: str | None = None) -> Drive:
    """
    Read the stamps and recording times of a bag's images.

    :param topic: the image topic; may be left out if the bag has only one.
    :param labels: the topic of the images' ground truth, whose size is checked.
    :raises ValueError: the bag is damaged, it has no such images or labels, or several images
        share a stamp, so that masks cannot be matched with them.
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
    Match the images that were played while the clock was heard with the masks received.

    :param interrupted_at: the real time in nanoseconds of an interruption, after which masks
        that were on their way were not received; None if there was none.
    """
    places, played = clock.played(drive.recorded)
    stamps = [drive.stamps[place] for place in places]
    answers = evaluation.answers(stamps, played.tolist())
    if interrupted_at is None:
        return answers
    return answers.only(answers.answered | (played < interrupted_at - UNANSWERED_NS))
