"""Batches from whole tensors: nothing here happens image by image.

Three kinds of data serve everywhere: an `ImageData`, a pair of tensors `(inputs, labels)`, and any
iterable of such pairs, a `DataLoader` for one.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

from basinbridge.data.images import ImageData
from basinbridge.data.memory import keep_freed_memory
from basinbridge.errors import InputError

Batch: TypeAlias = tuple[Tensor, Tensor]
"""Inputs (n, ...) and their labels (n, ...)."""

Augmentation: TypeAlias = Callable[[Tensor], Tensor]
"""Maps float images (n, channels, height, width) in [0, 1] to new ones of the same shape.

It draws from torch's global generator of the images' device.
"""

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
    tensors = whole_tensors(data)
    if tensors is None:
        return limited(_passed_through(data, device), limit)
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
    tensors = whole_tensors(data)
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
    tensors = whole_tensors(data)
    if tensors is not None:
        count = len(tensors[1])
        return max(1, count // batch_size) if training else -(-count // batch_size)
    if not isinstance(data, Sized):
        return None
    try:
        return len(data)
    except TypeError:  # a DataLoader over a stream has a __len__ that refuses
        return None


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} is {value}; give 1 or more")


def whole_tensors(data: Data) -> Batch | None:
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


def limited(batches: Iterator[Batch], limit: int | None) -> Iterator[Batch]:
    """The first `limit` samples of batches, or all; no batch beyond them is asked for."""
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
