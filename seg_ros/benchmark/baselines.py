# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Baselines: networks run as other projects run them, to compare with on the same machine.

They are rebuilt from our own layers, and run as CoinCheung/BiSeNet (its demo) and
liminn/ICNet-pytorch do.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional as F

from ..images.image_file import Image
from ..inference.checkpoint import Checkpoint
from ..inference.preprocessing import Preprocessing
from ..models import NETWORKS, SegmentationNetwork
from ..models.bisenetv2 import BiSeNetV2
from ..models.cascade import POOL_BINS
from ..models.icnet import ICNet
from ..models.layers import conv_bn, initialise, spatial_size
from ..models.pspnet import PSPNet50
from .networks import find_network, settle

PAPER_HEAD = 1024
"""The width of the head of the paper's BiSeNetV2."""

BISENETV2 = f'bisenetv2:head_width={PAPER_HEAD}'
TWICE = 'icnet of two backbones'
"""The name of :class:`TwoBackbones` in a benchmark's rows."""

HALF_PSPNET50 = 'pspnet50:width=0.5'


def baselines_of(name: str, network: nn.Module) -> tuple[str, ...]:
    """
    Return the names of the networks that a network is compared with, that for the ratio first.

    A trained BiSeNetV2 is compared with the same weights repeated to the paper's wide head, so
    that both distinguish the same classes.

    :param name: the network's name for :func:`~seg_ros.benchmark.networks.find_network`.
    """
    if isinstance(network, BiSeNetV2):
        own = name.partition(':')[0]
        widens = PAPER_HEAD % len(network.state_dict()['head.0.0.weight']) == 0
        return (f'{own}:head_width={PAPER_HEAD}' if widens and own not in NETWORKS else BISENETV2,)
    return (
        (TWICE, HALF_PSPNET50) if isinstance(network, (ICNet, TwoBackbones)) else (HALF_PSPNET50,)
    )


class Eager:
    """
    A network run as demos run it: float images in, float logits of the image's size out.

    The CPU resizes and normalises in float32, the network runs eagerly in float32, its full-size
    logits are copied back, and the CPU takes the argmax. No layers are fused, no memory layout is
    chosen for the device, and no copies are avoided.

    :param device: the device that runs the network.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        preprocessing: Preprocessing,
        input_size: tuple[int, int],
        device: str,
    ) -> None:
        self._network = network.eval().requires_grad_(False).to(device)
        self._preprocessing = preprocessing
        self._input_size = input_size
        self._device = device

    def predict(self, images: Sequence[Image]) -> list[Image]:
        """Map uint8 RGB images, (H, W, 3), to uint8 class ids, (H, W)."""
        return [self._predict(image) for image in images]

    def _predict(self, image: Image) -> Image:
        height, width = self._input_size
        size = image.shape[:2]
        if size != self._input_size:
            image = cv2.resize(image, (width, height))
        order = slice(None, None, -1 if self._preprocessing.channel_order == 'bgr' else 1)
        x = torch.from_numpy(image[..., order].transpose(2, 0, 1).astype(np.float32))
        mean, std = (
            torch.tensor(values).view(3, 1, 1)
            for values in (self._preprocessing.mean, self._preprocessing.std)
        )
        x = x.sub_(mean).div_(std).unsqueeze(0)
        with torch.inference_mode():
            logits = self._network(x.to(self._device)).cpu()
            if size != self._input_size:
                logits = F.interpolate(logits, size, mode='bilinear')
            return logits.argmax(1)[0].numpy().astype(np.uint8)


class TwoBackbones(SegmentationNetwork):
    """
    ICNet as liminn/ICNet-pytorch runs it: the whole backbone at 1/2 and again at 1/4 of the size.

    The backbone is that of PSPNet50 at full width. At 1/2 only the features of its second stage
    are used, at 1/4 only those of its last. The auxiliary classifiers run, too, and their results
    are dropped. There is one difference: in our backbone the stage that halves the size does so
    in its first 1x1 convolution, in theirs in the 3x3 convolution after it, which costs 0.3 %
    more.
    """

    align_corners = True

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        backbone = PSPNet50(num_classes)
        self.first = backbone.body[:6]
        self.last = nn.Sequential(backbone.body[6], backbone.last_stage)
        self.shallow = nn.Sequential(
            conv_bn(3, 32, 3, 2, relu=True),
            conv_bn(32, 32, 3, 2, relu=True),
            conv_bn(32, 64, 3, 2, relu=True),
        )
        self.fusion24 = BackboneFusion(2048, 512, num_classes)
        self.fusion12 = BackboneFusion(128, 64, num_classes)
        self.head = nn.Conv2d(128, num_classes, 1, bias=False)
        initialise(self)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Return logits at 1/4 of the images' size."""
        height, width = spatial_size(images)
        full = self.shallow(images)
        half, _ = self._backbone(self.upsample(images, (height // 2, width // 2)))
        _, quarter = self._backbone(self.upsample(images, (height // 4, width // 4)))
        pooled = quarter
        for bins in POOL_BINS:
            mean = F.adaptive_avg_pool2d(quarter, bins)
            pooled = pooled + self.upsample(mean, spatial_size(quarter))
        fused = self.fusion12(self.fusion24(pooled, half), full)
        return self.head(self.upsample(fused, (2 * fused.shape[2], 2 * fused.shape[3])))

    def forward_train(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits without auxiliary logits, as this network is never trained."""
        return self.coarse_logits(images), []

    def _backbone(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the second and the last stage's features, both at 1/8 of the images' size."""
        features = self.first(images)
        return features, self.last(features)


class BackboneFusion(nn.Module):
    """Cascade feature fusion whose auxiliary classifier always runs, after its convolution."""

    def __init__(self, coarse: int, fine: int, num_classes: int) -> None:
        super().__init__()
        self.refine = conv_bn(coarse, 128, 3, dilation=2)
        self.project = conv_bn(fine, 128, 1)
        self.classify = nn.Conv2d(128, num_classes, 1, bias=False)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Merge (N, coarse, h / 2, w / 2) and (N, fine, h, w) into (N, 128, h, w)."""
        size = spatial_size(fine)
        x = self.refine(F.interpolate(coarse, size, mode='bilinear', align_corners=True))
        self.classify(x)
        return F.relu(x + self.project(fine))


def baseline_network(name: str, size: tuple[int, int]) -> Checkpoint:
    """Return a checkpoint of the network ``name``, which may be one of :func:`baselines_of`."""
    if name != TWICE:
        return find_network(name, size)
    checkpoint = find_network(HALF_PSPNET50, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TwoBackbones(len(checkpoint.labels))
        settle(network)
    return Checkpoint(network, {}, checkpoint.labels, size)
