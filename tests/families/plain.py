"""Networks without branches: perceptrons, AlexNet, VGG, and small ones of odd layers."""

import torch
import torch.nn.functional as F
from torch import nn

from . import Built, family
from .parts import Classifier, Lambda, conv, image


@family(groups=2)
def perceptron() -> Built:
    """Two hidden layers, a group each."""
    layers = [nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 4)]
    return nn.Sequential(*layers), torch.randn(3, 6)


def alexnet_of(widths, hidden, classes) -> nn.Module:
    """Five convolutions and two hidden linear layers."""
    one, two, three, four, five = widths
    return nn.Sequential(
        *(nn.Conv2d(3, one, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(one, two, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(two, three, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(three, four, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(four, five, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Dropout()),
        *(nn.Linear(five * 36, hidden[0]), nn.ReLU(inplace=True), nn.Dropout()),
        *(nn.Linear(*hidden), nn.ReLU(inplace=True), nn.Linear(hidden[1], classes)),
    )


@family(groups=7)
def alexnet() -> Built:
    """AlexNet (Krizhevsky 2014): 5 convolutions and 2 hidden linear layers; 6 x 6 flattened."""
    return alexnet_of((6, 8, 10, 8, 7), (12, 9), 5), image(96)


def vgg_of(plan, normalised, hidden, classes) -> nn.Module:
    """Convolutions of the widths in `plan`, halved at each "M", and two hidden linear layers."""
    layers, width = [], 3
    for out in plan:
        if out == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(width, out, 3, padding=1))
        layers += [nn.BatchNorm2d(out), nn.ReLU()] if normalised else [nn.ReLU()]
        width = out
    layers += [nn.AdaptiveAvgPool2d(7), nn.Flatten()]
    layers += [nn.Linear(49 * width, hidden[0]), nn.ReLU(), nn.Dropout()]
    layers += [nn.Linear(*hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden[1], classes)]
    return nn.Sequential(*layers)


def _vgg(plan: str, normalised: bool) -> nn.Module:
    widths = [letter if letter == "M" else 4 + place for place, letter in enumerate(plan)]
    return vgg_of(widths, normalised, (12, 10), 5)


@family(groups=15)
def vgg16() -> Built:
    """VGG-16 (Simonyan and Zisserman 2015): 13 convolutions and 2 hidden linear layers."""
    return _vgg("33M33M333M333M333M", normalised=False), image()


@family(groups=10)
def vgg11_bn() -> Built:
    """VGG-11 with batch norm: 8 convolutions and 2 hidden linear layers."""
    return _vgg("3M3M33M33M33M", normalised=True), image()


@family(groups=3)
def lenet() -> Built:
    """LeNet-5 with a `view` of known sizes; convolutions 1 and 2 and one hidden layer."""

    class LeNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 4, 5), nn.Conv2d(4, 6, 5)
            self.three, self.four = nn.Linear(6 * 16, 10), nn.Linear(10, 5)

        def forward(self, x):
            x = F.max_pool2d(torch.tanh(self.one(x)), 2)
            x = F.avg_pool2d(torch.sigmoid(self.two(x)), 2)
            return F.log_softmax(self.four(F.relu(self.three(x.view(x.size(0), -1)))), dim=1)

    return LeNet(), image(28, channels=1)


@family(groups=2)
def conv3d() -> Built:
    """Video: 3-d convolutions, normalised and pooled (C3D, Tran et al. 2015)."""
    layers = [nn.Conv3d(2, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(), nn.MaxPool3d(2)]
    layers += [nn.Conv3d(6, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 3)]
    return nn.Sequential(*layers), torch.randn(2, 2, 4, 8, 8)


@family(groups=7)
def activations() -> Built:
    """Every layer with another nonlinearity, one of them with a slope for each channel."""
    acts = [nn.PReLU(6), nn.PReLU(), nn.Mish(), nn.ELU(), nn.Hardtanh(), nn.Softplus(), nn.CELU()]
    layers = []
    for act in acts:
        layers += [nn.Linear(6, 6), act]
    return nn.Sequential(*layers, nn.Linear(6, 3)), torch.randn(2, 6)


POOLINGS = {
    "adaptive": lambda x: torch.flatten(F.adaptive_avg_pool2d(x, 1), 1),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1),
    "mean of two": lambda x: x.mean((2, 3)),
    "mean kept": lambda x: x.mean([-1, -2], keepdim=True).flatten(1),
    "means in turn": lambda x: x.mean(3).mean(2),
    "whole kernel": lambda x: F.avg_pool2d(x, x.shape[-2:])[:, :, 0, 0],
    "amax": lambda x: x.amax(dim=(2, 3)),
    "flattened": lambda x: x.flatten(2).mean(-1),
    "viewed": lambda x: x.view(x.shape[0], x.shape[1], -1).max(dim=2).values,
    "sums": lambda x: x.sum((2, 3)) / (x.shape[2] * x.shape[3]),
    "moments": lambda x: torch.cat([x.mean((2, 3)), x.std((2, 3)), x.var((2, 3))], 1)[:, :6],
    "generalised": lambda x: F.avg_pool2d(x.clamp(1e-6).pow(3), 4).pow(1 / 3).flatten(1),
    "logsumexp": lambda x: x.flatten(2).logsumexp(-1),
    "einsum": lambda x: torch.einsum("bchw->bc", x),
    "reshape and norm": lambda x: F.normalize(x.reshape(x.shape[0], 6, -1).norm(dim=-1), dim=1),
}


class _Pools(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 6, 3, padding=1) for _ in POOLINGS)
        self.heads = nn.ModuleList(nn.Linear(6, 2) for _ in POOLINGS)

    def forward(self, x):
        pairs = zip(self.convs, POOLINGS.values(), self.heads, strict=True)
        return torch.stack([head(pool(conv(x))) for conv, pool, head in pairs])


@family(groups=len(POOLINGS))
def poolings() -> Built:
    """Global pooling in all spellings, each behind a convolution of its own (one group each)."""
    return _Pools(), image(4)


EXCITATIONS = {
    "view": lambda x, s: x * s.view(s.shape[0], s.shape[1], 1, 1),
    "none": lambda x, s: x * s[:, :, None, None],
    "expand_as": lambda x, s: x * s.unsqueeze(-1).unsqueeze(-1).expand_as(x),
    "einsum": lambda x, s: torch.einsum("bchw,bc->bchw", x, s),
    "in place": lambda x, s: x.clone().mul_(s.reshape(s.shape[0], -1, 1, 1)),
    "transposed": lambda x, s: (x.permute(2, 3, 0, 1) * s).permute(2, 3, 0, 1),
}


class _Excites(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 6, 3) for _ in EXCITATIONS)
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 6), nn.Sigmoid())
            for _ in EXCITATIONS
        )
        self.heads = nn.ModuleList(nn.Linear(6, 2) for _ in EXCITATIONS)

    def forward(self, x):
        results = []
        for conv_, gate, head, way in zip(
            self.convs, self.gates, self.heads, EXCITATIONS.values(), strict=True
        ):
            y = conv_(x)
            results.append(head(way(y, gate(y.mean((2, 3)))).mean((2, 3))))
        return sum(results)


@family(groups=2 * len(EXCITATIONS))
def excitations() -> Built:
    """Squeeze-excite in all spellings: a group for the channels and one for the squeezed."""
    return _Excites(), image(6)


@family(groups=3)
def all_convolutional() -> Built:
    """Strided convolutions only; the last makes the classes (Springenberg et al. 2015)."""
    body = [conv(3, 6), conv(6, 7, stride=2), conv(7, 8, stride=2), nn.Conv2d(8, 5, 1)]
    return nn.Sequential(*body, Lambda(lambda x: x.mean((2, 3)))), image(16)


@family(groups=4)
def depth_norms() -> Built:
    """Local response norm, group norm in 2 groups (blocks and inside), instance norm.

    One group each for the first and third convolution, two for the second.
    """
    body = nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.ReLU()),
        *(nn.Conv2d(6, 8, 3), nn.GroupNorm(2, 8), nn.ReLU()),
        *(nn.Conv2d(8, 6, 3), nn.GroupNorm(1, 6), nn.ReLU()),
    )
    return Classifier(body, 6), image(12)
