# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""BiSeNetV2: a wide shallow branch for detail, a narrow deep one for semantics (2004.02147)."""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional as F

from .bisenetv2_variants import BiSeNetV2Variant, VARIANTS
from .layers import initialise, SegmentationNetwork, spatial_size

EXPANSION = 6
DETAIL_WIDTHS = (64, 64, 128)
DEEP_WIDTHS = (64, 128)
"""The widths of the semantic branch's stages S4 and S5, which the detail branch does not have."""

BOOSTER_STRIDES = (4, 8, 16, 32)
BOOSTER_WIDTH = 128
MAX_DEPTH = 16


class Stem(nn.Module):
    """The stem block (section 4.2): convolution and pooling, side by side, quarter the size."""

    def __init__(self, width: int, variant: BiSeNetV2Variant) -> None:
        super().__init__()
        conv = variant.conv
        self.conv = conv(3, width, 3, 2, relu=True)
        self.convolved = nn.Sequential(
            conv(width, width // 2, 1, relu=True),
            conv(width // 2, width, 3, 2, relu=True),
        )
        self.pooled = nn.MaxPool2d(3, 2, 1)
        self.fuse = conv(2 * width, width, 3, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, h, w) to (N, width, h / 4, w / 4)."""
        x = self.conv(x)
        return self.fuse(torch.cat([self.convolved(x), self.pooled(x)], dim=1))


class GatherExpansion(nn.Module):
    """The gather-and-expansion layer (section 4.2): a 3x3, a wide depthwise 3x3 and a 1x1."""

    def __init__(self, inputs: int, outputs: int, stride: int, variant: BiSeNetV2Variant) -> None:
        super().__init__()
        conv, relu = variant.conv, variant.expansion_relu
        wide = inputs * EXPANSION
        layers = [conv(inputs, inputs, 3, relu=True)]
        self.shortcut: nn.Module = nn.Identity()
        if stride == 1:
            layers.append(conv(inputs, wide, 3, groups=inputs, relu=relu))
        else:
            layers.append(conv(inputs, wide, 3, stride, groups=inputs))
            layers.append(conv(wide, wide, 3, groups=wide, relu=relu))
            self.shortcut = nn.Sequential(
                conv(inputs, inputs, 3, stride, groups=inputs), conv(inputs, outputs, 1)
            )
        self.body = nn.Sequential(*layers, conv(wide, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


class ContextEmbedding(nn.Module):
    """The context embedding block (section 4.2): adds the mean over the map to each pixel."""

    def __init__(self, width: int, variant: BiSeNetV2Variant) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.conv = variant.conv(width, width, 1, relu=True)
        self.fuse = (
            variant.conv(width, width, 3, relu=True)
            if variant.context_norm
            else nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, h, w) to the same shape."""
        return self.fuse(x + self.conv(self.norm(x.mean((2, 3), keepdim=True))))


class GuidedAggregation(nn.Module):
    """The bilateral guided aggregation layer (section 4.3)."""

    def __init__(self, width: int, variant: BiSeNetV2Variant) -> None:
        super().__init__()
        conv = variant.conv
        self.detail_keep = nn.Sequential(
            conv(width, width, 3, groups=width),
            nn.Conv2d(width, width, 1, bias=variant.keep_bias),
        )
        pool = nn.AvgPool2d(3, 2, 1, count_include_pad=variant.pool_counts_padding)
        self.detail_down = nn.Sequential(conv(width, width, 3, 2), pool)
        self.semantic_up = conv(width, width, 3)
        self.semantic_keep = nn.Sequential(
            conv(width, width, 3, groups=width),
            nn.Conv2d(width, width, 1, bias=variant.keep_bias),
        )
        self.fuse = conv(width, width, 3, relu=variant.merged_relu)
        self.upsampling = variant.upsampling

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Merge (N, width, h, w) and (N, width, h / 4, w / 4) into (N, width, h, w)."""
        size = detail.shape[-2:]
        gate = F.interpolate(self.semantic_up(semantic), size, mode=self.upsampling)
        fine = self.detail_keep(detail) * torch.sigmoid(gate)
        coarse = self.detail_down(detail) * torch.sigmoid(self.semantic_keep(semantic))
        return self.fuse(fine + F.interpolate(coarse, size, mode=self.upsampling))


class Sum(nn.Module):
    """
    An aggregation by sum and a 3x3 convolution, from the paper's ablation.

    The paper compares it with :class:`GuidedAggregation`.
    """

    def __init__(self, width: int, variant: BiSeNetV2Variant) -> None:
        super().__init__()
        self.fuse = variant.conv(width, width, 3, relu=variant.merged_relu)
        self.upsampling = variant.upsampling

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Merge (N, width, h, w) and (N, width, h / 4, w / 4) into (N, width, h, w)."""
        large = F.interpolate(semantic, detail.shape[-2:], mode=self.upsampling)
        return self.fuse(detail + large)


class Concatenation(nn.Module):
    """An aggregation by concatenation and a 3x3 convolution, from the paper's ablation."""

    def __init__(self, width: int, variant: BiSeNetV2Variant) -> None:
        super().__init__()
        self.fuse = variant.conv(2 * width, width, 3, relu=variant.merged_relu)
        self.upsampling = variant.upsampling

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Merge (N, width, h, w) and (N, width, h / 4, w / 4) into (N, width, h, w)."""
        large = F.interpolate(semantic, detail.shape[-2:], mode=self.upsampling)
        return self.fuse(torch.cat([detail, large], dim=1))


class DetailAlone(nn.Module):
    """The detail branch alone, from the paper's ablation; the semantic branch is not built."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def forward(self, detail: Tensor, _: Tensor) -> Tensor:
        """Return the detail branch's map."""
        return detail


class SemanticAlone(nn.Module):
    """The semantic branch alone, from the paper's ablation; the logits are then at 1/32."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def forward(self, _: Tensor, semantic: Tensor) -> Tensor:
        """Return the semantic branch's map."""
        return semantic


AGGREGATIONS: dict[str, type[nn.Module]] = {
    'guided': GuidedAggregation,
    'sum': Sum,
    'concatenation': Concatenation,
    'detail': DetailAlone,
    'semantic': SemanticAlone,
}
"""How the two branches are merged, by name; all but ``guided`` are for the paper's ablation."""


def head(
    inputs: int, widths: tuple[int, ...], num_classes: int, variant: BiSeNetV2Variant
) -> nn.Sequential:
    """Return a sequence of 3x3 convolutions, to ``widths`` channels each, and a classifier."""
    pairs = zip((inputs, *widths), widths)
    convolutions = (variant.conv(before, width, 3, relu=True) for before, width in pairs)
    return nn.Sequential(*convolutions, nn.Conv2d(widths[-1], num_classes, 1))


class BiSeNetV2(SegmentationNetwork):
    """
    BiSeNetV2, Table 1 of the paper, arXiv 2004.02147.

    The paper says that its Large network (alpha 2, d 3) is alpha times as wide and d times as
    deep, but not in which layers. Here alpha multiplies all widths of both branches and of the
    aggregation, but not those of the heads; d multiplies the number of stride-1
    gather-and-expansion layers that follow each stride-2 one.

    :param head_width: channels of the main head. 1024 fits the paper's tables; less is faster.
    :param booster_width: channels of the booster heads, which exist in training only. Variants
        whose boosters have different widths have the published ones at 128, and others in
        proportion.
    :param alpha: width multiplier.
    :param depth: depth multiplier d, 1 to 16.
    :param variant: the project whose network is built, one of :data:`VARIANTS`.
    :param aggregation: how the branches are merged, or which of them is the whole network: one of
        :data:`AGGREGATIONS`. The detail branch alone has no boosters.
    :param semantic_ratio: the paper's lambda: the semantic branch's widths as a fraction of the
        detail branch's in its first two stages, up to stride 8, which both branches have.
    :raises ValueError: the variant or aggregation is unknown, the depth is not 1 to 16, or a layer
        would have no channel.
    """

    training_only = ('boosters',)

    def __init__(
        self,
        num_classes: int,
        head_width: int = 1024,
        booster_width: int = BOOSTER_WIDTH,
        alpha: float = 1,
        depth: int = 1,
        variant: str = 'paper',
        aggregation: str = 'guided',
        semantic_ratio: float = 0.25,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        if not 1 <= depth <= MAX_DEPTH:
            raise ValueError(f'expected a depth of 1 to {MAX_DEPTH}; found {depth}')
        if variant not in VARIANTS:
            raise ValueError(
                f'expected a variant named {", ".join(VARIANTS)}; found {variant!r:.100}'
            )
        if aggregation not in AGGREGATIONS:
            raise ValueError(
                f'expected an aggregation named {", ".join(AGGREGATIONS)}; found '
                f'{aggregation!r:.100}'
            )
        built = VARIANTS[variant]
        conv = built.conv
        d1, d2, d3 = (round(width * alpha) for width in DETAIL_WIDTHS)
        stem, s3 = (round(width * alpha * semantic_ratio) for width in DETAIL_WIDTHS[::2])
        s4, s5 = (round(width * alpha) for width in DEEP_WIDTHS)
        if min(d1, stem // 2) < 1:
            raise ValueError(
                'expected alpha and semantic_ratio to leave every layer a channel; found '
                f'{alpha} and {semantic_ratio}, which make the first ones {d1} and {stem} wide'
            )

        # A branch that is not built passes the image on, and the aggregation ignores it.
        self.detail: nn.Module = nn.Identity()
        if aggregation != 'semantic':
            self.detail = nn.Sequential(
                conv(3, d1, 3, 2, relu=True),
                conv(d1, d1, relu=True),
                conv(d1, d2, 3, 2, relu=True),
                *(conv(d2, d2, relu=True) for _ in range(2)),
                conv(d2, d3, 3, 2, relu=True),
                *(conv(d3, d3, relu=True) for _ in range(2)),
            )

        def stage(inputs: int, outputs: int, repeats: int) -> nn.Sequential:
            repeated = (
                GatherExpansion(outputs, outputs, 1, built) for _ in range(repeats * depth)
            )
            return nn.Sequential(GatherExpansion(inputs, outputs, 2, built), *repeated)

        # Each stage ends where a booster head is attached.
        self.semantic = nn.ModuleList()
        self.context: nn.Module = nn.Identity()
        if aggregation != 'detail':
            self.semantic.extend(
                [Stem(stem, built), stage(stem, s3, 1), stage(s3, s4, 1), stage(s4, s5, 3)]
            )
            self.context = ContextEmbedding(s5, built)
        self.aggregation = AGGREGATIONS[aggregation](d3, built)
        self.head = head(d3, (head_width,), num_classes, built)
        self.boosters = nn.ModuleList()
        for width, widths, _ in zip((stem, s3, s4, s5), built.boosters, self.semantic):
            scaled = tuple(max(1, round(w * booster_width / BOOSTER_WIDTH)) for w in widths)
            booster = head(width, scaled, num_classes, built)
            if built.boosters_double:
                booster.insert(1, nn.Upsample(scale_factor=2))
            self.boosters.append(booster)
        self.booster_strides = tuple(s // (1 + built.boosters_double) for s in BOOSTER_STRIDES)
        self.auxiliary_weights = (1.0,) * len(self.boosters)
        initialise(self)

    def _features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        stages = []
        x = images
        for stage in self.semantic:
            x = stage(x)
            stages.append(x)
        return self.aggregation(self.detail(images), self.context(x)), stages

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Return logits at 1/8 of the images' size, or at 1/32 from the semantic branch alone."""
        return self.head(self._features(images)[0])

    def forward_train(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits, and the boosters' at 1/4, 1/8, 1/16 and 1/32 or twice these sizes."""
        features, stages = self._features(images)
        height, width = spatial_size(images)
        main = self.upsample(self.head(features), self.train_size(images))
        # Twice a size that was rounded up may have a row or a column too many, which is cut off.
        return main, [
            booster(x)[..., : -(-height // stride), : -(-width // stride)]
            for booster, x, stride in zip(self.boosters, stages, self.booster_strides)
        ]
