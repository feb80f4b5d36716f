"""ConvNeXt, ViT, Swin and MaxViT."""

from functools import partial

from torch import nn

from ..vision import Vit, VitLayer, convnext_of
from ..windows import CosineWindowed, MaxVit, Swin, Windowed
from . import CLASSES, REGISTRY, Registered

CONVNEXTS = {
    "tiny": ((3, 3, 9, 3), 96, 28_589_128),
    "small": ((3, 3, 27, 3), 96, 50_223_688),
    "base": ((3, 3, 27, 3), 128, 88_591_464),
    "large": ((3, 3, 27, 3), 192, 197_767_336),
}
VITS = {
    "b_16": (12, 768, 12, 16, 86_567_656),
    "b_32": (12, 768, 12, 32, 88_224_232),
    "l_16": (24, 1024, 16, 16, 304_326_632),
    "l_32": (24, 1024, 16, 32, 306_535_400),
    "h_14": (32, 1280, 16, 14, 632_045_800),
}
SWINS = {
    "swin_t": ((2, 2, 6, 2), 96, 28_288_354),
    "swin_s": ((2, 2, 18, 2), 96, 49_606_258),
    "swin_b": ((2, 2, 18, 2), 128, 87_768_224),
    "swin_v2_t": ((2, 2, 6, 2), 96, 28_351_570),
    "swin_v2_s": ((2, 2, 18, 2), 96, 49_737_442),
    "swin_v2_b": ((2, 2, 18, 2), 128, 87_930_848),
}


def _doubling(width) -> list[int]:
    return [width * times for times in (1, 2, 4, 8)]


def _convnext(depths, width) -> nn.Module:
    return convnext_of(depths, _doubling(width), _doubling(4 * width), CLASSES)


def _vit(depth, width, heads, patch) -> nn.Module:
    layers = [VitLayer(width, heads, 4 * width) for _ in range(depth)]
    return Vit(width, layers, patch=patch, places=(224 // patch) ** 2, classes=CLASSES)


def _swin(depths, width, kind) -> nn.Module:
    window, side = (8, 64) if kind is CosineWindowed else (7, 56)
    widths, heads = _doubling(width), _doubling(width // 32)
    return Swin(depths, widths, heads, side, window, _doubling(4 * width), CLASSES, kind)


def enter() -> None:
    """ConvNeXt: 4 streams and the inside of every block. ViT: a stream and 4 groups in each layer
    (heads, query-key, value, MLP). Swin: 4 streams and those 4 in each layer; 6 in v2, which has
    the hidden layer of the biases, and the two coordinates that it reads from a buffer. MaxViT: the
    stem's first convolution and the second, 4 streams; in each of 11 layers the inverted residual's
    inside, the squeezed layer and twice those 4; the hidden layer of the head.
    """
    for name, (depths, width, parameters) in CONVNEXTS.items():
        build = partial(_convnext, depths, width)
        REGISTRY[f"convnext_{name}"] = Registered(build, parameters, 4 + sum(depths))
    for name, (depth, *shape, parameters) in VITS.items():
        REGISTRY[f"vit_{name}"] = Registered(
            partial(_vit, depth, *shape), parameters, 1 + 4 * depth, 224
        )
    for name, (depths, width, parameters) in SWINS.items():
        second = "v2" in name
        build = partial(_swin, depths, width, CosineWindowed if second else Windowed)
        groups = 4 + (6 if second else 4) * sum(depths)
        REGISTRY[name] = Registered(build, parameters, groups, 256 if second else 224)
    maxvit = partial(MaxVit, (64, 128, 256, 512), (2, 2, 5, 2), CLASSES)
    REGISTRY["maxvit_t"] = Registered(maxvit, 30_919_624, 2 + 4 + 11 * 10 + 1, 224)
