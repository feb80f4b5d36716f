"""MobileNet, MNASNet, EfficientNet and ShuffleNet."""

from functools import partial
from math import ceil

from torch import nn

from ..mobile import Fused, Inverted, ShuffleUnit, inverted_stages
from ..parts import Classifier, conv
from . import CLASSES, REGISTRY, Registered, rounded

RELU, SWISH = nn.ReLU, nn.Hardswish
# MobileNet v3's blocks: kernel, inside, width, whether it squeezes, activation, stride.
LARGE = [(3, 16, 16, 0, RELU, 1), (3, 64, 24, 0, RELU, 2), (3, 72, 24, 0, RELU, 1)]
LARGE += [(5, 72, 40, 1, RELU, 2), (5, 120, 40, 1, RELU, 1), (5, 120, 40, 1, RELU, 1)]
LARGE += [(3, 240, 80, 0, SWISH, 2), (3, 200, 80, 0, SWISH, 1), (3, 184, 80, 0, SWISH, 1)]
LARGE += [(3, 184, 80, 0, SWISH, 1), (3, 480, 112, 1, SWISH, 1), (3, 672, 112, 1, SWISH, 1)]
LARGE += [(5, 672, 160, 1, SWISH, 2), (5, 960, 160, 1, SWISH, 1), (5, 960, 160, 1, SWISH, 1)]
SMALL = [(3, 16, 16, 1, RELU, 2), (3, 72, 24, 0, RELU, 2), (3, 88, 24, 0, RELU, 1)]
SMALL += [(5, 96, 40, 1, SWISH, 2), (5, 240, 40, 1, SWISH, 1), (5, 240, 40, 1, SWISH, 1)]
SMALL += [(5, 120, 48, 1, SWISH, 1), (5, 144, 48, 1, SWISH, 1), (5, 288, 96, 1, SWISH, 2)]
SMALL += [(5, 576, 96, 1, SWISH, 1), (5, 576, 96, 1, SWISH, 1)]
# EfficientNet's stages: times wider inside, kernel, stride, width, depth; of v2 whether fused, too.
EFFICIENT = [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3)]
EFFICIENT += [(6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)]
SCALES = {
    "b0": (1.0, 1.0, 5_288_548),
    "b1": (1.0, 1.1, 7_794_184),
    "b2": (1.1, 1.2, 9_109_994),
    "b3": (1.2, 1.4, 12_233_232),
    "b4": (1.4, 1.8, 19_341_616),
    "b5": (1.6, 2.2, 30_389_784),
    "b6": (1.8, 2.6, 43_040_704),
    "b7": (2.0, 3.1, 66_347_960),
}
FUSED = {
    "s": ([(1, 1, 24, 2), (4, 2, 48, 4), (4, 2, 64, 4)], 21_458_488),
    "m": ([(1, 1, 24, 3), (4, 2, 48, 5), (4, 2, 80, 5)], 54_139_356),
    "l": ([(1, 1, 32, 4), (4, 2, 64, 7), (4, 2, 96, 7)], 118_515_272),
}
UNFUSED = {
    "s": [(4, 3, 2, 128, 6), (6, 3, 1, 160, 9), (6, 3, 2, 256, 15)],
    "m": [(4, 3, 2, 160, 7), (6, 3, 1, 176, 14), (6, 3, 2, 304, 18), (6, 3, 1, 512, 5)],
    "l": [(4, 3, 2, 192, 10), (6, 3, 1, 224, 19), (6, 3, 2, 384, 25), (6, 3, 1, 640, 7)],
}
SHUFFLENETS = {
    "x0_5": ((24, 48, 96, 192, 1024), 1_366_792),
    "x1_0": ((24, 116, 232, 464, 1024), 2_278_604),
    "x1_5": ((24, 176, 352, 704, 1024), 3_503_624),
    "x2_0": ((24, 244, 488, 976, 2048), 7_393_996),
}


def _mobilenet_v2() -> nn.Module:
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    rows += [(6, 160, 3, 2), (6, 320, 1, 1)]
    layers = [conv(3, 32, 3, 2, act=nn.ReLU6), *inverted_stages(rows, 32)]
    return Classifier(nn.Sequential(*layers, conv(320, 1280, 1, act=nn.ReLU6)), 1280, CLASSES)


def _mnasnet(scale) -> nn.Module:
    first, *widths = (rounded(scale * width, 8) for width in (32, 16, 24, 40, 80, 96, 192, 320))
    layers, width = [conv(3, first, 3, 2)], first
    times, depths = (1, 3, 3, 6, 6, 6, 6), (1, 3, 3, 3, 2, 4, 1)
    strides, kernels = (1, 2, 2, 2, 1, 2, 1), (3, 3, 5, 5, 3, 5, 3)
    for *stage, kernel in zip(times, widths, depths, strides, kernels, strict=True):
        layers += inverted_stages([stage], width, kernel=kernel, act=RELU)
        width = stage[1]
    return Classifier(nn.Sequential(*layers, conv(width, 1280, 1)), 1280, CLASSES)


