# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The log of a training: a progress bar, a line per epoch, and TensorBoard's curves and images."""

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
"""The number of images that are logged at each validation."""

WIDTH = 960
"""The largest width in pixels of a logged image."""


class Log:
    """
    The log of one training, which only the first of several processes writes.

    :param out: the training's folder; TensorBoard's files go into its folder ``tensorboard``.
    """

    def __init__(self, out: Path) -> None:
        self._folder = out / 'tensorboard'
        self._writer: Any = None

    def say(self, text: str) -> None:
        """Print a line."""
        if rank() == 0:
            tqdm.write(text)

    def start(self, images: int, images_seen: int) -> tqdm[None]:
        """
        Open TensorBoard's files, and return a progress bar of the whole training.

        :param images: number of augmented images in the whole training.
        :param images_seen: how many of them the network has been trained on.
        """
        if rank() == 0:
            try:
                from torch.utils.tensorboard import SummaryWriter

                # A resumed training logs again what came after its last checkpoint: remove it.
                self._writer = SummaryWriter(str(self._folder), purge_step=images_seen + 1)
            except ImportError:
                self.say(
                    'Curves are not written, since TensorBoard is not installed '
                    '(pip install tensorboard)'
                )
        return tqdm(
            desc='training',
            total=images,
            initial=images_seen,
            unit='image',
            disable=rank() > 0 or None,
        )

    def epoch(self, record: Mapping[str, float], images_seen: int) -> None:
        """Log the figures of an epoch."""
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
        Log the IoU of each class, and some evenly spread images.

        Each image shows the ground truth on the left and the prediction on the right.
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
        """Write what has not been written yet, and close TensorBoard's files."""
        with self._keeping():
            if self._writer:
                self._writer.close()

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        """Go on without TensorBoard if its files cannot be written, rather than stop training."""
        try:
            yield
        except OSError as error:
            self._writer = None
            self.say(
                f'{self._folder}: expected to write curves; found {error.strerror}. The training '
                'goes on without them. Free some space'
            )
