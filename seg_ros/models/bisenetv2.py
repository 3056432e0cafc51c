# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""BiSeNetV2: a wide shallow branch for detail, a narrow deep one for meaning (2004.02147)."""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional as F

from .layers import conv_bn, initialise, SegmentationNetwork, spatial_size

EXPANSION = 6
DETAIL_WIDTHS = (64, 64, 128)
SEMANTIC_WIDTHS = (16, 32, 64, 128)
MAX_DEPTH = 16


class Stem(nn.Module):
    """The semantic branch's start (section 4.2): a quarter of the size by two ways at once."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv_bn(3, width, 3, 2, relu=True)
        self.convolved = nn.Sequential(
            conv_bn(width, width // 2, 1, relu=True),
            conv_bn(width // 2, width, 3, 2, relu=True),
        )
        self.pooled = nn.MaxPool2d(3, 2, 1)
        self.fuse = conv_bn(2 * width, width, 3, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, h, w) to (N, width, h / 4, w / 4)."""
        x = self.conv(x)
        return self.fuse(torch.cat([self.convolved(x), self.pooled(x)], dim=1))


class GatherExpansion(nn.Module):
    """The gather-and-expansion layer (section 4.2): a 3x3, a wide depthwise 3x3, a 1x1."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        wide = inputs * EXPANSION
        layers = [
            conv_bn(inputs, inputs, 3, relu=True),
            conv_bn(inputs, wide, 3, stride, groups=inputs),
        ]
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            layers.append(conv_bn(wide, wide, 3, groups=wide))
            self.shortcut = nn.Sequential(
                conv_bn(inputs, inputs, 3, stride, groups=inputs), conv_bn(inputs, outputs, 1)
            )
        self.body = nn.Sequential(*layers, conv_bn(wide, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


class ContextEmbedding(nn.Module):
    """The context embedding block (section 4.2): the image's mean, added everywhere."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.conv = conv_bn(width, width, 1, relu=True)
        self.fuse = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, h, w) to the same shape."""
        return self.fuse(x + self.conv(self.norm(x.mean((2, 3), keepdim=True))))


class GuidedAggregation(nn.Module):
    """The bilateral guided aggregation layer (section 4.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.detail_keep = nn.Sequential(
            conv_bn(width, width, 3, groups=width), nn.Conv2d(width, width, 1)
        )
        self.detail_down = nn.Sequential(conv_bn(width, width, 3, 2), nn.AvgPool2d(3, 2, 1))
        self.semantic_up = conv_bn(width, width, 3)
        self.semantic_keep = nn.Sequential(
            conv_bn(width, width, 3, groups=width), nn.Conv2d(width, width, 1)
        )
        self.fuse = conv_bn(width, width, 3)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Merge (N, width, h, w) and (N, width, h / 4, w / 4) into (N, width, h, w)."""
        size = detail.shape[-2:]
        gate = torch.sigmoid(F.interpolate(self.semantic_up(semantic), size, mode='bilinear'))
        fine = self.detail_keep(detail) * gate
        coarse = self.detail_down(detail) * torch.sigmoid(self.semantic_keep(semantic))
        return self.fuse(fine + F.interpolate(coarse, size, mode='bilinear'))


def head(inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """Return a 3x3 convolution to ``width`` channels and a classifier."""
    return nn.Sequential(conv_bn(inputs, width, 3, relu=True), nn.Conv2d(width, num_classes, 1))


class BiSeNetV2(SegmentationNetwork):
    """
    BiSeNetV2, Table 1 of the paper, arXiv 2004.02147.

    The paper's Large (alpha 2, d 3) says that alpha widens and d deepens, not what. Here alpha
    multiplies every width of both branches and of the aggregation, not the heads'; d multiplies
    the stride-1 gather-and-expansion layers that follow each stride-2 one.

    :param head_width: channels of the main head; the paper's tables fit 1024, speed asks for less.
    :param booster_width: channels of the booster heads, which exist in training only.
    :param alpha: width multiplier.
    :param depth: depth multiplier d, 1 to 16.
    :raises ValueError: another depth, which would take for ever to build.
    """

    training_only = ('boosters',)

    def __init__(
        self,
        num_classes: int,
        head_width: int = 1024,
        booster_width: int = 128,
        alpha: float = 1,
        depth: int = 1,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        if not 1 <= depth <= MAX_DEPTH:
            raise ValueError(f'expected a depth of 1 to {MAX_DEPTH}; found {depth}')
        d1, d2, d3 = (round(width * alpha) for width in DETAIL_WIDTHS)
        stem, s3, s4, s5 = (round(width * alpha) for width in SEMANTIC_WIDTHS)

        self.detail = nn.Sequential(
            conv_bn(3, d1, 3, 2, relu=True),
            conv_bn(d1, d1, relu=True),
            conv_bn(d1, d2, 3, 2, relu=True),
            *(conv_bn(d2, d2, relu=True) for _ in range(2)),
            conv_bn(d2, d3, 3, 2, relu=True),
            *(conv_bn(d3, d3, relu=True) for _ in range(2)),
        )

        def stage(inputs: int, outputs: int, repeats: int) -> nn.Sequential:
            repeated = (GatherExpansion(outputs, outputs) for _ in range(repeats * depth))
            return nn.Sequential(GatherExpansion(inputs, outputs, 2), *repeated)

        # Each stage ends where a booster head is attached.
        self.semantic = nn.ModuleList(
            [Stem(stem), stage(stem, s3, 1), stage(s3, s4, 1), stage(s4, s5, 3)]
        )
        self.context = ContextEmbedding(s5)
        self.aggregation = GuidedAggregation(d3)
        self.head = head(d3, head_width, num_classes)
        self.boosters = nn.ModuleList(
            head(width, booster_width, num_classes) for width in (stem, s3, s4, s5)
        )
        self.auxiliary_weights = (1.0, 1.0, 1.0, 1.0)
        initialise(self)

    def _features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        stages = []
        x = images
        for stage in self.semantic:
            x = stage(x)
            stages.append(x)
        return self.aggregation(self.detail(images), self.context(x)), stages

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Return logits at 1/8 of the images' size."""
        return self.head(self._features(images)[0])

    def forward_train(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits, and the boosters' at 1/4, 1/8, 1/16 and 1/32."""
        features, stages = self._features(images)
        main = self.upsample(self.head(features), spatial_size(images))
        return main, [booster(x) for booster, x in zip(self.boosters, stages)]
