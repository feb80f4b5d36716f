"""Images out of a Hugging Face data set, from a local folder or the Hub, into one tensor.

The encoded bytes are taken from the Arrow table in blocks and handed to Pillow directly; nearly
all the time, some 6 s for CIFAR-10's 50,000, is Pillow's.
"""

import contextlib
import hashlib
import importlib
import io
import json
import socket
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from basinbridge.data import cache
from basinbridge.data.cache import Decoded
from basinbridge.errors import InputError
from basinbridge.reading import reason

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features
    from PIL.Image import Image

Split: TypeAlias = Literal["train", "test"]

_SPLIT_NAMES = {"train": ("train",), "test": ("test", "valid", "validation")}
_FORMAT = "1"  # raise it when decoding changes, and no older cache file is read again
_BLOCK = 500
MOST_CLASSES = 1_000_000
MOST_PIXELS = 2**24
"""Of one image. A small file may claim to unpack to any number."""
MOST_BYTES = 2**28
"""Of one image as it is encoded."""


@dataclass(frozen=True)
class Source:
    """Where a data set lies: a folder, or a name on the Hub.

    `title` is what messages call it; `label` names the label column where there are several.
    """

    title: str
    place: str
    local: bool
    label: str | None = None


def extra(module: str) -> ModuleType:
    """Import `module`, one of those that only `basinbridge[cli]` brings."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"data sets need the module {module!r}: pip install 'basinbridge[cli]' ({error})"
        ) from error


def decode(source: Source, split: Split) -> Decoded:
    """One split of `source`, from the cache where it is there.

    All images become RGB unless every image of every split is grey. Raises `InputError` where the
    source cannot be read, has no such split, not exactly one image column, no label column, or
    images of several sizes.
    """
    tables = None if source.local else _open(source)
    name = Path(source.place).resolve().name if source.local else source.place
    path = cache.cache_file(name, split, _fingerprint(source, tables))
    decoded = cache.read(path)
    if decoded is None:
        decoded = _decoded(source, split, tables or _open(source))
        cache.write(path, decoded)
    return decoded


def _fingerprint(source: Source, tables: "DatasetDict | None") -> str:
    """16 hexadecimal digits that change when the source's files do."""
    parts: list[object] = [_FORMAT, source.label]
    if source.local:
        folder = Path(source.place).resolve()
        parts.append(str(folder))
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                status = file.stat()
                name = str(file.relative_to(folder))
                parts.append((name, status.st_size, status.st_mtime_ns))
    elif tables is not None:
        parts.append(source.place)
        parts.extend((name, table._fingerprint) for name, table in tables.items())
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _open(source: Source) -> "DatasetDict":
    """The `datasets.DatasetDict` of all splits."""
    datasets = extra("datasets")
    endpoint = extra("huggingface_hub").constants.ENDPOINT
    connected = source.local or _answers(endpoint)
    try:
        with _quiet(datasets), contextlib.nullcontext() if connected else _offline(datasets):
            return datasets.load_dataset(source.place)
    except Exception as error:  # its own, the file systems', Arrow's: all about the source
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if source.local:
            raise InputError(
                f"data set {source.title!r}: cannot read {source.place} ({reason}); "
                "give a folder that datasets.load_dataset reads"
            ) from error
        missing = (
            "not one of digits, cifar10, cifar100, tiny-imagenet, no such folder"
            if source.title == source.place
            else "no folder of that name under a data root (option or BASINBRIDGE_DATA)"
        )
        raise InputError(
            f"data set {source.title!r}: {missing}, and the Hub does not have it "
            f"({source.place}: {reason if connected else f'no connection to {endpoint}'})"
        ) from error


@contextlib.contextmanager
def _quiet(datasets: ModuleType) -> Iterator[None]:
    """No progress bars inside; as they were afterwards."""
    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


@contextlib.contextmanager
def _offline(datasets: ModuleType) -> Iterator[None]:
    """Have `datasets` look in its own cache at once; left to itself it tries for 23 s first."""
    constants = extra("huggingface_hub").constants
    switches = (constants, datasets.config)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch in switches:
        switch.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value


def _answers(endpoint: str, seconds: float = 3.0) -> bool:
    """Whether a connection to `endpoint` can be opened."""
    address = urllib.parse.urlsplit(endpoint)
    if {address.scheme, "all"} & urllib.request.getproxies().keys():
        return True  # the proxy knows; names need not resolve on this side of it
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=seconds).close()
    except OSError:
        return False
    return True


def _decoded(source: Source, split: Split, tables: "DatasetDict") -> Decoded:
    chosen = next((name for name in _SPLIT_NAMES[split] if name in tables), None)
    if chosen is None:
        raise InputError(
            f"data set {source.title!r}: no split {' or '.join(_SPLIT_NAMES[split])}; "
            f"it has {', '.join(tables)}"
        )
    table = tables[chosen]
    image_column = _image_column(source, table.features)
    label_column, class_names = _label_column(source, tables, table.features)
    labels = _labels(source, table, label_column)
    # One answer for all splits; in a colour set the first image settles it.
    grey = all(
        image.mode == "L"
        for part in tables.values()
        for image in _images(source, part, image_column)
    )
    return Decoded(_pixels(source, table, image_column, grey), labels, class_names)


