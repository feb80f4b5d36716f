"""What a result was made with and from, to be written beside it."""

import platform
from importlib import metadata
from typing import Any

import torch

from ..data.batches import ImageData

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
