"""Random small networks: a directed acyclic graph of common operators, drawn from a seed."""

import random

import torch
import torch.nn.functional as F
from torch import nn


def _shuffled(x, groups):
    batch, width, *space = x.shape
    return x.view(batch, groups, width // groups, *space).transpose(1, 2).flatten(1, 2)


def _chunks(x, count):
    parts = torch.chunk(x, count, dim=1)
    return parts[0] * torch.sigmoid(parts[-1])


ACTIVATIONS = [torch.relu, torch.tanh, F.gelu, F.silu, F.hardswish, torch.sigmoid]


class RandomNetwork(nn.Module):
    """Every step reads earlier features (batch, channels, 4, 4) and appends new ones."""

    def __init__(self, seed, steps=8):
        super().__init__()
        self.draw = random.Random(seed)
        self.layers = nn.ModuleList()
        self.steps = []
        self.widths = [3]
        self._append(0, self._layer(nn.Conv2d(3, 12, 3, padding=1)), 12)
        kinds = [self._conv, self._norm, self._activation, self._add, self._cat, self._part]
        kinds += [self._shuffle, self._gate, self._excite, self._attend, self._pool]
        for _ in range(steps):
            self.draw.choice(kinds)()
        self.flat = self.draw.random() < 0.5
        last = self.widths[-1]
        self.head = nn.Linear(last * 16 if self.flat else last, 3)

    def _layer(self, layer):
        """Keep a layer; return a way to call it that survives copying the network."""
        self.layers.append(layer)
        place = len(self.layers) - 1
        return lambda net, x: net.layers[place](x)

    def _append(self, source, function, width):
        sources = source if isinstance(source, tuple) else (source,)
        self.steps.append((sources, function))
        self.widths.append(width)

    def _source(self):
        return self.draw.randrange(max(1, len(self.widths) - 4), len(self.widths))

    def _conv(self):
        source = self._source()
        width = self.widths[source]
        groups = self.draw.choice([n for n in (1, 1, 2, 3, 4, width) if width % n == 0])
        out = self.draw.choice([n for n in (6, 8, 12, 24, width) if n % groups == 0])
        kernel = self.draw.choice([1, 3])
        transposed = self.draw.random() < 0.2
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        self._append(
            source,
            self._layer(kind(width, out, kernel, 1, kernel // 2, groups=groups)),
            out,
        )

    def _norm(self):
        source = self._source()
        width = self.widths[source]
        groups = self.draw.choice([n for n in (1, 2, 3, 4) if width % n == 0])
        makers = [
            lambda: nn.BatchNorm2d(width),
            lambda: nn.GroupNorm(groups, width),
            lambda: nn.InstanceNorm2d(width, affine=True),
        ]
        layer = self._layer(self.draw.choice(makers)())
        self._append(source, layer, width)

    def _activation(self):
        source = self._source()
        act = self.draw.choice(ACTIVATIONS)
        self._append(source, lambda _, x: act(x), self.widths[source])

    def _add(self):
        one, other = self._source(), self._source()
        wide = max(self.widths[one], self.widths[other])

        def add(_, x, y):
            x, y = (F.pad(z, (0, 0, 0, 0, 0, wide - z.shape[1])) for z in (x, y))
            return x + 0.5 * y

        self._append((one, other), add, wide)

    def _cat(self):
        one, other = self._source(), self._source()
        if self.widths[one] + self.widths[other] > 48:
            return
        join = lambda _, x, y: torch.cat([x, y], dim=1)  # noqa: E731
        self._append((one, other), join, self.widths[one] + self.widths[other])

    def _part(self):
        source = self._source()
        if self.widths[source] < 2:
            return
        start = self.draw.randrange(self.widths[source] - 1)
        step = self.draw.choice([1, 1, 2])
        width = len(range(start, self.widths[source], step))
        self._append(source, lambda _, x: x[:, start::step], width)

    def _shuffle(self):
        source = self._source()
        options = [n for n in (2, 3, 4) if self.widths[source] % n == 0]
        if options:
            groups = self.draw.choice(options)
            self._append(source, lambda _, x: _shuffled(x, groups), self.widths[source])

    def _gate(self):
        source = self._source()
        if self.widths[source] % 2 == 0:
            self._append(source, lambda _, x: _chunks(x, 2), self.widths[source] // 2)

    def _excite(self):
        source = self._source()
        width = self.widths[source]
        down, up = self._layer(nn.Linear(width, 5)), self._layer(nn.Linear(5, width))

        def excite(net, x):
            gate = torch.sigmoid(up(net, F.relu(down(net, x.mean((2, 3))))))
            return x * gate[:, :, None, None]

        self._append(source, excite, width)

    def _attend(self):
        source = self._source()
        width = self.widths[source]
        heads = self.draw.choice([n for n in (1, 2, 3, 4) if width % n == 0])
        packed, out = self._layer(nn.Linear(width, 3 * width)), self._layer(nn.Linear(width, width))

        def attend(net, x):
            y = packed(net, x.flatten(2).transpose(1, 2))
            q, k, v = y.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            return x + out(net, y).transpose(1, 2).reshape(x.shape)

        self._append(source, attend, width)

    def _pool(self):
        source = self._source()
        kind = self.draw.choice([F.avg_pool2d, F.max_pool2d])
        self._append(source, lambda _, x: kind(x, 3, 1, 1), self.widths[source])

    def forward(self, x):
        features = [x]
        for sources, function in self.steps:
            features.append(function(self, *(features[source] for source in sources)))
        last = features[-1]
        return self.head(last.flatten(1) if self.flat else last.mean((2, 3)))
