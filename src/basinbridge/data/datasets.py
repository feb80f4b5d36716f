"""Data sets by name: scikit-learn's digits, the paper's, and any that `datasets` reads."""

import difflib
import hashlib
import os
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from basinbridge.data.decode import Source, Split, decode
from basinbridge.data.images import ImageData
from basinbridge.errors import InputError

_DIGITS_TRAINED_ON = 1197


@dataclass(frozen=True)
class _Known:
    """A data set of the paper: its name on the Hub, mean and deviation, and its label column.

    The column is named only where there is more than one to choose from.
    """

    hub: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    label: str | None = None


_CIFAR = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_KNOWN = {
    "cifar10": _Known("uoft-cs/cifar10", *_CIFAR),
    "cifar100": _Known("uoft-cs/cifar100", *_CIFAR, label="fine_label"),
    "tiny-imagenet": _Known("zh-plus/tiny-imagenet", *_IMAGENET),
}


def load(name: str, split: Split, *, root: Path | str | None = None) -> ImageData:
    """The training or the test split of a data set, its images decoded once and then cached.

    `name` is one of:

    - `digits`: 1,797 images of 8x8 pixels that come with scikit-learn, always split into the same
      1,197 and 600;
    - `cifar10`, `cifar100`, `tiny-imagenet`: a folder of that name (`tiny-imagenet-subset` serves
      too) under `root`, or under the environment variable BASINBRIDGE_DATA, else from the Hub;
    - a folder that `datasets.load_dataset` reads;
    - `owner/name`, any other data set on the Hub.

    The last two need one image column and one label column, of type ClassLabel or integer, and
    images of one size. The test split is the first of `test`, `valid`, `validation` there is. Mean
    and std are the paper's for the names it uses, otherwise those of the training split. Decoded
    images are kept under the environment variable BASINBRIDGE_CACHE, or ~/.cache/basinbridge.

    Raises `InputError` for a name that leads nowhere and a data set that cannot be used.
    """
    if split not in ("train", "test"):
        raise InputError(f"split {split!r}: give 'train' or 'test'")
    if name == "digits":
        return _digits(split)
    source = _source(name, root)
    decoded = decode(source, split)
    if name in _KNOWN:
        mean, std = _KNOWN[name].mean, _KNOWN[name].std
    else:
        training = decoded if split == "train" else decode(source, "train")
        mean, std = channel_statistics(training.images)
    title = Path(source.place).resolve().name if source.local else name
    return ImageData(title, decoded.images, decoded.labels, decoded.class_names, mean, std)


def is_local(name: str, root: Path | str | None = None) -> bool:
    """Whether `load` finds a data set without asking the Hub.

    >>> is_local("digits")
    True
    """
    return name == "digits" or _source(name, root).local


def family(name: str) -> str | None:
    """The short name that a data set's name or folder begins with, None where it is another's.

    >>> family("../data/tiny-imagenet-subset"), family("uoft-cs/cifar100"), family("mnist")
    ('tiny-imagenet', 'cifar100', None)
    """
    last = Path(name).name
    return next((short for short in _KNOWN if _belongs(last, short)), None)


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of bytes (n, channels, height, width), over 255.

    Exact, and without a float copy of the images: from each channel's counts of the 256 values.

    >>> channel_statistics(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1))
    ((0.5,), (0.5,))
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in images.unbind(1):
        counts = torch.bincount(channel.flatten(), minlength=256).to(torch.float64)
        shares = counts / counts.sum()
        mean = (shares * values).sum()
        means.append(float(mean))
        deviations.append(float((shares * (values - mean).square()).sum().sqrt()))
    return tuple(means), tuple(deviations)


def _belongs(folder: str, short: str) -> bool:
    """Whether `folder` is `short` with nothing, or a mark and more, behind it: not cifar100."""
    return re.fullmatch(rf"{re.escape(short)}([-_.].*)?", folder, re.IGNORECASE) is not None


def _source(name: str, root: Path | str | None) -> Source:
    chosen = root if root is not None else os.environ.get("BASINBRIDGE_DATA")
    if name in _KNOWN:
        label = _KNOWN[name].label
        folder = _folder_under(Path(chosen), name) if chosen else None
        if folder is not None:
            return Source(name, str(folder), local=True, label=label)
        return Source(name, _KNOWN[name].hub, local=False, label=label)
    if name and Path(name).is_dir():
        return Source(str(Path(name).resolve()), name, local=True)
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name):
        return Source(name, name, local=False)
    names = ["digits", *_KNOWN]
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "give one of those, a folder or owner/name"
    raise InputError(f"data set {name!r}: not one of {', '.join(names)} and no such folder; {hint}")


def _folder_under(root: Path, short: str) -> Path | None:
    """The folder of the data set `short` in `root`, its exact name before a longer one."""
    root = root.expanduser()
    if not root.is_dir():
        raise InputError(f"data root {root}: no such folder; give the one with the data sets in it")
    folders = [entry for entry in root.iterdir() if entry.is_dir() and _belongs(entry.name, short)]
    return min(folders, key=lambda folder: (len(folder.name), folder.name), default=None)


def _digits(split: Split) -> ImageData:
    table = torch.from_numpy(np.loadtxt(_digits_table(), delimiter=","))
    pixels = (table[:, :-1].reshape(-1, 1, 8, 8) / 16 * 255).round().to(torch.uint8)
    labels = table[:, -1].long()
    # By hash: no library's random numbers, so no release of one can change the split.
    order = sorted(range(len(labels)), key=lambda i: hashlib.sha256(str(i).encode()).digest())
    training, test = order[:_DIGITS_TRAINED_ON], order[_DIGITS_TRAINED_ON:]
    mean, std = channel_statistics(pixels[training])
    chosen = training if split == "train" else test
    class_names = tuple(map(str, range(10)))
    return ImageData("digits", pixels[chosen], labels[chosen], class_names, mean, std)


def _digits_table() -> Path:
    """The file that `sklearn.datasets.load_digits` reads: a row for each image, its label last.

    Importing scikit-learn for it would take longer than anything else about this data set.
    """
    try:
        package = distribution("scikit-learn")
    except PackageNotFoundError as error:
        raise InputError("digits come with scikit-learn: pip install 'basinbridge[cli]'") from error
    return Path(str(package.locate_file("sklearn/datasets/data/digits.csv.gz")))
