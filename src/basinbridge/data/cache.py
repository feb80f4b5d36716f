"""Decoded data sets on disk: one safetensors file of bytes each, written whole or not at all."""

import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from basinbridge.errors import InputError
from basinbridge.reading import parsed, read_tensors
from basinbridge.state import replacing

_logger = logging.getLogger("basinbridge")


@dataclass(frozen=True, eq=False)
class Decoded:
    """One split as it comes out of the decoder.

    `images` is uint8 (n, channels, height, width), `labels` int64 (n,).
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]


def cache_folder() -> Path:
    """Where decoded data sets are kept: BASINBRIDGE_CACHE, or ~/.cache/basinbridge."""
    chosen = os.environ.get("BASINBRIDGE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "basinbridge"


def cache_file(name: str, split: str, fingerprint: str) -> Path:
    """The file for one split of one state of a data set's source.

    >>> cache_file("owner/some set", "train", "0a1b").name
    'owner-some-set-train-0a1b.safetensors'
    """
    readable = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return cache_folder() / f"{readable}-{split}-{fingerprint}.safetensors"


def read(path: Path) -> Decoded | None:
    """What `write` put at `path`; None where there is no such file or it is damaged."""
    if not path.is_file():
        return None
    try:
        tensors, metadata = read_tensors(path)
        class_names = parsed(metadata["class_names"])
        images, labels = tensors["images"], tensors["labels"]
    except (InputError, KeyError, ValueError) as error:
        _logger.warning("decoding anew: the cached %s is damaged (%s)", path, error)
        return None
    shaped = images.ndim == 4 and labels.shape == images.shape[:1]
    named = isinstance(class_names, list) and all(isinstance(name, str) for name in class_names)
    if not (shaped and named and (images.dtype, labels.dtype) == (torch.uint8, torch.int64)):
        _logger.warning("decoding anew: the cached %s holds something else", path)
        return None
    return Decoded(images, labels, tuple(class_names))


def write(path: Path, decoded: Decoded) -> None:
    """Put `decoded` at `path` in one step, so that no reader ever sees half of it.

    Where the folder cannot be written this is logged as a warning, and no more: a cache only
    saves time.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {"images": decoded.images, "labels": decoded.labels}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, {"class_names": json.dumps(decoded.class_names)})
    except (InputError, SafetensorError) as error:
        _logger.warning("not cached, so decoded again next time: %s", error)
