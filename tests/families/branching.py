"""Networks of parallel branches: SqueezeNet, GoogLeNet, Inception v3."""

import torch
import torch.nn.functional as F
from torch import nn

from . import Built, family
from .parts import Classifier, conv, image


class Branches(nn.Module):
    """Several paths from one input, concatenated."""

    def __init__(self, *paths):
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def forward(self, x):
        return torch.cat([path(x) for path in self.paths], dim=1)


class Fire(nn.Module):
    """A narrow layer and two wide ones side by side."""

    def __init__(self, width, squeezed, wide):
        super().__init__()
        self.squeeze = conv(width, squeezed, 1, norm=None)
        self.expand = Branches(
            conv(squeezed, wide, 1, norm=None), conv(squeezed, wide, 3, norm=None)
        )

    def forward(self, x):
        return self.expand(self.squeeze(x))


@family(groups=25)
def squeezenet() -> Built:
    """SqueezeNet (Iandola et al. 2016): the stem and three groups in each of 8 fire modules."""
    layers, width = [conv(3, 6, 7, 2, norm=None), nn.MaxPool2d(3, 2, 1)], 6
    for place in range(8):
        layers.append(Fire(width, 3 + place % 3, 4 + place % 2))
        width = 2 * (4 + place % 2)
    layers += [nn.Dropout(), nn.Conv2d(width, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten()), image()


def _inception(width, growth):
    return Branches(
        conv(width, growth, 1),
        nn.Sequential(conv(width, 3, 1), conv(3, growth + 1)),
        nn.Sequential(conv(width, 2, 1), conv(2, growth, 5)),
        nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(width, growth, 1)),
    )


@family(groups=9)
def googlenet() -> Built:
    """GoogLeNet's stem and one module with an auxiliary head that only training uses.

    The stem is a group; the module has 4 branches and 2 reductions; the auxiliary head a
    convolution and a hidden layer: 1 + 6 + 2.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.module = conv(3, 6, 3, 2), _inception(6, 4)
            self.side, self.hidden = conv(17, 3, 1), nn.Linear(3 * 16, 6)
            self.side_head, self.head = nn.Linear(6, 5), nn.Linear(17, 5)

        def forward(self, x):
            x = self.module(self.stem(x))
            result = self.head(x.mean((2, 3)))
            if self.training:
                side = self.side(F.adaptive_avg_pool2d(x, 4)).flatten(1)
                return result, self.side_head(F.relu(self.hidden(side)))
            return result

    return Net(), image(16)


@family(groups=24)
def inception_v3() -> Built:
    """Inception v3's five kinds of module (Szegedy et al. 2016), one of each.

    Groups: the stem 1; A 4 branches + 3 inside; B 2 + 2, its pooled branch passing A's on;
    C 1 + 3 + 3 with a pooled one; D is left out; E with split ends: 1 + (1 + 2) + 1.
    """

    def tall(width, out):
        return nn.Sequential(nn.Conv2d(width, out, (7, 1), padding=(3, 0)), nn.ReLU())

    def flat(width, out):
        return nn.Sequential(nn.Conv2d(width, out, (1, 7), padding=(0, 3)), nn.ReLU())

    a = Branches(
        conv(6, 3, 1),
        nn.Sequential(conv(6, 2, 1), conv(2, 3, 5)),
        nn.Sequential(conv(6, 3, 1), conv(3, 4), conv(4, 4)),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(6, 2, 1)),
    )
    b = Branches(
        conv(12, 4, 3, 2),
        nn.Sequential(conv(12, 3, 1), conv(3, 4), conv(4, 4, 3, 2)),
        nn.MaxPool2d(3, 2, 1),
    )
    c = Branches(
        conv(20, 4, 1),
        nn.Sequential(conv(20, 3, 1), flat(3, 2), tall(2, 4)),
        nn.Sequential(conv(20, 3, 1), tall(3, 2), flat(2, 3), nn.AvgPool2d(3, 1, 1)),
    )
    e = Branches(
        conv(11, 3, 1),
        nn.Sequential(conv(11, 4, 1), Branches(flat(4, 3), tall(4, 3))),
        nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(11, 3, 1)),
    )
    return Classifier(nn.Sequential(conv(3, 6, 3, 2), a, b, c, e), 12), image(16)


@family(groups=8)
def atrous_pyramid() -> Built:
    """Dilated branches and an image-level one (DeepLab v3, Chen et al. 2017), upsampled.

    The stem, 4 branches, the joined features, and two groups of a decoder with a skip.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = conv(3, 6, 3, 2)
            self.paths = nn.ModuleList(
                [conv(6, 4, 1), *(nn.Conv2d(6, 4, 3, 1, rate, rate) for rate in (2, 3))]
            )
            self.level, self.join = conv(6, 4, 1), conv(16, 8, 1)
            self.skip, self.out, self.last = conv(6, 3, 1), conv(11, 6), nn.Conv2d(6, 4, 1)

        def forward(self, x):
            size = x.shape[-2:]
            x = self.stem(x)
            level = self.level(x.mean((2, 3), keepdim=True))
            level = F.interpolate(level, size=x.shape[-2:], mode="bilinear", align_corners=False)
            joined = self.join(torch.cat([*(path(x) for path in self.paths), level], 1))
            joined = torch.cat([joined, self.skip(x)], 1)
            return F.interpolate(self.last(self.out(joined)), size=size, mode="nearest")

    return Net(), image(16)