def _mobilenet_v3(rows, hidden) -> nn.Module:
    layers, width = [conv(3, 16, 3, 2, act=SWISH)], 16
    for kernel, inner, out, squeezes, act, stride in rows:
        excite = squeezes * rounded(inner // 4, 8)
        layers.append(Inverted(width, inner, out, stride, kernel, excite, act, nn.Hardsigmoid))
        width = out
    layers += [conv(width, 6 * width, 1, act=SWISH), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers += [nn.Linear(6 * width, hidden), SWISH(), nn.Dropout(), nn.Linear(hidden, CLASSES)]
    return nn.Sequential(*layers)


def _efficient(fused, stages, width, last) -> nn.Module:
    layers = [conv(3, width, 3, 2, act=nn.SiLU)]
    for times, stride, out, depth in fused:
        for place in range(depth):
            layers.append(Fused(width, times * width, out, 1 if place else stride))
            width = out
    for times, kernel, stride, out, depth in stages:
        for place in range(depth):
            more = {"stride": 1 if place else stride, "kernel": kernel, "act": nn.SiLU}
            inner = rounded(times * width, 8)
            layers.append(Inverted(width, inner, out, excite=max(1, width // 4), **more))
            width = out
    layers.append(conv(width, last, 1, act=nn.SiLU))
    return Classifier(nn.Sequential(*layers), last, CLASSES)


def _shufflenet(widths) -> nn.Module:
    first, *stages, last = widths
    layers, width = [conv(3, first, 3, 2), nn.MaxPool2d(3, 2, 1)], first
    for depth, out in zip((4, 8, 4), stages, strict=True):
        layers += [
            ShuffleUnit(width, out, 2),
            *(ShuffleUnit(out, out, 1) for _ in range(depth - 1)),
        ]
        width = out
    return Classifier(nn.Sequential(*layers, conv(width, last, 1)), last, CLASSES)


def enter() -> None:
    """MobileNet v2, MNASNet: the stem, 7 streams, 16 blocks that widen, the last layer.

    MobileNet v3: a stream for every stage (the large one's stem writes into the first, the small
    one's is a group of its own), the inside of every block but the first, the squeezed layers, the
    last convolution and the hidden layer.
    """
    REGISTRY["mobilenet_v2"] = Registered(_mobilenet_v2, 3_504_872, 1 + 7 + 16 + 1)
    for name, scale, parameters in (
        ("mnasnet0_5", 0.5, 2_218_512),
        ("mnasnet0_75", 0.75, 3_170_208),
        ("mnasnet1_0", 1.0, 4_383_312),
        ("mnasnet1_3", 1.3, 6_282_256),
    ):
        REGISTRY[name] = Registered(partial(_mnasnet, scale), parameters, 1 + 7 + 16 + 1)
    large, small = (partial(_mobilenet_v3, *row) for row in ((LARGE, 1280), (SMALL, 1024)))
    REGISTRY["mobilenet_v3_large"] = Registered(large, 5_483_032, 6 + 14 + 8 + 2)
    REGISTRY["mobilenet_v3_small"] = Registered(small, 2_542_856, 1 + 5 + 10 + 9 + 2)
    _enter_efficient()
    for name, (widths, parameters) in SHUFFLENETS.items():
        REGISTRY[f"shufflenet_v2_{name}"] = Registered(
            partial(_shufflenet, widths), parameters, None
        )


def _enter_efficient() -> None:
    """EfficientNet: the stem, 7 streams, the squeezed layers, the inside of all blocks that widen
    (those of the first stage do not), the last layer.

    V2's stem writes into the first stream, whose blocks have no inside; there is a stream for
    each further stage, the inside of every block, the squeezed layers of those not fused, and the
    last layer.
    """
    for name, (wide, deep, parameters) in SCALES.items():
        stages = [(*row, rounded(w * wide, 8), ceil(d * deep)) for *row, w, d in EFFICIENT]
        last = 4 * stages[-1][3]
        depths = [row[-1] for row in stages]
        groups = 1 + 7 + sum(depths) + sum(depths[1:]) + 1
        build = partial(_efficient, [], stages, rounded(32 * wide, 8), last)
        REGISTRY[f"efficientnet_{name}"] = Registered(build, parameters, groups)
    for name, (fused, parameters) in FUSED.items():
        stages = UNFUSED[name]
        plain, squeezing = (sum(row[-1] for row in rows) for rows in (fused[1:], stages))
        groups = len(fused) + len(stages) + plain + 2 * squeezing + 1
        build = partial(_efficient, fused, stages, fused[0][2], 1280)
        REGISTRY[f"efficientnet_v2_{name}"] = Registered(build, parameters, groups)
