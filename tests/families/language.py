"""Text models: encoders, decoders, and encoder-decoders, with all usual position codes."""

import torch
import torch.nn.functional as F
from torch import nn

from . import Built, family
from .parts import words
from .vision import Mlp


class _Causal(nn.Module):
    """GPT-2's attention: one packed projection, causal mask, softmax, spelled out."""

    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.packed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer(
            "mask", torch.tril(torch.ones(length, length)).view(1, 1, length, length)
        )

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.packed(x).split(width, dim=2)
        shape = (batch, length, self.heads, width // self.heads)
        q, k, v = (part.view(shape).transpose(1, 2) for part in (q, k, v))
        scores = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
        scores = scores.masked_fill(self.mask[:, :, :length, :length] == 0, float("-inf"))
        y = F.softmax(scores, dim=-1) @ v
        return self.out(y.transpose(1, 2).contiguous().view(batch, length, width))


@family(groups=13)
def gpt2() -> Built:
    """GPT-2 (Radford et al. 2019) of 3 layers with the output tied to the embedding.

    One stream (embeddings, positions, norms and the tied output share it); in each layer heads,
    query-key, value, MLP: 1 + 3 * 4.
    """

    class Net(nn.Module):
        def __init__(self, width=12):
            super().__init__()
            self.embed, self.place = nn.Embedding(11, width), nn.Embedding(7, width)
            self.attends = nn.ModuleList(_Causal(width, 3, 7) for _ in "123")
            self.mlps = nn.ModuleList(Mlp(width, 14) for _ in "123")
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in "1234567")
            self.head = nn.Linear(width, 11, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x):
            x = self.embed(x) + self.place(torch.arange(x.shape[1]))
            for place, (attend, mlp) in enumerate(zip(self.attends, self.mlps, strict=True)):
                x = x + attend(self.norms[2 * place](x))
                x = x + mlp(self.norms[2 * place + 1](x))
            return self.head(self.norms[-1](x))

    return Net(), words()


class RmsNorm(nn.Module):
    """Divided by the root mean square, in float32 as the real ones do it."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        kind = x.dtype
        x = x.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * x.to(kind)


def _rotated(x, cos, sin):
    one, two = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return x * cos + torch.cat((-two, one), dim=-1) * sin


class _Llama(nn.Module):
    def __init__(self, width, heads, pairs, fused):
        super().__init__()
        self.heads, self.pairs, self.size, self.fused = heads, pairs, width // heads, fused
        self.q, self.out = (nn.Linear(width, width, bias=False) for _ in "qo")
        self.k, self.v = (nn.Linear(width, pairs * self.size, bias=False) for _ in "kv")
        self.gate, self.up = (nn.Linear(width, 10, bias=False) for _ in "gu")
        self.down = nn.Linear(10, width, bias=False)
        self.norms = nn.ModuleList([RmsNorm(width), RmsNorm(width)])

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        y = self.norms[0](x)
        q = self.q(y).view(batch, length, self.heads, self.size).transpose(1, 2)
        k, v = (
            layer(y).view(batch, length, self.pairs, self.size).transpose(1, 2)
            for layer in (self.k, self.v)
        )
        q, k = _rotated(q, cos, sin), _rotated(k, cos, sin)
        times = self.heads // self.pairs
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            k, v = (
                part[:, :, None]
                .expand(batch, self.pairs, times, length, self.size)
                .reshape(batch, self.heads, length, self.size)
                for part in (k, v)
            )
            scores = torch.matmul(q, k.transpose(2, 3)) / self.size**0.5
            scores = scores + torch.full((length, length), float("-inf")).triu(1)
            y = torch.matmul(scores.softmax(-1, dtype=torch.float32).to(q.dtype), v)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, -1))
        y = self.norms[1](x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


@family(groups=9)
def llama() -> Built:
    """Llama (Touvron et al. 2023) with grouped-query attention, of 2 layers.

    The stream; in each layer the key-value heads, the query heads within one of them, the value
    numbering within one, and the MLP: 1 + 2 * 4. Rotary codes fix query and key dimensions.
    """

    class Net(nn.Module):
        def __init__(self, width=16):
            super().__init__()
            self.embed = nn.Embedding(11, width)
            self.layers = nn.ModuleList(_Llama(width, 4, 2, fused) for fused in (False, True))
            self.norm, self.head = RmsNorm(width), nn.Linear(width, 11, bias=False)
            self.register_buffer("rates", torch.tensor([1.0, 0.1]), persistent=False)

        def forward(self, x):
            angles = torch.arange(x.shape[1])[:, None] * self.rates[None, :]
            angles = torch.cat((angles, angles), dim=-1)
            x = self.embed(x)
            for layer in self.layers:
                x = layer(x, angles.cos(), angles.sin())
            return self.head(self.norm(x))

    return Net(), words()


class _Interleaved(nn.Module):
    """Rotary attention on neighbouring dimensions, on the first half of a head only."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.packed = heads, nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        size = width // self.heads
        packed = self.packed(x).view(batch, length, self.heads, 3 * size)
        q, k, v = packed.transpose(1, 2).chunk(3, dim=-1)
        angles = torch.arange(length)[:, None] * torch.tensor([1.0, 0.2])
        cos, sin = (part.repeat_interleave(2, -1) for part in (angles.cos(), angles.sin()))

        def turn(part):
            turned, kept = part[..., :4], part[..., 4:]
            other = torch.stack((-turned[..., 1::2], turned[..., ::2]), dim=-1).flatten(-2)
            return torch.cat((turned * cos + other * sin, kept), dim=-1)

        y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        return x + self.out(y.transpose(1, 2).flatten(2))


