"""GoogLeNet for 32x32 images, with its two auxiliary classifiers."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from basinbridge.models.layers import ConvolutionBlock

# As torchvision has it, whose layout this is: no bias before batch norm, whose epsilon is 0.001.
_convolution = partial(ConvolutionBlock, epsilon=0.001)
_AUXILIARY_SIDE = 4
_INITIAL_DEVIATION = 0.01


class GoogLeNetOutput(NamedTuple):
    """What GoogLeNet returns in training mode: three sets of logits, (n, num_classes) each."""

    logits: Tensor
    auxiliary1: Tensor
    auxiliary2: Tensor


class Inception(nn.Module):
    """Four branches over one input, their channels joined.

    Input (n, in_channels, height, width); output (n, point + middle + wide + pool, height, width).
    The branches: a 1x1 convolution; a 1x1 to `middle_reduced` channels and a 3x3; a 1x1 to
    `wide_reduced` and another 3x3 (5x5 in the original paper, 3x3 in torchvision); 3x3 max-pooling
    and a 1x1.
    """

    def __init__(
        self,
        in_channels: int,
        point: int,
        middle_reduced: int,
        middle: int,
        wide_reduced: int,
        wide: int,
        pool: int,
    ) -> None:
        super().__init__()
        self.point = _convolution(in_channels, point, 1)
        self.middle = nn.Sequential(
            _convolution(in_channels, middle_reduced, 1),
            _convolution(middle_reduced, middle, 3, padding=1),
        )
        self.wide = nn.Sequential(
            _convolution(in_channels, wide_reduced, 1),
            _convolution(wide_reduced, wide, 3, padding=1),
        )
        self.pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            _convolution(in_channels, pool, 1),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """The joined branches, in the order point, middle, wide, pool."""
        branches = (self.point, self.middle, self.wide, self.pool)
        return torch.cat([branch(inputs) for branch in branches], dim=1)


class AuxiliaryClassifier(nn.Module):
    """A classifier on a middle layer, there for its gradient: its logits, (n, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = _convolution(in_channels, 128, 1)
        self.hidden = nn.Linear(128 * _AUXILIARY_SIDE**2, 1024)
        self.dropout = nn.Dropout(0.7)
        self.classifier = nn.Linear(1024, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits for activations (n, in_channels, height, width)."""
        pooled = functional.adaptive_avg_pool2d(inputs, (_AUXILIARY_SIDE, _AUXILIARY_SIDE))
        hidden = functional.relu(self.hidden(self.conv(pooled).flatten(1)))
        logits: Tensor = self.classifier(self.dropout(hidden))
        return logits


class GoogLeNet(nn.Module):
    """Nine inception modules; the first convolution and the pooling spare 32x32 images.

    Input (n, 3, height, width), 32x32 in the paper. Output in evaluation mode: the logits (n,
    num_classes); in training mode: a `GoogLeNetOutput` with the auxiliary classifiers' logits
    too, which weigh 0.3 each in the paper's loss. Of torchvision's layout the stem's stride 2 and
    the first and the fourth max-pooling are left out. Weights start truncated normal with standard
    deviation 0.01. Parameters, auxiliary classifiers included: 9,960,638 at 10 classes, 10.24
    million at 100.

    Source: Szegedy et al., "Going Deeper with Convolutions" (2015); Tatro et al. (2020), Table 1.

    >>> sum(parameter.numel() for parameter in GoogLeNet().parameters())
    9960638
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(3, 64, 7, padding=3),
            _convolution(64, 64, 1),
            _convolution(64, 192, 3, padding=1),
        )
        self.inception3 = nn.Sequential(
            Inception(192, 64, 96, 128, 16, 32, 32),
            Inception(256, 128, 128, 192, 32, 96, 64),
        )
        # The fourth group is cut where the auxiliary classifiers branch off.
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4bcd = nn.Sequential(
            Inception(512, 160, 112, 224, 24, 64, 64),
            Inception(512, 128, 128, 256, 24, 64, 64),
            Inception(512, 112, 144, 288, 32, 64, 64),
        )
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.inception5 = nn.Sequential(
            Inception(832, 256, 160, 320, 32, 128, 128),
            Inception(832, 384, 192, 384, 48, 128, 128),
        )
        self.auxiliary1 = AuxiliaryClassifier(512, num_classes)
        self.auxiliary2 = AuxiliaryClassifier(528, num_classes)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1024, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                _truncated_normal(module.weight)

    def forward(self, images: Tensor) -> Tensor | GoogLeNetOutput:
        """The logits of `images` (n, 3, height, width); in training mode all three sets."""
        features = self.inception3(_halved(self.stem(images)))
        middle1 = self.inception4a(_halved(features))
        middle2 = self.inception4bcd(middle1)
        features = self.inception5(self.inception4e(middle2))
        logits: Tensor = self.classifier(self.dropout(features.mean(dim=(2, 3))))
        if not self.training:
            return logits
        return GoogLeNetOutput(logits, self.auxiliary1(middle1), self.auxiliary2(middle2))


def _halved(features: Tensor) -> Tensor:
    """Max-pooling that halves height and width, odd sizes rounded up."""
    return functional.max_pool2d(features, 3, stride=2, ceil_mode=True)


def _truncated_normal(weight: Tensor) -> None:
    """Fill `weight` from a normal distribution cut at two standard deviations, in place."""
    limit = 2 * _INITIAL_DEVIATION
    nn.init.trunc_normal_(weight, std=_INITIAL_DEVIATION, a=-limit, b=limit)
