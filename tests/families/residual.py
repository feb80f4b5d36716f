"""Residual networks: ResNet with all shortcuts, pre-activation, wide, ResNeXt, RegNet, norms."""

import torch
import torch.nn.functional as F
from torch import nn

from . import Built, family
from .parts import Classifier, Lambda, Residual, SqueezeExcite, conv, image


def _projection(width, out, stride, norm=nn.BatchNorm2d):
    return (
        None if width == out and stride == 1 else conv(width, out, 1, stride, act=None, norm=norm)
    )


def basic(width, out, stride, norm=nn.BatchNorm2d):
    """Two 3x3 convolutions and a shortcut."""
    body = nn.Sequential(
        conv(width, out, 3, stride, norm=norm), conv(out, out, act=None, norm=norm)
    )
    return Residual(body, _projection(width, out, stride, norm), nn.ReLU())


def bottleneck(width, out, stride, inner, groups=1, excite=0):
    """Narrow, 3x3, widen, and a shortcut."""
    layers = [conv(width, inner, 1), conv(inner, inner, 3, stride, groups)]
    if excite:
        layers.append(SqueezeExcite(inner, excite))
    layers.append(conv(inner, out, 1, act=None))
    return Residual(nn.Sequential(*layers), _projection(width, out, stride), nn.ReLU())


def stages(make, depths, widths, width, first=1):
    """Blocks of several widths; each stage but the first (whose stride is given) halves space."""
    layers = []
    for stage, (depth, out) in enumerate(zip(depths, widths, strict=True)):
        for place in range(depth):
            layers.append(make(width, out, 1 if place else 2 if stage else first))
            width = out
    return layers


def stem(width, norm=nn.BatchNorm2d):
    """A 7x7 convolution and pooling."""
    return [conv(3, width, 7, 2, norm=norm), nn.MaxPool2d(3, 2, 1)]


@family(groups=12)
def resnet18() -> Built:
    """ResNet-18: 4 streams (the stem writes into the first) and the insides of 8 blocks."""
    layers = stem(6) + stages(basic, (2, 2, 2, 2), (6, 7, 8, 9), 6)
    return Classifier(nn.Sequential(*layers), 9), image()


@family(groups=37)
def resnet50() -> Built:
    """ResNet-50: the stem, 4 streams, and two groups inside each of 16 bottlenecks."""
    make = lambda width, out, stride: bottleneck(width, out, stride, out // 2)  # noqa: E731
    layers = stem(5) + stages(make, (3, 4, 6, 3), (8, 10, 12, 14), 5)
    return Classifier(nn.Sequential(*layers), 14), image()


@family(groups=12)
def wide_resnet() -> Built:
    """Wide ResNet-16-2 (Zagoruyko and Komodakis 2016), pre-activation, with dropout.

    The stem, 3 streams, and the insides of 8 blocks.
    """

    class Block(nn.Module):
        def __init__(self, width, out, stride):
            super().__init__()
            self.norms = nn.ModuleList([nn.BatchNorm2d(width), nn.BatchNorm2d(out)])
            self.one = nn.Conv2d(width, out, 3, stride, 1, bias=False)
            self.two = nn.Conv2d(out, out, 3, 1, 1, bias=False)
            changed = width != out or stride != 1
            self.shortcut = nn.Conv2d(width, out, 1, stride, bias=False) if changed else None

        def forward(self, x):
            y = F.relu(self.norms[0](x))
            shortcut = x if self.shortcut is None else self.shortcut(y)
            y = F.dropout(F.relu(self.norms[1](self.one(y))), 0.3, self.training)
            return self.two(y) + shortcut

    layers = [nn.Conv2d(3, 5, 3, padding=1), *stages(Block, (2, 2, 4), (8, 9, 10), 5)]
    return Classifier(nn.Sequential(*layers, nn.BatchNorm2d(10), nn.ReLU()), 10), image(16)


@family(groups=9)
def zero_padded() -> Built:
    """Shortcuts that pad with zeros (option A of He et al. 2016), around the channels or behind.

    6 channels of stage 1, 4 that stage 2 adds around them, 5 that stage 3 adds behind, and the
    insides of 6 blocks.
    """

    def half(x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))

    def behind(x):
        return F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, 0, 5))

    def block(width, out, stride, shortcut=None):
        body = nn.Sequential(conv(width, out, 3, stride), conv(out, out, act=None))
        return Residual(body, shortcut and Lambda(shortcut), nn.ReLU())

    layers = [conv(3, 6), block(6, 6, 1), block(6, 6, 1), block(6, 10, 2, half)]
    layers += [block(10, 10, 1), block(10, 15, 2, behind), block(15, 15, 1)]
    return Classifier(nn.Sequential(*layers), 15), image(16)