@family(groups=9)
def partly_rotary() -> Built:
    """GPT-J and GPT-NeoX: (heads, 3 * width) packed, rotary codes on a part of each head.

    The stream; in each of 2 layers heads, the query-key dimensions without rotary codes, the value
    numbering, and the MLP that reads the same norm.
    """

    class Net(nn.Module):
        def __init__(self, width=24):
            super().__init__()
            self.embed, self.head = nn.Embedding(11, width), nn.Linear(width, 11)
            self.attends = nn.ModuleList(_Interleaved(width, 3) for _ in "12")
            self.mlps = nn.ModuleList(Mlp(width, 14) for _ in "12")
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in "12")

        def forward(self, x):
            x = self.embed(x)
            for attend, mlp, norm in zip(self.attends, self.mlps, self.norms, strict=True):
                y = norm(x)
                x = x + attend(y) + mlp(y)
            return self.head(x)

    return Net(), words()


class _Biased(nn.Module):
    """Attention with separate projections and an added bias, of T5."""

    def __init__(self, width, heads, size):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, heads * size, bias=False) for _ in "qkv")
        self.out = nn.Linear(heads * size, width, bias=False)

    def forward(self, x, memory, bias=None):
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = (
            layer(memory).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.k, self.v)
        )
        scores = torch.einsum("bhnd,bhmd->bhnm", q, k)
        scores = scores if bias is None else scores + bias
        y = torch.matmul(scores.softmax(-1), v)
        return self.out(y.transpose(1, 2).flatten(2))


@family(groups=15)
def t5() -> Built:
    """T5 (Raffel et al. 2020): relative biases shared by all layers of a stack, tied embeddings.

    One stream, as one embedding serves both stacks. Encoder: the biases tie the heads of its 2
    layers (1), and each layer has query-key, value, MLP (6). Decoder of 1 layer: heads, query-key,
    value (3), the same of the cross attention (3), MLP (1). 1 + 7 + 7.
    """

    class Net(nn.Module):
        def __init__(self, width=12):
            super().__init__()
            self.embed = nn.Embedding(11, width)
            self.tables = nn.ModuleList(nn.Embedding(4, 3) for _ in "ed")
            self.encoder = nn.ModuleList(_Biased(width, 3, 5) for _ in "12")
            self.decoder, self.cross = _Biased(width, 3, 4), _Biased(width, 3, 4)
            self.mlps = nn.ModuleList(Mlp(width, 9, nn.ReLU) for _ in "123")
            self.norms = nn.ModuleList(RmsNorm(width) for _ in range(8))
            self.head = nn.Linear(width, 11, bias=False)
            self.head.weight = self.embed.weight

        def bias(self, table, length):
            places = torch.arange(length)
            buckets = (places[None, :] - places[:, None]).abs().clamp(max=3)
            return table(buckets).permute(2, 0, 1).unsqueeze(0)

        def forward(self, x, y):
            x, y = self.embed(x), self.embed(y)
            bias = self.bias(self.tables[0], x.shape[1])
            for place, attend in enumerate(self.encoder):
                z = self.norms[2 * place](x)
                x = x + attend(z, z, bias)
                x = x + self.mlps[place](self.norms[2 * place + 1](x))
            x = self.norms[4](x)
            bias = self.bias(self.tables[1], y.shape[1])
            bias = bias + torch.full((y.shape[1], y.shape[1]), -1e9).triu(1)
            z = self.norms[5](y)
            y = y + self.decoder(z, z, bias)
            y = y + self.cross(self.norms[6](y), x)
            y = y + self.mlps[2](self.norms[7](y))
            return self.head(y * 12**-0.5)

    return Net(), (words(6), words(5))


