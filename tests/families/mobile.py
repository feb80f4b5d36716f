"""Networks of depthwise convolutions: MobileNet v1 to v3, EfficientNet, MNASNet, ShuffleNet."""

import torch
from torch import nn

from . import Built, family
from .parts import Classifier, SqueezeExcite, conv, image


@family(groups=14)
def mobilenet_v1() -> Built:
    """MobileNet (Howard et al. 2017): the stem and 13 pointwise layers; depthwise ones follow."""
    layers, width = [conv(3, 5, 3, 2)], 5
    for place in range(13):
        stride = 2 if place in (1, 3, 5, 11) else 1
        layers += [conv(width, width, 3, stride, width), conv(width, 6 + place % 4, 1)]
        width = 6 + place % 4
    return Classifier(nn.Sequential(*layers), width), image()


class Inverted(nn.Module):
    """An inverted residual: widen, depthwise, squeeze-excite, narrow."""

    def __init__(self, width, inner, out, stride=1, kernel=3, excite=0, act=nn.ReLU6, gate=None):
        super().__init__()
        layers = [] if inner == width else [conv(width, inner, 1, act=act)]
        layers.append(conv(inner, inner, kernel, stride, inner, act=act))
        if excite:
            layers.append(SqueezeExcite(inner, excite, gate or nn.Sigmoid, act))
        layers.append(conv(inner, out, 1, act=None))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and width == out

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def inverted_stages(stages, width, **more):
    """Inverted residuals by stages of (times wider inside, width, depth, stride)."""
    layers = []
    for times, out, depth, stride in stages:
        for place in range(depth):
            layers.append(Inverted(width, width * times, out, 1 if place else stride, **more))
            width = out
    return layers


@family(groups=25)
def mobilenet_v2() -> Built:
    """MobileNet v2 (Sandler et al. 2018): stem, 7 streams, 16 wide insides, the last layer."""
    stages = [(1, 3, 1, 1), (2, 4, 2, 2), (2, 5, 3, 2), (2, 6, 4, 2), (2, 7, 3, 1)]
    stages += [(2, 8, 3, 2), (2, 9, 1, 1)]
    layers = [conv(3, 5, 3, 2, act=nn.ReLU6), *inverted_stages(stages, 5)]
    return Classifier(nn.Sequential(*layers, conv(9, 12, 1, act=nn.ReLU6)), 12), image()


@family(groups=25)
def mnasnet() -> Built:
    """MNASNet (Tan et al. 2019): as MobileNet v2 with other kernels and a separable stem."""
    layers = [conv(3, 5, 3, 2), *inverted_stages([(1, 4, 1, 1)], 5, act=nn.ReLU)]
    layers += inverted_stages([(3, 5, 3, 2), (3, 6, 3, 2)], 4, kernel=5, act=nn.ReLU)
    layers += inverted_stages([(2, 7, 3, 2), (2, 8, 2, 1)], 6, act=nn.ReLU)
    layers += inverted_stages([(2, 9, 4, 2), (2, 10, 1, 1)], 8, act=nn.ReLU)
    return Classifier(nn.Sequential(*layers, conv(10, 12, 1)), 12), image()


