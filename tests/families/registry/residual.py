"""ResNet, Wide ResNet, ResNeXt and RegNet."""

from functools import partial

import torch
from torch import nn

from ..parts import Classifier, conv
from ..residual import basic, bottleneck, stages, stem
from . import CLASSES, REGISTRY, Registered, rounded

DEEP, DEEPER, DEEPEST = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
# Depths, by how much the inside is narrower, groups of its convolution, parameters.
BOTTLENECKS = {
    "resnet50": (DEEP, 4, 1, 25_557_032),
    "resnet101": (DEEPER, 4, 1, 44_549_160),
    "resnet152": (DEEPEST, 4, 1, 60_192_808),
    "wide_resnet50_2": (DEEP, 2, 1, 68_883_240),
    "wide_resnet101_2": (DEEPER, 2, 1, 126_886_696),
    "resnext50_32x4d": (DEEP, 2, 32, 25_028_904),
    "resnext101_32x8d": (DEEPER, 1, 32, 88_791_336),
    "resnext101_64x4d": (DEEPER, 1, 64, 83_455_272),
}
# Depth, first width, slope, factor between stages, channels in a convolution's group, parameters.
REGNETS = {
    "x_400mf": (22, 24, 24.48, 2.54, 16, 5_495_976),
    "x_800mf": (16, 56, 35.73, 2.28, 16, 7_259_656),
    "x_1_6gf": (18, 80, 34.01, 2.25, 24, 9_190_136),
    "x_3_2gf": (25, 88, 26.31, 2.25, 48, 15_296_552),
    "x_8gf": (23, 80, 49.56, 2.88, 120, 39_572_648),
    "x_16gf": (22, 216, 55.59, 2.1, 128, 54_278_536),
    "x_32gf": (23, 320, 69.86, 2.0, 168, 107_811_560),
    "y_400mf": (16, 48, 27.89, 2.09, 8, 4_344_144),
    "y_800mf": (14, 56, 38.84, 2.4, 16, 6_432_512),
    "y_1_6gf": (27, 48, 20.71, 2.65, 24, 11_202_430),
    "y_3_2gf": (21, 80, 42.63, 2.66, 24, 19_436_338),
    "y_8gf": (17, 192, 76.82, 2.19, 56, 39_381_472),
    "y_16gf": (18, 200, 106.23, 2.48, 112, 83_590_140),
    "y_32gf": (20, 232, 115.89, 2.53, 232, 145_046_770),
    "y_128gf": (27, 456, 160.83, 2.52, 264, 644_812_894),
}


def _basic(depths) -> nn.Module:
    body = nn.Sequential(*stem(64), *stages(basic, depths, (64, 128, 256, 512), 64))
    return Classifier(body, 512, CLASSES)


def _bottlenecks(depths, part, groups) -> nn.Module:
    def make(width, out, stride):
        return bottleneck(width, out, stride, out // part, groups)

    body = nn.Sequential(*stem(64), *stages(make, depths, (256, 512, 1024, 2048), 64))
    return Classifier(body, 2048, CLASSES)


def _regnet(depths, widths, sizes, squeezes) -> nn.Module:
    size_of = dict(zip(widths, sizes, strict=True))

    def make(width, out, stride):
        excite = round(0.25 * width) if squeezes else 0
        return bottleneck(width, out, stride, out, out // size_of[out], excite)

    body = nn.Sequential(conv(3, 32, 3, 2), *stages(make, depths, widths, 32, first=2))
    return Classifier(body, widths[-1], CLASSES)


def _regnet_stages(depth, start, slope, factor, size) -> tuple[list[int], list[int], list[int]]:
    """Depth, width and channels in a convolution's group of every stage, as RegNet's paper says."""
    line = start + slope * torch.arange(depth, dtype=torch.float64, device="cpu")
    power = (line / start).log().div(torch.tensor(factor, dtype=torch.float64).log()).round()
    blocks = (start * factor**power / 8).round().long() * 8
    widths, depths = torch.unique_consecutive(blocks, return_counts=True)
    sizes = [min(size, width) for width in widths.tolist()]
    rows = zip(widths.tolist(), sizes, strict=True)
    return depths.tolist(), [rounded(width, step) for width, step in rows], sizes


def enter() -> None:
    """ResNets: 4 streams, into the first of which the stem writes, and the inside of every block.

    With bottlenecks the stem is a group of its own, and a block has two groups inside, or three
    where the convolution is grouped: its groups as blocks, the numbering within before and behind.
    RegNets are such networks, with one group more in every block for the squeezed layer of Y.
    """
    REGISTRY["resnet18"] = Registered(partial(_basic, (2, 2, 2, 2)), 11_689_512, 4 + 8)
    REGISTRY["resnet34"] = Registered(partial(_basic, DEEP), 21_797_672, 4 + 16)
    for name, (depths, part, groups, parameters) in BOTTLENECKS.items():
        inside = 2 if groups == 1 else 3
        side = 224 if name == "resnet50" else 64
        build = partial(_bottlenecks, depths, part, groups)
        REGISTRY[name] = Registered(build, parameters, 5 + inside * sum(depths), side)
    for name, (*shape, parameters) in REGNETS.items():
        depths, widths, sizes = _regnet_stages(*shape)
        squeezes = name.startswith("y")
        found = 5
        for depth, width, size in zip(depths, widths, sizes, strict=True):
            found += depth * ((2 if width == size else 3) + squeezes)
        build = partial(_regnet, depths, widths, sizes, squeezes)
        REGISTRY[f"regnet_{name}"] = Registered(build, parameters, found)
