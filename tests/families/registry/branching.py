"""DenseNet, SqueezeNet, GoogLeNet and Inception v3."""

from functools import partial

from torch import nn

from basinbridge.models.googlenet import GoogLeNet

from ..branching import Fire, InceptionV3
from ..dense import densenet_of
from ..parts import conv
from ..residual import stem
from . import CLASSES, REGISTRY, Registered

DENSENETS = {
    "densenet121": ((6, 12, 24, 16), 64, 32, 7_978_856),
    "densenet161": ((6, 12, 36, 24), 96, 48, 28_681_000),
    "densenet169": ((6, 12, 32, 32), 64, 32, 14_149_480),
    "densenet201": ((6, 12, 48, 32), 64, 32, 20_013_928),
}
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def _densenet(depths, width, growth) -> nn.Module:
    return densenet_of(stem(width), depths, width, growth, 4 * growth, CLASSES)


def _squeezenet(width, kernel, pools) -> nn.Module:
    layers = [conv(3, width, kernel, 2, norm=None), nn.MaxPool2d(3, 2, 1)]
    for place, (squeezed, wide) in enumerate(FIRES):
        layers += [nn.MaxPool2d(3, 2, 1)] if place in pools else []
        layers.append(Fire(width, squeezed, wide))
        width = 2 * wide
    layers += [nn.Dropout(), nn.Conv2d(width, CLASSES, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def enter() -> None:
    """DenseNet: two groups in every layer, the stem, 3 transitions. SqueezeNet: stem, 3 a module.

    GoogLeNet: 57 convolutions, and 2 groups in each auxiliary head. Inception v3: 94 convolutions,
    and 2 in the auxiliary head.
    """
    for name, (depths, width, growth, parameters) in DENSENETS.items():
        build = partial(_densenet, depths, width, growth)
        REGISTRY[name] = Registered(build, parameters, 2 * sum(depths) + 4)
    squeezenets = (partial(_squeezenet, 96, 7, (3, 7)), partial(_squeezenet, 64, 3, (2, 4)))
    for name, build, parameters in zip(
        ("squeezenet1_0", "squeezenet1_1"), squeezenets, (1_248_424, 1_235_496), strict=True
    ):
        REGISTRY[name] = Registered(build, parameters, 1 + 3 * 8)
    REGISTRY["googlenet"] = Registered(partial(GoogLeNet, CLASSES), 13_004_888, 57 + 4, 32)
    REGISTRY["inception_v3"] = Registered(partial(InceptionV3, CLASSES), 27_161_264, 94 + 2, 96)
