"""Layers that several families are made of."""

import torch
from torch import Tensor, nn


def conv(inputs, outputs, kernel=3, stride=1, groups=1, act=nn.ReLU, norm=nn.BatchNorm2d):
    """Convolution, normalisation, nonlinearity."""
    padding = kernel // 2 if isinstance(kernel, int) else tuple(size // 2 for size in kernel)
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=norm is None)]
    if norm is not None:
        layers.append(norm(outputs))
    if act is not None:
        layers.append(act())
    return nn.Sequential(*layers)


def image(size=32, batch=2, channels=3):
    """A batch of random images."""
    return torch.randn(batch, channels, size, size)


def words(length=7, vocabulary=11, batch=2):
    """A batch of random token numbers."""
    return torch.randint(0, vocabulary, (batch, length))


class Lambda(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class Residual(nn.Module):
    """The input plus what the body makes of it (behind a shortcut, if there is one)."""

    def __init__(self, body, shortcut=None, after=None):
        super().__init__()
        self.body = body
        self.shortcut = shortcut or nn.Identity()
        self.after = after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.shortcut(x) + self.body(x))


class SqueezeExcite(nn.Module):
    """Channels weighted by a small network of their averages (Hu et al. 2018)."""

    def __init__(self, width, squeezed, gate=nn.Sigmoid, act=nn.ReLU):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(width, squeezed, 1)
        self.act = act()
        self.widen = nn.Conv2d(squeezed, width, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.widen(self.act(self.reduce(self.pool(x)))))


class Classifier(nn.Module):
    """Global average pooling and a linear layer behind a convolutional body."""

    def __init__(self, body, width, classes=5):
        super().__init__()
        self.body = body
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.pool(self.body(x)), 1))
