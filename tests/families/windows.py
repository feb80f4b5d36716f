"""Attention in windows: Swin, MaxViT, a pyramid with reduced keys, CoAtNet-like relative bias."""

import torch
import torch.nn.functional as F
from torch import nn

from . import Built, family
from .mobile import Inverted
from .parts import SqueezeExcite, conv, image
from .vision import Mlp


def _relative(size):
    """For each pair of places in a window the row of its bias table."""
    places = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij"))
    offset = places.flatten(1)[:, :, None] - places.flatten(1)[:, None, :] + size - 1
    return offset[0] * (2 * size - 1) + offset[1]


class Windowed(nn.Module):
    """Attention inside windows with a table of relative position biases."""

    def __init__(self, width, heads, size):
        super().__init__()
        self.heads, self.size = heads, size
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.make_bias(heads, size)

    def make_bias(self, heads, size):
        self.table = nn.Parameter(torch.randn((2 * size - 1) ** 2, heads))
        self.register_buffer("index", _relative(size))

    def bias(self, length):
        bias = self.table[self.index.view(-1)].view(length, length, -1).permute(2, 0, 1)
        return bias.contiguous()

    def scores(self, q, k):
        return (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)

    def forward(self, x, mask=None):
        count, length, width = x.shape
        qkv = self.qkv(x).reshape(count, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = self.scores(q, k) + self.bias(length).unsqueeze(0)
        if mask is not None:
            windows = mask.shape[0]
            scores = scores.view(count // windows, windows, self.heads, length, length)
            scores = (scores + mask.unsqueeze(1).unsqueeze(0)).view(-1, self.heads, length, length)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(count, length, width)
        return self.out(y)


class CosineWindowed(Windowed):
    """Swin v2's: cosines with a scale for each head, and biases that a small MLP makes."""

    hidden = 512

    def make_bias(self, heads, size):
        self.scale = nn.Parameter(torch.rand(heads, 1, 1))
        widen = nn.Linear(2, self.hidden)
        self.mlp = nn.Sequential(widen, nn.ReLU(), nn.Linear(self.hidden, heads, bias=False))
        self.register_buffer("offsets", torch.randn((2 * size - 1) ** 2, 2))
        self.register_buffer("index", _relative(size))

    def bias(self, length):
        table = self.mlp(self.offsets)[self.index.view(-1)].view(length, length, -1)
        return 16 * torch.sigmoid(table.permute(2, 0, 1).contiguous())

    def scores(self, q, k):
        cosines = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        return cosines * self.scale.clamp(max=4.6).exp()


def _to_windows(x, size):
    batch, tall, wide, width = x.shape
    x = x.view(batch, tall // size, size, wide // size, size, width)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size * size, width)


def _from_windows(x, size, tall, wide):
    batch = x.shape[0] // (tall * wide // size**2)
    x = x.view(batch, tall // size, wide // size, size, size, -1)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, tall, wide, -1)


class SwinLayer(nn.Module):
    """Attention in windows, shifted or not, and an MLP; norms stand before them or behind."""

    def __init__(self, width, heads, side, shift, inner, window=2, kind=Windowed):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attend, self.mlp = kind(width, heads, window), Mlp(width, inner)
        self.shift, self.window, self.after = shift, window, kind is CosineWindowed
        mask = None
        if shift:
            place = torch.arange(side)
            region = (place >= side - window).long() + (place >= side - shift).long()
            region = (region[:, None] * 3 + region[None, :]).view(1, side, side, 1)
            region = _to_windows(region, window).squeeze(-1)
            mask = (region[:, None] != region[:, :, None]) * -100.0
        self.register_buffer("mask", mask, persistent=False)

    def attended(self, y):
        tall, wide = y.shape[1:3]
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), dims=(1, 2))
        y = self.attend(_to_windows(y, self.window), self.mask)
        y = _from_windows(y, self.window, tall, wide)
        return torch.roll(y, (self.shift, self.shift), dims=(1, 2)) if self.shift else y

    def forward(self, x):
        if self.after:
            x = x + self.norms[0](self.attended(x))
            return x + self.norms[1](self.mlp(x))
        x = x + self.attended(self.norms[0](x))
        return x + self.mlp(self.norms[1](x))


class Merge(nn.Module):
    """Four neighbouring patches into one of twice the width; the norm before that or behind."""

    def __init__(self, width, out, after=False):
        super().__init__()
        self.norm, self.after = nn.LayerNorm(out if after else 4 * width), after
        self.reduce = nn.Linear(4 * width, out, bias=False)

    def forward(self, x):
        parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        x = torch.cat(parts, -1)
        return self.norm(self.reduce(x)) if self.after else self.reduce(self.norm(x))


class Swin(nn.Module):
    """Patches, stages of layers with windows and every other one shifted, merging between."""

    def __init__(self, depths, widths, heads, side, window, inner, classes, kind=Windowed):
        super().__init__()
        self.patches, self.first = nn.Conv2d(3, widths[0], 4, 4), nn.LayerNorm(widths[0])
        layers = []
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            if stage:
                layers.append(Merge(widths[stage - 1], width, kind is CosineWindowed))
            for place in range(depth):
                shift = window // 2 if place % 2 and side > window else 0
                more = (side, shift, inner[stage], window, kind)
                layers.append(SwinLayer(width, heads[stage], *more))
            side //= 2
        self.layers, self.norm = nn.Sequential(*layers), nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.first(self.patches(x).permute(0, 2, 3, 1))
        x = self.norm(self.layers(x))
        return self.head(x.permute(0, 3, 1, 2).mean((2, 3)))


@family(groups=18)
def swin() -> Built:
    """Swin (Liu et al. 2021): 2 stages of 2 layers with windows, shifts and patch merging.

    2 streams, and in each of 4 layers heads, query-key, value and MLP numbering.
    """
    return Swin((2, 2), (8, 12), (2, 3), side=8, window=2, inner=(9, 11), classes=4), image()


@family(groups=8)
def swin_v2() -> Built:
    """Swin v2 (Liu et al. 2022): cosine attention, a scale for each head, biases from a small MLP.

    The stream, heads, query-key, value, MLP, the MLP of the biases, and two layers behind.
    """

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 8)
            self.out, self.scale = nn.Linear(8, 8), nn.Parameter(torch.rand(2, 1, 1))
            self.bias = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 2, bias=False))
            self.norms = nn.ModuleList([nn.LayerNorm(8), nn.LayerNorm(8)])
            self.mlp = Mlp(8, 9)
            self.register_buffer("offsets", torch.randn(4, 4, 2), persistent=False)

        def forward(self, x):
            windows = _to_windows(x, 2)
            q, k, v = (
                layer(windows).unflatten(-1, (2, 4)).transpose(1, 2)
                for layer in (self.q, self.k, self.v)
            )
            scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT
            scores = scores * self.scale.clamp(max=4.6).exp()
            bias = 16 * torch.sigmoid(self.bias(self.offsets).permute(2, 0, 1))
            y = ((scores + bias).softmax(-1) @ v).transpose(1, 2).flatten(2)
            x = x + self.norms[0](_from_windows(self.out(y), 2, x.shape[1], x.shape[2]))
            return x + self.norms[1](self.mlp(x))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.layer, self.last = nn.Conv2d(3, 8, 4, 4), Layer(), Mlp(8, 7)
            self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

        def forward(self, x):
            x = self.layer(self.patches(x).permute(0, 2, 3, 1))
            return self.head(self.last(self.norm(x).mean((1, 2))))

    return Net(), image(16)


