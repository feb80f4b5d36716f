"""The paper's augmentations, on whole batches and on whatever device they are, by kornia.

Rotation, scale and shift are one affine map, so that an image is sampled once: the crop from an
image padded with black is a shift of it.
"""

from basinbridge.data.batches import Augmentation
from basinbridge.data.datasets import family
from basinbridge.data.decode import extra

SHIFT = 1 / 8  # the padding: 4 pixels of 32, 8 of 64


def augmentation(name: str) -> Augmentation | None:
    """The paper's augmentation for the data set `name`; None where it has none.

    CIFAR: rotation up to 15 degrees, flip, crop with a padding of 4. Tiny ImageNet: rotation up to
    30 degrees, scale 0.8 to 1.2, flip, crop with a padding of 8, contrast and saturation within a
    quarter. Any name or folder of the same family will do: `cifar10`, `uoft-cs/cifar10`,
    `tiny-imagenet-subset`. Random choices come from torch's global generator.

    >>> import torch
    >>> images = torch.rand(2, 3, 32, 32)
    >>> augmentation("cifar10")(images).shape, augmentation("digits")
    (torch.Size([2, 3, 32, 32]), None)
    """
    short = family(name)
    if short in ("cifar10", "cifar100"):
        return _moved(degrees=15.0)
    if short == "tiny-imagenet":
        return _moved(degrees=30.0, scale=(0.8, 1.2), colour=0.25)
    return None


def _moved(
    degrees: float, scale: tuple[float, float] | None = None, colour: float = 0.0
) -> Augmentation:
    """Affine map and flip, anew for every image, and colour jitter if there is any."""
    kornia = extra("kornia.augmentation")
    steps = [
        kornia.RandomAffine(degrees, translate=(SHIFT, SHIFT), scale=scale, p=1.0),
        kornia.RandomHorizontalFlip(p=0.5),
    ]
    if colour:
        steps.append(kornia.ColorJitter(contrast=colour, saturation=colour, p=1.0))
    augmentation: Augmentation = kornia.AugmentationSequential(*steps, data_keys=["input"])
    return augmentation
