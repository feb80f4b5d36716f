"""Attention in windows: Swin, MaxViT, a pyramid with reduced keys, CoAtNet-like relative bias."""

import torch
import torch.nn.functional as F
from torch import nn

from . import Built, family
from .mobile import Inverted
from .parts import conv, image
from .vision import Mlp


def _relative(size):
    """For each pair of places in a window the row of its bias table."""
    places = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij"))
    offset = places.flatten(1)[:, :, None] - places.flatten(1)[:, None, :] + size - 1
    return offset[0] * (2 * size - 1) + offset[1]


class _Windowed(nn.Module):
    """Attention inside windows with a table of relative position biases."""

    def __init__(self, width, heads, size):
        super().__init__()
        self.heads, self.size = heads, size
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.randn((2 * size - 1) ** 2, heads))
        self.register_buffer("index", _relative(size))

    def forward(self, x, mask=None):
        count, length, width = x.shape
        qkv = self.qkv(x).reshape(count, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(length, length, -1).permute(2, 0, 1)
        scores = scores + bias.contiguous().unsqueeze(0)
        if mask is not None:
            windows = mask.shape[0]
            scores = scores.view(count // windows, windows, self.heads, length, length)
            scores = (scores + mask.unsqueeze(1).unsqueeze(0)).view(-1, self.heads, length, length)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(count, length, width)
        return self.out(y)


def _to_windows(x, size):
    batch, tall, wide, width = x.shape
    x = x.view(batch, tall // size, size, wide // size, size, width)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size * size, width)


def _from_windows(x, size, tall, wide):
    batch = x.shape[0] // (tall * wide // size**2)
    x = x.view(batch, tall // size, wide // size, size, size, -1)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, tall, wide, -1)


class _SwinLayer(nn.Module):
    def __init__(self, width, heads, side, shift, inner):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attend, self.mlp = _Windowed(width, heads, 2), Mlp(width, inner)
        self.shift = shift
        mask = None
        if shift:
            region = torch.arange(side).ge(side - 1).long()
            region = (region[:, None] * 2 + region[None, :]).view(1, side, side, 1)
            region = _to_windows(region, 2).squeeze(-1)
            mask = (region[:, None] != region[:, :, None]) * -100.0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x):
        y = self.norms[0](x)
        tall, wide = y.shape[1:3]
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), dims=(1, 2))
        y = _from_windows(self.attend(_to_windows(y, 2), self.mask), 2, tall, wide)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), dims=(1, 2))
        x = x + y
        return x + self.mlp(self.norms[1](x))


class _Merge(nn.Module):
    """Four neighbouring patches into one of twice the width."""

    def __init__(self, width, out):
        super().__init__()
        self.norm, self.reduce = nn.LayerNorm(4 * width), nn.Linear(4 * width, out, bias=False)

    def forward(self, x):
        parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduce(self.norm(torch.cat(parts, -1)))


@family(groups=18)
def swin() -> Built:
    """Swin (Liu et al. 2021): 2 stages of 2 layers with windows, shifts and patch merging.

    2 streams, and in each of 4 layers heads, query-key, value and MLP numbering.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.first = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
            self.one = nn.Sequential(_SwinLayer(8, 2, 8, 0, 9), _SwinLayer(8, 2, 8, 1, 9))
            self.merge = _Merge(8, 12)
            self.two = nn.Sequential(_SwinLayer(12, 3, 4, 0, 11), _SwinLayer(12, 3, 4, 1, 11))
            self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 4)

        def forward(self, x):
            x = self.first(self.patches(x).permute(0, 2, 3, 1))
            x = self.norm(self.two(self.merge(self.one(x))))
            return self.head(x.permute(0, 3, 1, 2).mean((2, 3)))

    return Net(), image()


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


class _Partition(nn.Module):
    """Attention among neighbours (block) or among places far apart (grid)."""

    def __init__(self, width, grid):
        super().__init__()
        self.norm, self.attend, self.mlp = (
            nn.LayerNorm(width),
            _Windowed(width, 2, 2),
            Mlp(width, 9),
        )
        self.grid = grid

    def forward(self, x):
        batch, width, tall, wide = x.shape
        shape = (2, tall // 2, 2, wide // 2) if self.grid else (tall // 2, 2, wide // 2, 2)
        order = (0, 3, 5, 2, 4, 1) if self.grid else (0, 2, 4, 3, 5, 1)
        y = x.reshape(batch, width, *shape).permute(order)
        y = y.reshape(-1, 4, width)
        y = y + self.attend(self.norm(y))
        y = y + self.mlp(y)
        y = y.reshape(batch, tall // 2, wide // 2, 2, 2, width)
        back = (0, 5, 3, 1, 4, 2) if self.grid else (0, 5, 1, 3, 2, 4)
        return y.permute(back).reshape(batch, width, tall, wide)


@family(groups=12)
def maxvit() -> Built:
    """MaxViT (Tu et al. 2022): an inverted residual, then attention in blocks and in a grid.

    Stem and stream 2, the inverted residual's inside and its squeeze 2, twice heads, query-key,
    value and MLP 8.
    """
    layers = [conv(3, 6, 3, 2), Inverted(6, 12, 8, excite=3), _Partition(8, False)]
    layers += [_Partition(8, True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
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
