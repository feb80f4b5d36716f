"""Vision transformers and their kin: ViT, DeiT, CaiT-like, ConvNeXt, hybrids, DETR."""

import torch
import torch.nn.functional as F
from torch import nn

from . import Built, family
from .parts import conv, image


class Mlp(nn.Sequential):
    """Widen, GELU, narrow."""

    def __init__(self, width, inner, act=nn.GELU):
        super().__init__(nn.Linear(width, inner), act(), nn.Linear(inner, width))


class VitLayer(nn.Module):
    """Pre-norm attention and MLP with torch's own attention module."""

    def __init__(self, width, heads, inner):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = Mlp(width, inner)

    def forward(self, x):
        y = self.norms[0](x)
        x = x + self.attend(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norms[1](x))


class PackedAttention(nn.Module):
    """One projection for query, key and value, reshaped to (3, heads, width)."""

    def __init__(self, width, heads, fused=False):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            y = scores.softmax(dim=-1) @ v
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


class DeitLayer(nn.Module):
    """Pre-norm packed attention and MLP, each behind a scale for every channel."""

    def __init__(self, width, heads, inner, fused):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attend, self.mlp = PackedAttention(width, heads, fused), Mlp(width, inner)
        self.scales = nn.ParameterList([torch.rand(width), torch.rand(width)])

    def forward(self, x):
        x = x + self.scales[0] * self.attend(self.norms[0](x))
        return x + self.scales[1] * self.mlp(self.norms[1](x))


class Vit(nn.Module):
    """Patches, class token, position embedding, layers, a head on the class token."""

    def __init__(self, width, layers, tokens=1, patch=4, places=4, classes=4):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, tokens, width))
        self.position = nn.Parameter(torch.randn(1, places + tokens, width))
        self.layers, self.norm = nn.Sequential(*layers), nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, classes) for _ in range(tokens))

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.norm(self.layers(x + self.position))
        return sum(head(x[:, place]) for place, head in enumerate(self.heads))


@family(groups=49)
def vit_base() -> Built:
    """ViT-B/16's structure (Dosovitskiy et al. 2021).

    One stream; in each of 12 layers the heads, the query-key numbering within a head, the value
    numbering within a head, and the MLP: 1 + 12 * 4.
    """
    return Vit(12, [VitLayer(12, 3, 10) for _ in range(12)]), image(8)


@family(groups=9)
def deit() -> Built:
    """DeiT (Touvron et al. 2021) with packed projection, distillation token and layer scale."""
    return Vit(12, [DeitLayer(12, 3, 10, fused) for fused in (False, True)], tokens=2), image(8)


@family(groups=9)
def einsum_attention() -> Built:
    """Attention written with einsum and weights of shape (heads, width, inner)."""

    class Layer(nn.Module):
        def __init__(self, width=12, heads=3, inner=4):
            super().__init__()
            shape = (heads, width, inner)
            self.q, self.k, self.v = (nn.Parameter(torch.randn(shape)) for _ in "qkv")
            self.bias = nn.Parameter(torch.randn(heads, inner))
            self.out = nn.Parameter(torch.randn(heads, inner, width))
            self.norm, self.mlp = nn.LayerNorm(width), Mlp(width, 10)

        def forward(self, x):
            y = self.norm(x)
            q = torch.einsum("bnd,hde->bnhe", y, self.q) + self.bias
            k, v = (torch.einsum("bnd,hde->bnhe", y, weight) for weight in (self.k, self.v))
            scores = torch.einsum("bnhe,bmhe->bhnm", q, k).softmax(-1)
            y = torch.einsum("bhnm,bmhe->bnhe", scores, v)
            x = x + torch.einsum("bnhe,hed->bnd", y, self.out)
            return x + self.mlp(x)

    return Vit(12, [Layer(), Layer()]), image(8)


class ChannelsLast(nn.LayerNorm):
    """Layer norm over the channels of an image."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    """A depthwise convolution, a norm and an MLP at every place, behind a scale."""

    def __init__(self, width, inner):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.mlp = nn.LayerNorm(width, eps=1e-6), Mlp(width, inner)
        self.scale = nn.Parameter(torch.rand(width, 1, 1))

    def forward(self, x):
        y = self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        return x + self.scale * y.permute(0, 3, 1, 2)


def convnext_of(depths, widths, inner, classes) -> nn.Module:
    """Four stages with a norm and a strided convolution before each."""
    layers = [nn.Conv2d(3, widths[0], 4, 4), ChannelsLast(widths[0])]
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        if stage:
            before = widths[stage - 1]
            layers += [ChannelsLast(before), nn.Conv2d(before, width, 2, 2)]
        layers += [ConvNextBlock(width, inner[stage]) for _ in range(depth)]
    head = [nn.AdaptiveAvgPool2d(1), ChannelsLast(width), nn.Flatten(), nn.Linear(width, classes)]
    return nn.Sequential(*layers, *head)


@family(groups=22)
def convnext_tiny() -> Built:
    """ConvNeXt-T (Liu et al. 2022): 4 streams and the insides of 18 blocks."""
    return convnext_of((3, 3, 9, 3), (6, 7, 8, 9), (9, 10, 11, 12), 4), image()


class _GlobalResponse(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale, self.shift = (nn.Parameter(torch.randn(1, 1, 1, width)) for _ in "ab")

    def forward(self, x):
        strength = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
        strength = strength / (strength.mean(dim=-1, keepdim=True) + 1e-6)
        return self.scale * (x * strength) + self.shift + x


@family(groups=3)
def convnext_v2() -> Built:
    """ConvNeXt v2's global response normalisation (Woo et al. 2023): a stream and two insides."""

    class Block(nn.Module):
        def __init__(self, width, inner):
            super().__init__()
            self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
            self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
            self.response = _GlobalResponse(inner)

        def forward(self, x):
            y = F.gelu(self.up(self.depthwise(x).permute(0, 2, 3, 1)))
            return x + self.down(self.response(y)).permute(0, 3, 1, 2)

    layers = [nn.Conv2d(3, 6, 4, 4), Block(6, 9), Block(6, 10)]
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 4)), image()