@family(groups=10)
def bert() -> Built:
    """BERT (Devlin et al. 2019) of 2 layers: three embeddings, post-norm, pooler, tied output.

    The stream, 4 in each layer, and the pooler's units; the output transform feeds the tied
    embedding, so that its units are numbered as the stream is.
    """

    class Net(nn.Module):
        def __init__(self, width=12):
            super().__init__()
            self.embed, self.kinds = nn.Embedding(11, width), nn.Embedding(2, width)
            self.places = nn.Embedding(7, width)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(width, 3, 10, activation="gelu", batch_first=True)
                for _ in "12"
            )
            self.norm, self.pool = nn.LayerNorm(width), nn.Linear(width, width)
            self.change, self.last_norm = nn.Linear(width, width), nn.LayerNorm(width)
            self.pair, self.bias = nn.Linear(width, 2), nn.Parameter(torch.zeros(11))

        def forward(self, x, kinds, mask):
            places = torch.arange(x.shape[1]).unsqueeze(0)
            x = self.norm(self.embed(x) + self.kinds(kinds) + self.places(places))
            for layer in self.layers:
                x = layer(x, src_key_padding_mask=mask)
            pair = self.pair(torch.tanh(self.pool(x[:, 0])))
            x = self.last_norm(F.gelu(self.change(x)))
            return F.linear(x, self.embed.weight, self.bias), pair

    mask = torch.zeros(2, 7, dtype=torch.bool)
    mask[1, 5:] = True
    return Net(), (words(), words(7, 2), mask)


@family(groups=11, share=0.7, why="sinusoids added to the streams fix them")
def transformer() -> Built:
    """The encoder-decoder of Vaswani et al. 2017 as torch has it, with sinusoids and masks.

    Encoder of 1 layer: heads, query-key, value, MLP; decoder of 1 layer: twice heads, query-key,
    value, and an MLP. The sinusoids, which are no parameters, fix both streams.
    """

    class Net(nn.Module):
        def __init__(self, width=8):
            super().__init__()
            self.source, self.target = nn.Embedding(11, width), nn.Embedding(9, width)
            self.core = nn.Transformer(width, 2, 1, 1, 10, batch_first=True)
            self.head = nn.Linear(width, 9)
            angles = torch.arange(8)[:, None] * torch.tensor([1.0, 0.3, 0.1, 0.03])
            waves = torch.cat([angles.sin(), angles.cos()], 1)
            self.register_buffer("waves", waves, persistent=False)

        def forward(self, x, y):
            mask = self.core.generate_square_subsequent_mask(y.shape[1])
            x = self.source(x) + self.waves[: x.shape[1]]
            y = self.target(y) + self.waves[: y.shape[1]]
            return self.head(self.core(x, y, tgt_mask=mask, tgt_is_causal=True))

    return Net(), (words(6), words(5, 9))


@family(groups=3)
def average_of_words() -> Built:
    """fastText (Joulin et al. 2017) with a hidden layer: a bag of embeddings, and a masked mean."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag, self.embed = nn.EmbeddingBag(11, 6, mode="mean"), nn.Embedding(11, 7)
            self.hidden, self.head = nn.Linear(13, 8), nn.Linear(8, 3)

        def forward(self, x):
            mask = x.ne(0).unsqueeze(-1).float()
            mean = (self.embed(x) * mask).sum(1) / mask.sum(1).clamp_min(1.0)
            return self.head(F.relu(self.hidden(torch.cat([self.bag(x), mean], 1))))

    return Net(), words()