class Partition(nn.Module):
    """Attention among neighbours (block) or among places far apart (grid)."""

    def __init__(self, width, heads, size, grid, inner):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attend, self.mlp = Windowed(width, heads, size), Mlp(width, inner)
        self.size, self.grid = size, grid

    def forward(self, x):
        batch, width, tall, wide = x.shape
        n, rows, columns = self.size, tall // self.size, wide // self.size
        shape = (n, rows, n, columns) if self.grid else (rows, n, columns, n)
        order = (0, 3, 5, 2, 4, 1) if self.grid else (0, 2, 4, 3, 5, 1)
        y = x.reshape(batch, width, *shape).permute(order).reshape(-1, n * n, width)
        y = y + self.attend(self.norms[0](y))
        y = y + self.mlp(self.norms[1](y))
        y = y.reshape(batch, rows, columns, n, n, width)
        back = (0, 5, 3, 1, 4, 2) if self.grid else (0, 5, 1, 3, 2, 4)
        return y.permute(back).reshape(batch, width, tall, wide)


class _PreNormInverted(nn.Module):
    """MaxViT's inverted residual: a norm first, none behind; a pooled shortcut where it strides."""

    def __init__(self, width, out, stride):
        super().__init__()
        inner = 4 * out
        self.body = nn.Sequential(
            nn.BatchNorm2d(width),
            conv(width, inner, 1, act=nn.GELU),
            conv(inner, inner, 3, stride, inner, act=nn.GELU),
            SqueezeExcite(inner, out // 4, act=nn.SiLU),
            nn.Conv2d(inner, out, 1),
        )
        self.shortcut = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.Conv2d(width, out, 1))

    def forward(self, x):
        return self.shortcut(x) + self.body(x)