def _image_column(source: Source, features: "Features") -> str:
    kind = extra("datasets").Image
    names: list[str] = [name for name, feature in features.items() if isinstance(feature, kind)]
    if len(names) != 1:
        raise InputError(
            f"data set {source.title!r}: {len(names)} image columns among {', '.join(features)}; "
            "exactly one is needed"
        )
    return names[0]


def _label_column(
    source: Source, tables: "DatasetDict", features: "Features"
) -> tuple[str, tuple[str, ...]]:
    """The label column and the names of its classes; those of integers are their digits."""
    datasets = extra("datasets")
    named = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    whole = [
        name
        for name, kind in features.items()
        if isinstance(kind, datasets.Value) and kind.dtype.removeprefix("u").startswith("int")
    ]
    columns = named or whole
    if not columns:
        raise InputError(
            f"data set {source.title!r}: no label column among {', '.join(features)}; "
            "one of type ClassLabel or integer is needed"
        )
    column = next((name for name in columns if name == source.label), columns[0])
    if named:
        return column, tuple(features[column].names)
    highest = max(int(_labels(source, part, column).max()) for part in tables.values())
    if highest >= MOST_CLASSES:
        raise InputError(
            f"data set {source.title!r}: column {column!r} has the label {highest}; "
            f"labels must be below {MOST_CLASSES:,}"
        )
    return column, tuple(str(label) for label in range(highest + 1))


def _labels(source: Source, table: "Dataset", column: str) -> torch.Tensor:
    labels = table.select_columns([column]).with_format("arrow")[:].column(column).to_pylist()
    if not labels or None in labels:
        raise InputError(
            f"data set {source.title!r}: column {column!r} lacks labels; every image needs one"
        )
    try:
        return torch.tensor(labels, dtype=torch.int64)
    except (OverflowError, RuntimeError, TypeError) as error:
        raise InputError(
            f"data set {source.title!r}: column {column!r} holds no labels ({reason(error)})"
        ) from error


def _images(source: Source, table: "Dataset", column: str) -> Iterator["Image"]:
    """Every image of a split as Pillow opens it: its size and mode are known, not its pixels."""
    pillow = extra("PIL.Image")
    index = 0
    for block in table.select_columns([column]).with_format("arrow").iter(batch_size=_BLOCK):
        for cell in block.column(column).to_pylist():
            with _naming(source, index):
                image = pillow.open(io.BytesIO(_encoded(cell)))
                if image.width * image.height > MOST_PIXELS:
                    raise ValueError(f"it has {image.width}x{image.height} pixels")
            yield image
            index += 1


def _encoded(cell: dict[str, Any]) -> bytes:
    """The bytes of an image, in its row or in a file of moderate size that the row names."""
    if cell["bytes"] is not None:
        return bytes(cell["bytes"])
    file = Path(cell["path"])
    if not file.is_file():
        raise ValueError(f"there is no file {str(file)!r}")
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"{str(file)!r} is larger than {MOST_BYTES >> 20} MiB")
    return file.read_bytes()


@contextlib.contextmanager
def _naming(source: Source, index: int) -> Iterator[None]:
    """Failures to read image `index`, inside, told as such."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about sizes, which are checked here
            yield
    except Exception as error:  # Pillow's readers raise nearly everything
        raise InputError(
            f"data set {source.title!r}: image {index} cannot be read ({reason(error)}); "
            "every row needs a whole image"
        ) from error


def _room(source: Source, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        return np.empty(shape, dtype=np.uint8)
    except (MemoryError, ValueError) as error:
        raise InputError(
            f"data set {source.title!r}: images of {shape} do not fit into memory"
        ) from error


def _pixels(source: Source, table: "Dataset", column: str, grey: bool) -> torch.Tensor:
    """All pixels, uint8 (n, channels, height, width)."""
    mode, channels = ("L", 1) if grey else ("RGB", 3)
    pixels = np.empty(0, dtype=np.uint8)
    size = (0, 0)
    for index, image in enumerate(_images(source, table, column)):
        if index == 0:
            size = image.size
            pixels = _room(source, (len(table), channels, size[1], size[0]))
        if image.size != size:
            raise InputError(
                f"data set {source.title!r}: image {index} is {image.width}x{image.height}, "
                f"image 0 is {size[0]}x{size[1]}; all must have one size"
            )
        with _naming(source, index):
            array = np.asarray(image.convert(mode))
        pixels[index] = array if grey else array.transpose(2, 0, 1)
    return torch.from_numpy(pixels)
