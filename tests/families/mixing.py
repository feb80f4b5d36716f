"""Gates, mixers, experts, shared and tied weights."""

import torch
import torch.nn.functional as F
from torch import nn

from . import Built, family
from .parts import Residual, image, words


class _Mixer(nn.Module):
    def __init__(self, tokens, width, token_inner, inner):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        mlp = lambda outer, inner: nn.Sequential(  # noqa: E731
            nn.Linear(outer, inner), nn.GELU(), nn.Linear(inner, outer)
        )
        self.across, self.within = mlp(tokens, token_inner), mlp(width, inner)

    def forward(self, x):
        x = x + self.across(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.within(self.norms[1](x))


@family(groups=5)
def mlp_mixer() -> Built:
    """MLP-Mixer (Tolstikhin et al. 2021): the stream, and a token and a channel MLP per layer."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, 4)
            self.layers = nn.Sequential(_Mixer(16, 8, 10, 12), _Mixer(16, 8, 10, 12))
            self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2)
            return self.head(self.norm(self.layers(x)).mean(dim=1))

    return Net(), image(16)


@family(groups=5)
def gmlp() -> Built:
    """gMLP (Liu et al. 2021): half of the hidden channels, mixed over places, gate the others."""

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.up, self.down = nn.LayerNorm(20), nn.Linear(20, 64), nn.Linear(32, 20)
            self.inner_norm, self.mix = nn.LayerNorm(32), nn.Conv1d(7, 7, 1)

        def forward(self, x):
            one, two = F.gelu(self.up(self.norm(x))).chunk(2, dim=-1)
            return x + self.down(one * self.mix(self.inner_norm(two)))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.layers = (
                nn.Embedding(11, 20),
                nn.Sequential(*(Layer() for _ in "1234")),
            )
            self.head = nn.Linear(20, 4)

        def forward(self, x):
            return self.head(self.layers(self.embed(x)).mean(1))

    return Net(), words()


@family(groups=4)
def gates() -> Built:
    """GLU, GEGLU packed and SwiGLU in two projections, and a highway layer: a group each."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(5, 12), nn.Linear(6, 14)
            self.gate, self.up = nn.Linear(7, 8), nn.Linear(7, 8)
            self.down = nn.Linear(8, 9)
            self.carry, self.change = nn.Linear(9, 9), nn.Linear(9, 9)
            self.head = nn.Linear(9, 3)

        def forward(self, x):
            x = F.glu(self.one(x), dim=-1)
            value, gate = self.two(x).split(7, dim=-1)
            x = value * F.gelu(gate)
            x = self.down(F.silu(self.gate(x)) * self.up(x))
            carry = torch.sigmoid(self.carry(x))
            x = carry * torch.tanh(self.change(x)) + (1 - carry) * x
            return self.head(x)

    return Net(), torch.randn(2, 5)


@family(groups=3)
def maxout() -> Built:
    """Maxout (Goodfellow et al. 2013): units of 3 pieces, numbered within their unit.

    The units as blocks and the pieces inside one, and a group of a plain layer behind.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = nn.Linear(5, 18), nn.Linear(6, 7), nn.Linear(7, 2)

        def forward(self, x):
            x = self.one(x).view(x.shape[0], 6, 3).amax(-1)
            return self.head(F.relu(self.two(x)))

    return Net(), torch.randn(2, 5)


@family(groups=3)
def tied_autoencoder() -> Built:
    """An autoencoder whose decoder reads the encoder's weights transposed."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.three = nn.Linear(9, 8), nn.Linear(8, 6), nn.Linear(6, 4)

        def forward(self, x):
            x = torch.sigmoid(self.two(torch.sigmoid(self.one(x))))
            x = torch.sigmoid(self.three(x))
            for layer in (self.three, self.two, self.one):
                x = torch.sigmoid(F.linear(x, layer.weight.t()))
            return x

    return Net(), torch.randn(2, 9)


@family(groups=2)
def siamese() -> Built:
    """One encoder for two inputs, compared by distance and cosine."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6))

        def forward(self, one, two):
            one, two = self.encoder(one), self.encoder(two)
            return torch.norm(one - two, dim=1) + F.cosine_similarity(one, two, dim=1)

    return Net(), (torch.randn(2, 5), torch.randn(2, 5))


@family(groups=3)
def experts() -> Built:
    """A dense mixture of experts: the stream, the experts, and the hidden units of each."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.router = nn.Linear(5, 6), nn.Linear(6, 3)
            self.up, self.down = (
                nn.Parameter(torch.randn(3, 6, 8)),
                nn.Parameter(torch.randn(3, 8, 6)),
            )
            self.head = nn.Linear(6, 2)

        def forward(self, x):
            x = torch.relu(self.embed(x))
            shares = self.router(x).softmax(-1)
            hidden = F.relu(torch.einsum("bd,edh->beh", x, self.up))
            return self.head(x + torch.einsum("beh,ehd,be->bd", hidden, self.down, shares))

    return Net(), torch.randn(4, 5)


@family(groups=4)
def low_rank() -> Built:
    """A frozen layer with a low-rank update (LoRA, Hu et al. 2022) and a factorised embedding."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.widen = nn.Embedding(11, 4), nn.Linear(4, 8, bias=False)
            self.base, self.a, self.b = nn.Linear(8, 9), nn.Linear(8, 3), nn.Linear(3, 9)
            self.head = nn.Linear(9, 2)

        def forward(self, x):
            x = self.widen(self.table(x))
            return self.head(F.relu(self.base(x) + 0.5 * self.b(self.a(x))).mean(1))

    return Net(), words()


@family(groups=4)
def text_convolution() -> Built:
    """Convolutions of widths 2, 3 and 4 over words, maximised over time (Kim 2014).

    The embedding and three banks of filters.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(11, 6)
            self.banks = nn.ModuleList(nn.Conv1d(6, 5, width) for width in (2, 3, 4))
            self.head = nn.Linear(15, 4)

        def forward(self, x):
            x = self.embed(x).transpose(1, 2)
            pooled = [F.relu(bank(x)).max(dim=-1).values for bank in self.banks]
            return self.head(torch.cat(pooled, dim=1))

    return Net(), words()


@family(groups=3)
def temporal_convolution() -> Built:
    """A causal residual network (Bai et al. 2018) with weight normalisation written out."""

    class Layer(nn.Module):
        def __init__(self, width, out):
            super().__init__()
            self.direction = nn.Parameter(torch.randn(out, width, 2))
            self.length, self.bias = (
                nn.Parameter(torch.ones(out, 1, 1)),
                nn.Parameter(torch.zeros(out)),
            )

        def forward(self, x):
            weight = self.length * self.direction / self.direction.norm(dim=(1, 2), keepdim=True)
            return F.conv1d(F.pad(x, (1, 0)), weight, self.bias)

    blocks = [Residual(nn.Sequential(Layer(6, 7 + k), nn.ReLU(), Layer(7 + k, 6))) for k in (0, 1)]
    return nn.Sequential(Layer(2, 6), *blocks, nn.Conv1d(6, 3, 1)), torch.randn(2, 2, 9)


@family(groups=2)
def bilinear() -> Built:
    """Two inputs that meet in a bilinear layer: both embeddings, while its result is the output."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.meet = nn.Linear(4, 6), nn.Linear(5, 7), nn.Bilinear(6, 7, 3)

        def forward(self, x, y):
            return self.meet(torch.relu(self.one(x)), torch.relu(self.two(y)))

    return Net(), (torch.randn(2, 4), torch.randn(2, 5))


@family(groups=2)
def factorisation_machine() -> Built:
    """Recommendation: embeddings of fields, their pairwise products, and a deep part."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.first = nn.Embedding(11, 6), nn.EmbeddingBag(11, 1, mode="sum")
            self.deep = nn.Sequential(nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 1))

        def forward(self, x):
            v = self.embed(x)
            pairs = 0.5 * (v.sum(1).square() - v.square().sum(1)).sum(-1, keepdim=True)
            return torch.sigmoid(pairs + self.deep(v.flatten(1)) + self.first(x))

    return Net(), words(4)
