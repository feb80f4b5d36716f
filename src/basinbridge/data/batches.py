"""Batches from whole tensors: nothing here happens image by image.

Three kinds of data serve everywhere: an `ImageData`, a pair of tensors `(inputs, labels)`, and any
iterable of such pairs, a `DataLoader` for one.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import torch
from torch import Tensor

from basinbridge.data.memory import keep_freed_memory
from basinbridge.errors import InputError

Batch: TypeAlias = tuple[Tensor, Tensor]
"""Inputs (n, ...) and their labels (n, ...)."""

Augmentation: TypeAlias = Callable[[Tensor], Tensor]
"""Maps float images (n, channels, height, width) in [0, 1] to new ones of the same shape.

It draws from torch's global generator of the images' device.
"""


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


Data: TypeAlias = ImageData | tuple[Tensor, Tensor] | Iterable[Batch]
"""What every function that needs data takes."""


def evaluation_batches(
    data: Data,
    batch_size: int,
    *,
    device: str | torch.device = "cpu",
    limit: int | None = None,
) -> Iterator[Batch]:
    """All of `data` in its own order on `device`, or the first `limit` samples of it.

    An `ImageData` gives normalised float32 images, a pair is sliced, another iterable keeps its
    own batches. Of the first two kinds every batch holds `batch_size` samples but the last, which
    may hold fewer. Raises `InputError` where there is not one sample or a batch is no pair of
    tensors.

    >>> inputs, labels = torch.zeros(5, 3), torch.zeros(5)
    >>> [len(batch) for batch, _ in evaluation_batches((inputs, labels), 2, limit=3)]
    [2, 1]
    """
    _check_positive("batch_size", batch_size)
    if limit is not None:
        _check_positive("limit", limit)
    keep_freed_memory()
    tensors = _whole_tensors(data)
    if tensors is None:
        return _limited(_passed_through(data, device), limit)
    return _slices(data, tensors, batch_size, device, limit)


def training_batches(
    data: Data,
    batch_size: int,
    *,
    generator: torch.Generator,
    device: str | torch.device = "cpu",
    augmentation: Augmentation | None = None,
) -> Iterator[Batch]:
    """One epoch of `data` on `device`, shuffled and augmented anew with each call.

    Every random choice, those inside `augmentation` included, follows from `generator`, a
    generator of the CPU; torch's global one is left as it was. An `ImageData` is augmented in
    [0, 1], then normalised; a pair of tensors is augmented as it is, and so is an iterable, which
    keeps its own batches and order. Raises `InputError` as `evaluation_batches` does.

    What is left over after the last whole batch is dropped: the next epoch's shuffle deals it in
    again, while batch norm's statistics over a handful of samples would be noise. Data smaller
    than one batch make one batch.

    >>> pair = torch.arange(5.0), torch.arange(5)
    >>> generator = torch.Generator().manual_seed(0)
    >>> [len(labels) for _, labels in training_batches(pair, 2, generator=generator)]
    [2, 2]
    """
    _check_positive("batch_size", batch_size)
    keep_freed_memory()
    tensors = _whole_tensors(data)
    if tensors is not None:
        return _shuffled(data, tensors, batch_size, generator, device, augmentation)
    passed = _passed_through(data, device)
    return ((_augmented(inputs, augmentation, generator), labels) for inputs, labels in passed)


def count_batches(data: Data, batch_size: int, *, training: bool = False) -> int | None:
    """How many batches an epoch of evaluation, or of training, has; None where `data` won't say.

    >>> pair = torch.zeros(5, 3), torch.zeros(5)
    >>> count_batches(pair, 2), count_batches(pair, 2, training=True), count_batches(iter([]), 2)
    (3, 2, None)
    """
    _check_positive("batch_size", batch_size)
    tensors = _whole_tensors(data)
    if tensors is not None:
        count = len(tensors[1])
        return max(1, count // batch_size) if training else -(-count // batch_size)
    if not isinstance(data, Sized):
        return None
    try:
        return len(data)
    except TypeError:  # a DataLoader over a stream has a __len__ that refuses
        return None


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} is {value}; give 1 or more")


def _whole_tensors(data: Data) -> Batch | None:
    """The two tensors of an `ImageData` or of a pair, checked; None for an iterable of batches."""
    if isinstance(data, ImageData):
        tensors = (data.images, data.labels)
    elif (
        isinstance(data, tuple | list)
        and len(data) == 2
        and all(isinstance(part, Tensor) for part in data)
    ):
        tensors = _checked(data, "the data")
    elif isinstance(data, Iterable):
        return None
    else:
        raise InputError(
            f"the data is of type {type(data).__name__}; "
            "give a pair of tensors (inputs, labels) or an iterable, a DataLoader for one, of such"
        )
    if len(tensors[1]) == 0:
        raise InputError("the data is empty; give at least one sample")
    return tensors


def _checked(pair: object, where: str) -> Batch:
    if (
        not isinstance(pair, tuple | list)
        or len(pair) != 2
        or not all(isinstance(part, Tensor) and part.ndim > 0 for part in pair)
    ):
        raise InputError(
            f"{where} is of type {type(pair).__name__}, not a pair of tensors (inputs, labels); "
            "give such a pair or an iterable, a DataLoader for one, of such batches"
        )
    inputs, labels = pair
    if len(inputs) != len(labels):
        raise InputError(
            f"{where} has {len(inputs)} inputs but {len(labels)} labels; give one label for each"
        )
    return inputs, labels


def _passed_through(data: Data, device: str | torch.device) -> Iterator[Batch]:
    assert isinstance(data, Iterable)
    samples = 0
    for index, batch in enumerate(data):
        inputs, labels = _checked(batch, f"batch {index} of the data")
        samples += len(labels)
        if len(labels):
            yield inputs.to(device), labels.to(device)
    if samples == 0:
        raise InputError(
            "the data is empty: not one sample came; "
            "give a list or a DataLoader, as an iterator that was read once has no more"
        )


def _limited(batches: Iterator[Batch], limit: int | None) -> Iterator[Batch]:
    remaining = limit
    for inputs, labels in batches:
        yield inputs[:remaining], labels[:remaining]
        if remaining is not None:
            remaining -= len(labels)
            if remaining <= 0:  # before asking for a batch that nobody wants
                return


def _slices(
    data: Data, tensors: Batch, batch_size: int, device: str | torch.device, limit: int | None
) -> Iterator[Batch]:
    inputs, labels = tensors
    stop = len(labels) if limit is None else min(limit, len(labels))
    for start in range(0, stop, batch_size):
        part = slice(start, min(start + batch_size, stop))
        batch = inputs[part].to(device)
        if isinstance(data, ImageData):
            batch = data.normalised(data.scaled(batch))
        yield batch, labels[part].to(device)


def _shuffled(
    data: Data,
    tensors: Batch,
    batch_size: int,
    generator: torch.Generator,
    device: str | torch.device,
    augmentation: Augmentation | None,
) -> Iterator[Batch]:
    inputs, labels = tensors
    order = torch.randperm(len(labels), generator=generator)
    parts = torch.split(order, batch_size)
    for part in itertools.islice(parts, max(1, len(labels) // batch_size)):
        # Pixels travel as bytes and become floats where they are used.
        batch = inputs[part.to(inputs.device)].to(device)
        if isinstance(data, ImageData):
            batch = data.normalised(_augmented(data.scaled(batch), augmentation, generator))
        else:
            batch = _augmented(batch, augmentation, generator)
        yield batch, labels[part.to(labels.device)].to(device)


def _augmented(
    inputs: Tensor, augmentation: Augmentation | None, generator: torch.Generator
) -> Tensor:
    if augmentation is None:
        return inputs
    seed = int(torch.randint(2**63 - 1, (1,), generator=generator))
    with global_seed(seed, inputs.device):
        return augmentation(inputs)


@contextmanager
def global_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators of the CPU and of `device` seeded, and put back afterwards."""
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        # Not torch.manual_seed, which would reseed every other device and not put it back.
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
