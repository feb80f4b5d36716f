"""What a result was made with and from, to be written beside it."""

import functools
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ..data.images import ImageData
from ..errors import InputError

PACKAGES = ("basinbridge", "torch", "numpy", "scipy", "safetensors")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


@functools.cache
def commit() -> str | None:
    """The commit of the checkout that this package runs from, None where it is installed.

    A `+` behind it says that files differ from it.
    """
    folder = Path(__file__).parents[3]
    if not (folder / ".git").exists():
        return None
    try:
        said = [
            subprocess.run(
                ["git", "-C", str(folder), *command],
                capture_output=True, text=True, check=True, timeout=10,
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        ]  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return said[0] + ("+" if said[1] else "")


def command() -> str:
    """The command line of this process, for a shell."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def check_same(record: Mapping[str, Any], here: Mapping[str, Any], file: Path) -> None:
    """Raise `InputError` naming the first entry in which a file's making and this work differ.

    Compared are the model, the data set's name and the fingerprint of its training images; what a
    file does not say is not compared, so that states from elsewhere can be used.
    """
    for names in (("model",), ("data", "name"), ("data", "fingerprint", "train")):
        there, now = (_entry(one, names) for one in (record, here))
        if there is not None and there != now:
            raise InputError(
                f"{file}: was made with {' '.join(names)} {there!r}, not {now!r}; "
                "give the same to all commands"
            )


def _entry(record: object, names: Sequence[str]) -> object:
    for name in names:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record


def describe_device(device: torch.device) -> str:
    """The device that computed a result, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def describe_data(train: ImageData, test: ImageData) -> dict[str, Any]:
    """Name, sizes and fingerprints of a data set."""
    return {
        "name": train.name,
        "train": len(train),
        "test": len(test),
        "fingerprint": {"train": train.fingerprint(), "test": test.fingerprint()},
    }
