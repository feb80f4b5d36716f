"""DenseNet and its relatives, where concatenation carries every feature on."""

import torch
from torch import nn

from . import Built, family
from .parts import Classifier, conv, image


class _DenseLayer(nn.Module):
    def __init__(self, width, growth, inner):
        super().__init__()
        self.one = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, inner, 1, bias=False)
        )
        self.two = nn.Sequential(
            nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, growth, 3, 1, 1, bias=False)
        )

    def forward(self, features):
        return self.two(self.one(torch.cat(features, 1)))


class _DenseBlock(nn.Module):
    def __init__(self, depth, width, growth, inner):
        super().__init__()
        self.layers = nn.ModuleList(
            _DenseLayer(width + place * growth, growth, inner) for place in range(depth)
        )

    def forward(self, x):
        features = [x]
        for layer in self.layers:
            features.append(layer(features))
        return torch.cat(features, 1)


def densenet_of(stem, depths, width, growth, inner, classes) -> nn.Module:
    """Dense blocks behind a stem, with transitions that halve width and space between them."""
    layers = [*stem]
    for place, depth in enumerate(depths):
        layers.append(_DenseBlock(depth, width, growth, inner))
        width += depth * growth
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        if place < len(depths) - 1:
            layers += [nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
    return Classifier(nn.Sequential(*layers), width, classes)


@family(groups=120)
def densenet121() -> Built:
    """DenseNet-121 (Huang et al. 2017): 58 layers of two groups, the stem and 3 transitions."""
    return densenet_of([conv(3, 4, 3, 2)], (6, 12, 24, 16), 4, 2, 3, 5), image(16)


@family(groups=9)
def cross_stage_partial() -> Built:
    """CSPNet (Wang et al. 2020): half of the channels pass by a dense block.

    Both halves of the stem, two groups in each of 3 dense layers, and the transition behind.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block = conv(3, 12), _DenseBlock(3, 6, 4, 5)
            self.join, self.head = conv(24, 8, 1), nn.Linear(8, 4)

        def forward(self, x):
            passing, working = torch.split(self.stem(x), [6, 6], dim=1)
            x = self.join(torch.cat([self.block(working), passing], 1))
            return self.head(x.mean((2, 3)))

    return Net(), image(8)