@family(groups=3)
def conv_mixer() -> Built:
    """ConvMixer (Trockman and Kolter 2023): depthwise residual, pointwise; a group for each."""

    class Spread(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv = nn.Conv2d(width, width, 5, groups=width, padding="same")
            self.norm = nn.BatchNorm2d(width)

        def forward(self, x):
            return x + self.norm(F.gelu(self.conv(x)))

    layers = [nn.Conv2d(3, 6, 4, 4), nn.GELU(), Spread(6), conv(6, 7, 1, act=nn.GELU)]
    layers += [Spread(7), conv(7, 8, 1, act=nn.GELU), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, 4)), image(16)


@family(groups=3)
def pool_former() -> Built:
    """PoolFormer (Yu et al. 2022): average pooling in place of attention, group norm of 1 group."""

    class Layer(nn.Module):
        def __init__(self, width, inner):
            super().__init__()
            self.norms = nn.ModuleList([nn.GroupNorm(1, width), nn.GroupNorm(1, width)])
            self.up, self.down = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1)
            self.scale = nn.Parameter(torch.rand(width))

        def forward(self, x):
            y = self.norms[0](x)
            y = F.avg_pool2d(y, 3, 1, 1, count_include_pad=False) - y
            x = x + self.scale.unsqueeze(-1).unsqueeze(-1) * y
            return x + self.down(F.gelu(self.up(self.norms[1](x))))

    layers = [nn.Conv2d(3, 6, 4, 4), Layer(6, 9), Layer(6, 10)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)), image(16)


@family(groups=14)
def detection_transformer() -> Built:
    """DETR (Carion et al. 2020): convolutions, an encoder and decoder layer, learned queries.

    The body's first convolution; one stream for encoder and decoder each (the decoder reads the
    encoder through projections); encoder attention 3, MLP 1; decoder 3 + 3 + 1. The queries'
    order is that of the outputs.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(conv(3, 5, 3, 2), nn.Conv2d(5, 8, 3, 2, 1))
            self.places = nn.Parameter(torch.randn(16, 8))
            self.queries = nn.Embedding(3, 8)
            self.core = nn.Transformer(8, 2, 1, 1, 10, batch_first=True)
            self.kind, self.box = nn.Linear(8, 4), Mlp(8, 6, nn.ReLU)

        def forward(self, x):
            x = self.body(x).flatten(2).transpose(1, 2) + self.places
            queries = self.queries.weight.unsqueeze(0).expand(x.shape[0], -1, -1)
            y = self.core(x, queries)
            return self.kind(y), self.box(y).sigmoid()

    return Net(), image(16)


@family(groups=7)
def linear_attention() -> Built:
    """Attention without softmax over places (Katharopoulos et al. 2020), and over channels (XCiT).

    The stream; in the first layer heads, query-key, value; in the second heads, and within one the
    query's and the key's numbering, of which the value takes the latter.
    """

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(12, 36, bias=False), nn.Linear(12, 12)

        def forward(self, x):
            q, k, v = self.qkv(x).view(*x.shape[:2], 3, 3, 4).permute(2, 0, 3, 1, 4).unbind(0)
            q, k = F.elu(q) + 1, F.elu(k) + 1
            y = q @ (k.transpose(-2, -1) @ v)
            y = y / (q * k.sum(dim=-2, keepdim=True)).sum(-1, keepdim=True)
            return x + self.out(y.transpose(1, 2).flatten(2))

    class Cross(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(12, 36), nn.Linear(12, 12)
            self.temperature = nn.Parameter(torch.ones(3, 1, 1))

        def forward(self, x):
            q, k, v = self.qkv(x).view(*x.shape[:2], 3, 3, 4).permute(2, 0, 3, 4, 1).unbind(0)
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
            y = ((q @ k.transpose(-2, -1)) * self.temperature).softmax(-1) @ v
            return x + self.out(y.permute(0, 3, 1, 2).flatten(2))

    return Vit(12, [Linear(), Cross()]), image(8)
