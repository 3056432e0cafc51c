# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The base class of all networks, and layers that more than one network uses."""

import torch
from torch import nn, Tensor
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class SegmentationNetwork(nn.Module):
    """
    A network that gives every pixel of an image one logit per class.

    A subclass defines :meth:`coarse_logits` and :meth:`forward_train`; this class upsamples their
    results.

    :ivar num_classes: the number of classes, without the ignored one.
    :ivar auxiliary_weights: the paper's weight of each auxiliary output's loss.
    :ivar align_corners: whether the paper's bilinear interpolation aligns corners.
    :ivar train_stride: the stride at which :meth:`forward_train` returns the main logits, in
        networks that upsample them to the images' size by default; a training may set it.
    :ivar training_only: names of the modules that :meth:`coarse_logits` does not use.
    """

    num_classes: int
    auxiliary_weights: tuple[float, ...]
    align_corners = False
    train_stride = 1
    training_only: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> Tensor:
        """
        Return the logits at the size of the images.

        :param images: normalised images, (N, 3, H, W), of any H and W.
        :returns: logits, (N, num_classes, H, W).
        """
        return self.upsample(self.coarse_logits(images), spatial_size(images))

    def coarse_logits(self, images: Tensor) -> Tensor:
        """
        Return the logits at the network's own stride, before the last upsampling.

        For labels at another size than the images', these need only be upsampled once.
        """
        raise NotImplementedError

    def forward_train(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """
        Return the main and the auxiliary logits, each at the stride at which its loss is taken.

        :returns: logits (N, num_classes, h, w), and a list of auxiliary logits in the order of
            the network's ``auxiliary_weights``. Pixel (i, j) of any of them belongs to the image's
            pixel at stride * (i, j); the strides are powers of two.
        """
        raise NotImplementedError

    def train_size(self, images: Tensor) -> tuple[int, int]:
        """Return the images' height and width at :attr:`train_stride`, rounded up."""
        height, width = spatial_size(images)
        return -(-height // self.train_stride), -(-width // self.train_stride)

    def upsample(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize (N, C, h, w) to (N, C, *size) bilinearly, by the network's ``align_corners``."""
        # Variable sizes cannot be compared; resizing to the same size does not change the values.
        if not is_open(*spatial_size(features), *size) and spatial_size(features) == tuple(size):
            return features
        return F.interpolate(features, size, mode='bilinear', align_corners=self.align_corners)


def spatial_size(x: Tensor) -> tuple[int, int]:
    """Return the height and width of (N, C, H, W)."""
    return x.shape[-2], x.shape[-1]


def is_open(*sides: int) -> bool:
    """Return whether a size is variable, as in the export of a network for images of any size."""
    return any(isinstance(side, torch.SymInt) for side in sides)


def bin_means(x: Tensor, bins: int) -> Tensor:
    """
    Return the means of a map over ``bins`` x ``bins`` parts: adaptive average pooling.

    Exporters support that pooling for a fixed size only. For a variable size the map is multiplied
    by two matrices of averaging weights, which are computed from its size at run time.

    :param x: (N, C, h, w).
    :returns: (N, C, bins, bins).
    """
    size = spatial_size(x)
    if not is_open(*size):
        return F.adaptive_avg_pool2d(x, bins)
    rows, columns = (_averaging(side, bins, x) for side in size)
    return rows @ (x @ columns.T)


def _averaging(side: int, bins: int, like: Tensor) -> Tensor:
    """Return the weight of each pixel of a row in each bin's mean, (bins, side)."""
    # If a bin has the length `side` and a pixel the length `bins`, all of them begin and end at
    # integers. A bin's mean is that of all pixels it touches.
    pixel = bins * torch.arange(side, device=like.device)
    start = side * torch.arange(bins, device=like.device)[:, None]
    touched = ((pixel < start + side) & (start < pixel + bins)).to(like.dtype)
    return touched / touched.sum(1, keepdim=True)


def conv_bn(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    dilation: int = 1,
    groups: int = 1,
    relu: bool = False,
) -> nn.Sequential:
    """
    Return a convolution without bias and a batch norm.

    The padding is such that a convolution of stride 1 keeps the map's size.

    :param inputs: channels of the input.
    :param outputs: channels of the result.
    :param relu: whether to append a ReLU.
    """
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def fold_batch_norms(network: nn.Module) -> None:
    """
    Fold the batch norms of :func:`conv_bn` into the convolutions before them.

    :param network: a network in evaluation mode; it is changed in place, its results stay the
        same.
    """
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for i in range(len(module) - 1):
                conv, norm = module[i], module[i + 1]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[i], module[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


class Bottleneck(nn.Module):
    """
    A residual block of 1x1, 3x3 and 1x1 convolutions.

    :param stride: the stride, in the first 1x1 convolution as in the authors' Caffe networks.
    :param project: whether the shortcut is a convolution even if width and stride do not change.
    """

    def __init__(
        self,
        inputs: int,
        middle: int,
        outputs: int,
        stride: int = 1,
        dilation: int = 1,
        project: bool = False,
    ) -> None:
        super().__init__()
        self.reduce = conv_bn(inputs, middle, 1, stride, relu=True)
        self.conv = conv_bn(middle, middle, 3, dilation=dilation, relu=True)
        self.expand = conv_bn(middle, outputs, 1)
        same = inputs == outputs and stride == 1
        self.shortcut = (
            nn.Identity() if same and not project else conv_bn(inputs, outputs, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""
        return F.relu(self.shortcut(x) + self.expand(self.conv(self.reduce(x))))


def bottlenecks(
    inputs: int,
    middle: int,
    outputs: int,
    count: int,
    stride: int = 1,
    dilation: int = 1,
    project: bool = False,
) -> nn.Sequential:
    """Return ``count`` bottlenecks; only the first changes width and stride, or projects."""
    first = Bottleneck(inputs, middle, outputs, stride, dilation, project)
    rest = (Bottleneck(outputs, middle, outputs, 1, dilation) for _ in range(count - 1))
    return nn.Sequential(first, *rest)


def initialise(network: nn.Module) -> None:
    """Initialise convolutions as He et al. do (arXiv 1502.01852), for training from scratch."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            if module.bias is not None:
                nn.init.zeros_(module.bias)
