"""The paper's augmentations, on whole batches and on whatever device they are.

Rotation, scale, flip and shift are one affine map of the pixel grid, so that an image is sampled
once, not once for each; beside it, three modules of kornia in a row cost over twice the time.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from basinbridge.data.batches import Augmentation
from basinbridge.data.datasets import family

_GREY_WEIGHTS = (0.299, 0.587, 0.114)  # the luma of ITU-R BT.601


@dataclass(frozen=True)
class Recipe:
    """Random changes to images; calling it applies them, drawn anew for every image.

    Flips left to right half the time, shifts by whole pixels up to an eighth of the side (a crop
    from the image padded with black: 4 pixels of 32, 8 of 64), turns by up to `degrees`, scales
    by a factor within `scale` of 1, and multiplies contrast and saturation by factors within
    `colour` of 1. Float images (n, channels, height, width) in [0, 1] stay so.

    >>> images = torch.rand(2, 3, 32, 32)
    >>> Recipe(degrees=15)(images).shape
    torch.Size([2, 3, 32, 32])
    """

    degrees: float
    scale: float = 0.0
    colour: float = 0.0

    def __call__(self, images: Tensor) -> Tensor:
        """Changed copies of `images`."""
        moved = _resampled(images, self._maps(images))
        if self.colour == 0:
            return moved
        return _recoloured(moved, self._factors(moved), self._factors(moved))

    def _maps(self, images: Tensor) -> Tensor:
        """Where each new image's pixels come from: (n, 2, 3), in coordinates from -1 to 1."""
        count, _, height, width = images.shape
        angle = _uniform(count, math.radians(self.degrees), images)
        zoom = 1 + _uniform(count, self.scale, images)
        flip = 1 - 2 * _whole(count, 0, 1, images)
        across = _whole(count, -(width // 8), width // 8, images)
        down = _whole(count, -(height // 8), height // 8, images)
        cosine, sine = angle.cos() / zoom, angle.sin() / zoom
        # Heights and widths are both 2 in these coordinates, hence the ratios beside the sines.
        first = torch.stack(
            (flip * cosine, -flip * sine * (height / width), across * (2 / width)), dim=1
        )
        second = torch.stack((sine * (width / height), cosine, down * (2 / height)), dim=1)
        return torch.stack((first, second), dim=1)

    def _factors(self, images: Tensor) -> Tensor:
        return (1 + _uniform(len(images), self.colour, images))[:, None, None, None]


_RECIPES = {
    "cifar10": Recipe(degrees=15),
    "cifar100": Recipe(degrees=15),
    "tiny-imagenet": Recipe(degrees=30, scale=0.2, colour=0.25),
}


def augmentation(name: str) -> Augmentation | None:
    """The paper's augmentation for the data set `name`; None where it has none.

    Any name or folder of the same family will do: `cifar10`, `uoft-cs/cifar10`,
    `tiny-imagenet-subset`.

    >>> augmentation("cifar10")
    Recipe(degrees=15, scale=0.0, colour=0.0)
    >>> augmentation("digits") is None
    True
    """
    short = family(name)
    return None if short is None else _RECIPES.get(short)


def _uniform(count: int, reach: float, images: Tensor) -> Tensor:
    """`count` draws between -`reach` and `reach`."""
    draws = torch.rand(count, device=images.device, dtype=images.dtype)
    return (2 * draws - 1) * reach


def _whole(count: int, lowest: int, highest: int, images: Tensor) -> Tensor:
    """`count` draws of the whole numbers from `lowest` to `highest`, as floats."""
    draws = torch.randint(lowest, highest + 1, (count,), device=images.device)
    return draws.to(images.dtype)


def _resampled(images: Tensor, maps: Tensor) -> Tensor:
    """Images read bilinearly where `maps` point; black beyond the edge."""
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _recoloured(images: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Distances from the image's mean grey, then from each pixel's own grey, multiplied.

    That is m + c(x - m) and then, of the result y with its grey h, h + s(y - h). As grey is linear
    in the colours, both together are one weighted sum of pixel x, its grey and the mean m.
    """
    grey = _grey(images)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    colourless = contrast * (1 - saturation) * grey + (1 - contrast) * mean
    return torch.addcmul(colourless, images, contrast * saturation).clamp_(0, 1)


def _grey(images: Tensor) -> Tensor:
    """(n, 1, height, width); images that are not three channels deep turn to their mean."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    red, green, blue = torch.split(images, 1, dim=1)
    return _GREY_WEIGHTS[0] * red + _GREY_WEIGHTS[1] * green + _GREY_WEIGHTS[2] * blue
