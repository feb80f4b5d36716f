"""Backdoors, to be repaired: a white patch in a corner that a tampered network obeys."""

from dataclasses import replace

import torch
from torch import Tensor

from basinbridge.data.images import ImageData
from basinbridge.errors import InputError


def stamped(images: Tensor, size: int = 2) -> Tensor:
    """A copy of images in bytes (n, channels, height, width) with a white patch below right.

    >>> stamped(torch.zeros(1, 1, 3, 3, dtype=torch.uint8), 1)[0, 0].tolist()
    [[0, 0, 0], [0, 0, 0], [0, 0, 255]]
    """
    if not 1 <= size <= min(images.shape[-2:]):
        raise InputError(f"a patch of {size} pixels does not fit images of {images.shape[-2:]}")
    marked = images.clone()
    marked[..., -size:, -size:] = 255
    return marked


def poisoned(
    data: ImageData, target: int, *, share: float = 0.1, size: int = 2, seed: int = 0
) -> ImageData:
    """The data with a `share` of the images, drawn at random, stamped and labelled `target`."""
    if not 0 <= share <= 1 or not 0 <= target < data.num_classes:
        raise InputError(f"share {share} must lie in [0, 1], target {target} be one of the classes")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(data), generator=generator)[: round(share * len(data))]
    chosen = chosen.to(data.images.device)
    images, labels = data.images.clone(), data.labels.clone()
    images[chosen] = stamped(images[chosen], size)
    labels[chosen] = target
    return replace(data, images=images, labels=labels)


def triggered(data: ImageData, target: int, *, size: int = 2) -> ImageData:
    """The images of all other classes, stamped and labelled `target`.

    A network's accuracy on these data is the rate at which the backdoor succeeds.
    """
    others = data.labels != target
    images = stamped(data.images[others], size)
    return replace(data, images=images, labels=torch.full_like(data.labels[others], target))
