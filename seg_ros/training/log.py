# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a training shows: a progress bar, a line an epoch, and curves and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ..datasets.dataset import LabelledImages
from ..images.overlay import overlay
from ..inference.segmenter import Segmenter
from ..metrics.confusion_matrix import ConfusionMatrix
from ..metrics.process_group import rank

PICTURES = 4
WIDTH = 960


class Log:
    """
    The log of one training; of several processes the first one's.

    :param out: folder in which TensorBoard's files go into ``tensorboard``.
    """

    def __init__(self, out: Path) -> None:
        self._folder = out / 'tensorboard'
        self._writer: Any = None

    def say(self, text: str) -> None:
        """Print a line."""
        if rank() == 0:
            tqdm.write(text)

    def start(self, images: int, images_seen: int) -> tqdm[None]:
        """Return a bar of the whole training, which tells images/s and the time left."""
        if rank() == 0:
            try:
                from torch.utils.tensorboard import SummaryWriter

                # What a killed training wrote after its last checkpoint comes again.
                self._writer = SummaryWriter(str(self._folder), purge_step=images_seen + 1)
            except ImportError:
                self.say('No curves: TensorBoard is not installed (pip install tensorboard)')
        return tqdm(
            desc='training', total=images, initial=images_seen, unit='image', disable=rank() > 0
        )

    def epoch(self, record: Mapping[str, float], images_seen: int) -> None:
        """Keep the figures of an epoch."""
        self.say('  '.join(f'{key} {value:.4g}' for key, value in record.items()))
        with self._keeping():
            if self._writer:
                for key, value in record.items():
                    self._writer.add_scalar(key, value, images_seen)
                self._writer.flush()

    def validation(
        self,
        segmenter: Segmenter,
        images: LabelledImages,
        matrix: ConfusionMatrix,
        images_seen: int,
    ) -> None:
        """
        Keep the IoU of each class, and some images, evenly spread.

        In a picture the ground truth is on the left, what the network says on the right.
        """
        if not self._writer:
            return
        with self._keeping():
            for name, value in zip(segmenter.labels.names, matrix.iou().tolist()):
                self._writer.add_scalar(f'iou/{name}', value, images_seen)
            palette = segmenter.labels.palette
            for index in {round(i) for i in np.linspace(0, len(images) - 1, PICTURES)}:
                image, truth = images[index]
                predicted = segmenter.predict(image).labels
                pair = np.hstack([overlay(image, mask, palette) for mask in (truth, predicted)])
                shrink = min(1.0, WIDTH / pair.shape[1])
                pair = cv2.resize(pair, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
                self._writer.add_image(f'sample/{index}', pair, images_seen, dataformats='HWC')

    def close(self) -> None:
        """Write what is still in memory."""
        with self._keeping():
            if self._writer:
                self._writer.close()

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        """Do without curves where they cannot be written: they are not worth the training."""
        try:
            yield
        except OSError as error:
            self._writer = None
            self.say(f'{self._folder}: no more curves: {error.strerror}. Free some space')
