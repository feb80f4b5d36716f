"""Labelled images as whole tensors."""

import hashlib
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from basinbridge.errors import InputError


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images held as one tensor of bytes.

    `images` is uint8 (n, channels, height, width), `labels` int64 (n,) below the number of
    `class_names`; `mean` and `std` are per channel, of pixels in [0, 1]. Anything else raises
    `InputError`.

    >>> black_and_white = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
    >>> data = ImageData("dots", black_and_white, torch.tensor([0, 1]), ("0", "1"), (0.5,), (0.5,))
    >>> len(data), data.num_classes
    (2, 2)
    >>> data.normalised(data.scaled(data.images)).flatten().tolist()
    [-1.0, 1.0]
    """

    name: str
    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        where = f"data set {self.name!r}"
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise InputError(
                f"{where}: images are {_described(self.images)}; "
                "give uint8 of shape (n, channels, height, width)"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise InputError(
                f"{where}: labels are {_described(self.labels)}; "
                f"give int64 of shape ({len(self.images)},), one for each image"
            )
        channels = self.images.shape[1]
        if len(self.mean) != channels or len(self.std) != channels or min(self.std) <= 0:
            raise InputError(
                f"{where}: mean {self.mean} and std {self.std} do not suit {channels} channels; "
                "give one of each for a channel, std above zero"
            )
        if len(self.labels):
            lowest, highest = (int(label) for label in torch.aminmax(self.labels))
            if lowest < 0 or highest >= self.num_classes:
                wrong = lowest if lowest < 0 else highest
                raise InputError(
                    f"{where}: label {wrong} is outside 0 to {self.num_classes - 1}; "
                    "every image needs a label that names one of the classes"
                )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def subset(self, count: int, seed: int) -> Self:
        """`count` images drawn at random without replacement, the same for the same seed.

        Raises `InputError` where there are fewer than `count`.
        """
        if not 1 <= count <= len(self):
            raise InputError(
                f"data set {self.name!r}: cannot draw {count} of {len(self)} images; "
                f"ask for 1 to {len(self)}"
            )
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(self), generator=generator)[:count].to(self.images.device)
        return self.part(chosen)

    def at_most(self, count: int, seed: int) -> Self:
        """A `subset` of `count` images, or of all where there are fewer."""
        return self.subset(min(count, len(self)), seed)

    def part(self, places: Tensor | slice) -> Self:
        """The images at some places, with their labels."""
        return replace(self, images=self.images[places], labels=self.labels[places])

    def example(self) -> Tensor:
        """The first two images as a network sees them, enough to discover its symmetry."""
        return self.normalised(self.scaled(self.images[:2]))

    def scaled(self, images: Tensor) -> Tensor:
        """Bytes as float32 in [0, 1], of the same shape."""
        return images.to(torch.float32) / 255

    def normalised(self, images: Tensor) -> Tensor:
        """Float images in [0, 1], (n, channels, height, width), less the mean, over the std."""
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device)
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device)
        return (images - mean[:, None, None]) / std[:, None, None]

    def unnormalised(self) -> Self:
        """The same data with mean 0 and std 1: batches stay in [0, 1], as attacks need them."""
        channels = len(self.mean)
        return replace(self, mean=(0.0,) * channels, std=(1.0,) * channels)

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of shape, pixels and labels."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def to(self, device: str | torch.device) -> Self:
        """The same data with its tensors on `device`."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