class MaxVit(nn.Module):
    """MaxViT whole: heads of 32, windows of 7."""

    def __init__(self, widths, depths, classes):
        super().__init__()
        width = widths[0]
        layers = [conv(3, width, 3, 2, act=nn.GELU), nn.Conv2d(width, width, 3, padding=1)]
        for out, depth in zip(widths, depths, strict=True):
            for place in range(depth):
                layers.append(_PreNormInverted(width, out, 1 if place else 2))
                width = out
                layers += [Partition(out, out // 32, 7, grid, 4 * out) for grid in (False, True)]
        self.body, self.pool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(
            *(nn.LayerNorm(width), nn.Linear(width, width), nn.Tanh()),
            nn.Linear(width, classes, bias=False),
        )

    def forward(self, x):
        return self.head(self.pool(self.body(x)).flatten(1))


@family(groups=12)
def maxvit() -> Built:
    """MaxViT (Tu et al. 2022): an inverted residual, then attention in blocks and in a grid.

    Stem and stream 2, the inverted residual's inside and its squeeze 2, twice heads, query-key,
    value and MLP 8.
    """
    layers = [conv(3, 6, 3, 2), Inverted(6, 12, 8, excite=3)]
    layers += [
        Partition(8, 2, 2, False, 9),
        Partition(8, 2, 2, True, 9),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    ]
    return nn.Sequential(*layers), image(16)


@family(groups=10)
def pyramid() -> Built:
    """PVT's attention with reduced keys and values (Wang et al. 2021), SegFormer's mixed MLP.

    Stream; twice heads, query-key, value, MLP; the reducing convolution's channels of the first.
    """

    class Layer(nn.Module):
        def __init__(self, reduced):
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(8), nn.LayerNorm(8)])
            self.q, self.kv, self.out = nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(8, 8)
            self.reduce = nn.Conv2d(8, 8, 2, 2) if reduced else None
            self.up, self.down = nn.Linear(8, 9), nn.Linear(9, 8)
            self.spread = nn.Conv2d(9, 9, 3, padding=1, groups=9)

        def forward(self, x):
            batch, length, width = x.shape
            y = self.norms[0](x)
            q = self.q(y).reshape(batch, length, 2, 4).permute(0, 2, 1, 3)
            if self.reduce is not None:
                y = self.reduce(y.permute(0, 2, 1).reshape(batch, width, 4, 4))
                y = y.reshape(batch, width, -1).permute(0, 2, 1)
            k, v = self.kv(y).reshape(batch, -1, 2, 2, 4).permute(2, 0, 3, 1, 4)
            y = ((q @ k.transpose(-2, -1)) / 2).softmax(-1) @ v
            x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
            y = self.up(self.norms[1](x)).transpose(1, 2).view(batch, 9, 4, 4)
            return x + self.down(F.gelu(self.spread(y)).flatten(2).transpose(1, 2))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.layers = (
                nn.Conv2d(3, 8, 7, 4, 3),
                nn.Sequential(Layer(True), Layer(False)),
            )
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.layers(self.patches(x).flatten(2).transpose(1, 2)).mean(1))

    return Net(), image(16)
