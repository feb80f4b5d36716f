"""AlexNet and VGG."""

from functools import partial

from ..plain import alexnet_of, vgg_of
from . import CLASSES, REGISTRY, Registered

VGG = {
    11: ((1, 1, 2, 2, 2), 132_863_336, 132_868_840),
    13: ((2, 2, 2, 2, 2), 133_047_848, 133_053_736),
    16: ((2, 2, 3, 3, 3), 138_357_544, 138_365_992),
    19: ((2, 2, 4, 4, 4), 143_667_240, 143_678_248),
}


def enter() -> None:
    """A group for each convolution and each of the two hidden layers."""
    alexnet = partial(alexnet_of, (64, 192, 384, 256, 256), (4096, 4096), CLASSES)
    REGISTRY["alexnet"] = Registered(alexnet, 61_100_840, 5 + 2, 96)
    for layers, (depths, *parameters) in VGG.items():
        plan: list[int | str] = []
        for depth, width in zip(depths, (64, 128, 256, 512, 512), strict=True):
            plan += [*[width] * depth, "M"]
        for normalised, count in zip((False, True), parameters, strict=True):
            build = partial(vgg_of, plan, normalised, (4096, 4096), CLASSES)
            name = f"vgg{layers}_bn" if normalised else f"vgg{layers}"
            REGISTRY[name] = Registered(build, count, sum(depths) + 2)