@family(groups=2)
def concatenated_shortcut() -> Built:
    """Zeros joined on by `cat`, as in some ports of option A, and a max-pooled shortcut.

    The stem's 6 channels and the 6 joined on to them make the stream of 12: two groups. No block
    has an inside.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.one, self.two = conv(3, 6), conv(6, 12, 3, 2), conv(12, 12)
            self.head = nn.Linear(12, 4)

        def forward(self, x):
            x = self.stem(x)
            short = F.max_pool2d(x, 2)
            zeros = torch.zeros_like(short)
            x = self.one(x) + torch.cat((short, zeros), 1)
            x = self.two(x) + x
            more = torch.zeros(x.shape[0], 12, x.shape[2], x.shape[3]) + 0.5
            return self.head((x + more).mean((2, 3)))

    return Net(), image(8)


@family(groups=53)
def resnext50() -> Built:
    """ResNeXt-50 (Xie et al. 2017): a ResNet-50 whose inner convolutions have 4 groups of channels.

    The stem, 4 streams, and in each of 16 bottlenecks the groups as blocks and the numbering inside
    a block before and behind the grouped convolution: 1 + 4 + 3 * 16.
    """
    make = lambda width, out, stride: bottleneck(width, out, stride, 8, groups=4)  # noqa: E731
    layers = stem(5) + stages(make, (3, 4, 6, 3), (8, 10, 12, 14), 5)
    return Classifier(nn.Sequential(*layers), 14), image()


@family(groups=33)
def regnet_y() -> Built:
    """RegNetY (Radosavovic et al. 2020): grouped bottlenecks with squeeze-excite.

    The stem, 4 streams, and in each of 7 blocks the groups, the numbering inside one before and
    behind the grouped convolution, and the squeezed layer: 1 + 4 + 4 * 7.
    """
    make = lambda width, out, stride: bottleneck(width, out, stride, out, 2, excite=3)  # noqa: E731
    layers = [conv(3, 6, 3, 2), *stages(make, (1, 2, 3, 1), (8, 12, 16, 20), 6)]
    return Classifier(nn.Sequential(*layers), 20), image()


@family(groups=12)
def senet() -> Built:
    """SE-ResNet-26 bottlenecks: the stem, 2 streams, and 3 groups inside each of 3 blocks."""
    make = lambda width, out, stride: bottleneck(width, out, stride, 6, excite=3)  # noqa: E731
    layers = stem(5) + stages(make, (1, 2), (8, 10), 5)
    return Classifier(nn.Sequential(*layers), 10), image()


class RMSNorm2d(nn.Module):
    """Channels divided by their root mean square at every point."""

    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        scale = self.scale[None, :, None, None]
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6) * scale


def _normalised(norm) -> Built:
    make = lambda width, out, stride: basic(width, out, stride, norm)  # noqa: E731
    layers = stem(8, norm) + stages(make, (1, 1, 1), (8, 12, 16), 8)
    return Classifier(nn.Sequential(*layers), 16), image()


@family(groups=12)
def resnet_group_norm() -> Built:
    """A ResNet with group norm: 3 streams and 3 insides, each as blocks and their insides."""
    return _normalised(lambda width: nn.GroupNorm(4, width))


@family(groups=6)
def resnet_instance_norm() -> Built:
    """A ResNet with instance norm: 3 streams and the insides of 3 blocks."""
    return _normalised(lambda width: nn.InstanceNorm2d(width, affine=True))


@family(groups=6)
def resnet_rms_norm() -> Built:
    """A ResNet with RMS norm over the channels: 3 streams and the insides of 3 blocks."""
    return _normalised(RMSNorm2d)


@family(groups=2)
def shared_blocks() -> Built:
    """One block applied three times: the stream and the block's inside."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.one, self.two = conv(3, 6), conv(6, 8), conv(8, 6)
            self.head = nn.Linear(6, 4)

        def forward(self, x):
            x = self.stem(x)
            for _ in range(3):
                x = x + self.two(self.one(x))
            return self.head(x.mean((2, 3)))

    return Net(), image(8)


@family(groups=4)
def reversible() -> Built:
    """A reversible block of two half streams (Gomez et al. 2017) behind a split of channels.

    Each half of the stem is a group and each of the two functions has one inside.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = conv(3, 12)
            self.f = nn.Sequential(conv(6, 7), conv(7, 6))
            self.g = nn.Sequential(conv(6, 8), conv(8, 6))
            self.head = nn.Linear(12, 4)

        def forward(self, x):
            one, two = self.stem(x).chunk(2, dim=1)
            one = one + self.f(two)
            two = two + self.g(one)
            return self.head(torch.cat([one, two], 1).mean((2, 3)))

    return Net(), image(8)