def _pooled(width, out):
    return nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(width, out, 1))


def _split_ends(width):
    return Branches(conv(width, 384, (1, 3)), conv(width, 384, (3, 1)))


def _line(width, *steps):
    """Convolutions in turn, each given as (width, kernel) or (width, kernel, stride)."""
    layers = []
    for out, *shape in steps:
        layers.append(conv(width, out, *shape))
        width = out
    return nn.Sequential(*layers)


class InceptionV3(nn.Module):
    """All of Inception v3 at full width, with the auxiliary head that only training uses."""

    def __init__(self, classes):
        super().__init__()
        stem = [conv(3, 32, 3, 2), conv(32, 32), conv(32, 64), nn.MaxPool2d(3, 2, 1)]
        stem += [conv(64, 80, 1), conv(80, 192), nn.MaxPool2d(3, 2, 1)]
        self.body = nn.Sequential(
            *stem,
            *(self.fine(width, out) for width, out in ((192, 32), (256, 64), (288, 64))),
            Branches(
                conv(288, 384, 3, 2),
                _line(288, (64, 1), (96, 3), (96, 3, 2)),
                nn.MaxPool2d(3, 2, 1),
            ),
            *(self.factored(width) for width in (128, 160, 160, 192)),
        )
        self.rest = nn.Sequential(
            Branches(
                _line(768, (192, 1), (320, 3, 2)),
                _line(768, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)),
                nn.MaxPool2d(3, 2, 1),
            ),
            *(self.split(width) for width in (1280, 2048)),
        )
        self.side = nn.Sequential(conv(768, 128, 1), conv(128, 768, 5))
        self.side_head, self.head = nn.Linear(768, classes), nn.Linear(2048, classes)

    def fine(self, width, pooled):
        return Branches(
            conv(width, 64, 1),
            _line(width, (48, 1), (64, 5)),
            _line(width, (64, 1), (96, 3), (96, 3)),
            _pooled(width, pooled),
        )

    def factored(self, inner):
        flat, tall = (1, 7), (7, 1)
        twice = ((inner, 1), (inner, tall), (inner, flat), (inner, tall), (192, flat))
        return Branches(
            conv(768, 192, 1),
            _line(768, (inner, 1), (inner, flat), (192, tall)),
            _line(768, *twice),
            _pooled(768, 192),
        )

    def split(self, width):
        return Branches(
            conv(width, 320, 1),
            nn.Sequential(conv(width, 384, 1), _split_ends(384)),
            nn.Sequential(conv(width, 448, 1), conv(448, 384), _split_ends(384)),
            _pooled(width, 192),
        )

    def forward(self, x):
        x = self.body(x)
        result = self.head(self.rest(x).mean((2, 3)))
        if self.training:
            return result, self.side_head(self.side(x).mean((2, 3)))
        return result