@family(groups=30)
def mobilenet_v3_large() -> Built:
    """MobileNet v3 large (Howard et al. 2019).

    6 streams (the stem writes the first), 14 wide insides, 8 squeezed, the last convolution and
    the hidden layer of the head.
    """
    rows = [(1, 4, 0, 1, 3), (2, 5, 0, 2, 3), (3, 5, 0, 1, 3), (2, 6, 1, 2, 5), (3, 6, 1, 1, 5)]
    rows += [(3, 6, 1, 1, 5), (3, 7, 0, 2, 3), (2, 7, 0, 1, 3), (2, 7, 0, 1, 3), (2, 7, 0, 1, 3)]
    rows += [(2, 8, 1, 1, 3), (3, 8, 1, 1, 3), (3, 9, 1, 2, 5), (2, 9, 1, 1, 5), (2, 9, 1, 1, 5)]
    layers, width = [conv(3, 4, 3, 2, act=nn.Hardswish)], 4
    for place, (times, out, excite, stride, kernel) in enumerate(rows):
        act = nn.ReLU if place < 6 else nn.Hardswish
        gate = nn.Hardsigmoid
        layers.append(Inverted(width, width * times, out, stride, kernel, 3 * excite, act, gate))
        width = out
    layers += [conv(width, 12, 1, act=nn.Hardswish), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers += [nn.Linear(12, 10), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(10, 5)]
    return nn.Sequential(*layers), image()


@family(groups=40)
def efficientnet_b0() -> Built:
    """EfficientNet-B0 (Tan and Le 2019).

    The stem, 7 streams, 15 wide insides (the first block works on the stem), 16 squeezed, the last.
    """
    rows = [(1, 4, 1, 1, 3), (2, 5, 2, 2, 3), (2, 6, 2, 2, 5), (2, 7, 3, 2, 3), (2, 8, 3, 1, 5)]
    rows += [(2, 9, 4, 2, 5), (2, 10, 1, 1, 3)]
    layers, width = [conv(3, 5, 3, 2, act=nn.SiLU)], 5
    for times, out, depth, stride, kernel in rows:
        more = {"kernel": kernel, "excite": 2, "act": nn.SiLU}
        layers += inverted_stages([(times, out, depth, stride)], width, **more)
        width = out
    return Classifier(nn.Sequential(*layers, conv(10, 12, 1, act=nn.SiLU)), 12), image()


class Fused(nn.Module):
    """An inverted residual whose widening convolution sees space; without one, a plain layer."""

    def __init__(self, width, inner, out, stride):
        super().__init__()
        layers = [conv(width, inner, 3, stride, act=nn.SiLU)]
        if inner != width:
            layers.append(conv(inner, out, 1, act=None))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and width == out

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


@family(groups=13)
def efficientnet_v2() -> Built:
    """EfficientNet v2's fused blocks (Tan and Le 2021) before the usual ones.

    4 streams (the stem writes the first), the insides of 4 fused blocks, two inverted ones with an
    inside and a squeezed layer each, and the last convolution: 4 + 4 + 4 + 1.
    """

    layers = [conv(3, 4, 3, 2, act=nn.SiLU), Fused(4, 6, 4, 1), Fused(4, 8, 5, 2)]
    layers += [Fused(5, 10, 5, 1), Fused(5, 10, 6, 2)]
    layers += inverted_stages([(2, 8, 2, 2)], 6, excite=2, act=nn.SiLU)
    return Classifier(nn.Sequential(*layers, conv(8, 12, 1, act=nn.SiLU)), 12), image()


def _shuffled(x, groups):
    batch, width, *space = x.shape
    return x.view(batch, groups, width // groups, *space).transpose(1, 2).flatten(1, 2)


class ShuffleUnit(nn.Module):
    """Half of the channels pass by; concatenated and shuffled (Ma et al. 2018)."""

    def __init__(self, width, out, stride):
        super().__init__()
        half, self.stride = out // 2, stride
        start = width if stride > 1 else half
        self.left = nn.Sequential(
            conv(width, width, 3, stride, width, act=None), conv(width, half, 1)
        )
        if stride == 1:
            self.left = nn.Identity()
        self.right = nn.Sequential(
            conv(start, half, 1), conv(half, half, 3, stride, half, act=None), conv(half, half, 1)
        )

    def forward(self, x):
        left, right = (x, x) if self.stride > 1 else x.chunk(2, dim=1)
        return _shuffled(torch.cat((self.left(left), self.right(right)), 1), 2)


@family(groups=65)
def shufflenet_v2() -> Built:
    """ShuffleNet v2 (Ma et al. 2018): 4, 8 and 4 units with channel split and shuffle.

    The stem, the last layer, and the first convolution of every unit's right half: 1 + 1 + 16. What
    is written into a stage is dealt out by its shuffles: channels that take the same way through
    all later splits are one group, and a channel with a way of its own is fixed. At these widths
    (halves of 8, 12 and 16) that makes 47 more groups, counted by the solver.
    """
    layers, width = [conv(3, 6, 3, 2)], 6
    for depth, out in ((4, 16), (8, 24), (4, 32)):
        layers += [ShuffleUnit(width, out, 2)]
        layers += [ShuffleUnit(out, out, 1) for _ in range(depth - 1)]
        width = out
    return Classifier(nn.Sequential(*layers, conv(32, 12, 1)), 12), image()


@family(
    groups=2, share=0.3, why="its shuffled blocks lie within products of blocks, which are fixed"
)
def shufflenet_v1() -> Built:
    """ShuffleNet (Zhang et al. 2018): grouped pointwise convolutions with a shuffle between.

    The blocks of a shuffled axis are pairs of a group and a place in it.
    """

    class Unit(nn.Module):
        def __init__(self, width, inner, groups):
            super().__init__()
            self.groups = groups
            self.one, self.two = (
                conv(width, inner, 1, groups=groups),
                conv(inner, inner, groups=inner),
            )
            self.three = conv(inner, width, 1, groups=groups, act=None)

        def forward(self, x):
            return torch.relu(x + self.three(self.two(_shuffled(self.one(x), self.groups))))

    layers = [conv(3, 18, 3, 2), Unit(18, 18, 3), Unit(18, 18, 3), nn.ChannelShuffle(3)]
    return Classifier(nn.Sequential(*layers, conv(18, 8, 1)), 8), image(16)


@family(groups=5)
def ghostnet() -> Built:
    """GhostNet (Han et al. 2020): cheap depthwise copies joined to the features they came from.

    The stem; the first module's primary channels, whose ghosts follow them; the second module's
    in two groups, as only 3 of its 6 ghosts are kept; the last layer.
    """

    class Ghost(nn.Module):
        def __init__(self, width, inner, out):
            super().__init__()
            self.primary, self.cheap = conv(width, inner, 1), conv(inner, inner, 3, groups=inner)
            self.out = out

        def forward(self, x):
            x = self.primary(x)
            return torch.cat([x, self.cheap(x)], dim=1)[:, : self.out]

    layers = [conv(3, 6), Ghost(6, 5, 10), Ghost(10, 6, 9), conv(9, 7, 1)]
    return Classifier(nn.Sequential(*layers), 7), image(8)


@family(groups=4)
def multiplied_depthwise() -> Built:
    """Depthwise convolution with 3 results a channel, which are numbered within their channel.

    The stem as blocks, the results within, the pointwise layer behind, and a transposed depthwise
    one that follows it; the last before the head makes the fourth.
    """
    layers = [conv(3, 5), conv(5, 15, 3, groups=5), conv(15, 6, 1)]
    layers += [nn.ConvTranspose2d(6, 6, 2, 2, groups=6), conv(6, 7, 1)]
    return Classifier(nn.Sequential(*layers), 7), image(8)
