"""Files from strangers: tensors and JSON, read without trusting anything in them.

Whatever is wrong with a file becomes one `InputError` that names it. Nothing in a file is run, and
reading takes no more memory than a small multiple of the file's size.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import InputError

TYPES = frozenset(
    {torch.float64, torch.float32, torch.float16, torch.bfloat16}
    | {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}
)
"""The types of numbers that a network's tensors may have."""
MOST_JSON = 2**27
MOST_DEPTH = 100
PICKLES = (".pt", ".pth", ".bin", ".ckpt")


def reason(error: BaseException) -> str:
    """What an error says, in a line of moderate length."""
    lines = str(error).split("\n")
    text = next((" ".join(line.split()) for line in lines if line.strip()), type(error).__name__)
    return text if len(text) <= 200 else f"{text[:197]}..."


def short(value: object) -> str:
    """A value in a message: its Python text, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@contextmanager
def blaming(path: Path, advice: str) -> Iterator[None]:
    """Entries that are missing or are of other kinds, inside, are told as damage of a file."""
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise InputError(f"{path}: is damaged ({reason(error)}); {advice}") from error


def parsed(text: str) -> Any:  # noqa: ANN401 - any value of JSON
    """A value of JSON; raises `ValueError` if it is none, or nested deeper than any of ours."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, list | dict)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def read_json(path: Path, advice: str) -> Any:  # noqa: ANN401 - any value of JSON
    """The value in a JSON file. Raises `InputError`, ending with the advice, if there is none."""
    try:
        if path.stat().st_size > MOST_JSON:
            raise InputError(f"{path}: is larger than {MOST_JSON >> 20} MiB; {advice}")
        return parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); {advice}") from None
    except ValueError as error:
        raise InputError(f"{path}: is not valid JSON ({reason(error)}); {advice}") from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file by name, and the metadata of its header.

    Raises `InputError` for a file that is missing or not whole, or has numbers of unusual types.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata() or {})
    _check_tensors(path, tensors)
    return tensors, metadata


def read_names(path: Path) -> set[str]:
    """The names of a file's tensors; of a safetensors file nothing but the header is read.

    Raises `InputError` for a file that is missing, or whose header or pickle cannot be read.
    """
    if path.suffix in PICKLES:
        return set(read_pickle(path))
    with _opened(path) as file:
        return set(file.keys())


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file; what goes wrong in reading it is told by its name."""
    if not path.is_file():
        raise InputError(f"{path}: {_absence(path)}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError, TypeError, LookupError, RuntimeError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({reason(error)})") from error


def _absence(path: Path) -> str:
    """Why a path is no file."""
    return "is a folder; give a file" if path.is_dir() else "no such file"


def read_record(path: Path) -> dict[str, Any]:
    """What a command noted in a file's header about its making; empty where there is nothing.

    Of the entries that are read later, those of another kind than they should be are left out.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return record_in(dict(file.metadata() or {}))
    except (SafetensorError, OSError, ValueError):
        return {}


def record_in(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The record in a header; raises `ValueError` if it is none."""
    record = parsed(metadata.get("record", "{}"))
    if not isinstance(record, dict):
        raise ValueError("its record is no object")
    kinds: dict[str, type | tuple[type, ...]] = {
        "start": dict,
        "end": dict,
        "match": dict,
        "seconds": (int, float),
    }
    for inner in (record, *(one for one in record.values() if isinstance(one, dict))):
        for name, kind in kinds.items():
            if inner.get(name) is not None and not isinstance(inner[name], kind):
                raise ValueError(f"entry {name!r} of its record is a {type(inner[name]).__name__}")
    return record


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pt` state dict, or of one under `state_dict`.

    Only what `weights_only=True` admits is unpickled, so no code is run. Files that pack more data
    than they hold are refused: packed entries, and tensors larger than their storage.
    """
    if not path.is_file():
        raise InputError(f"{path}: {_absence(path)}")
    try:
        _check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises nearly everything
        why = f"{path}: not a state dict that is safe to read ({reason(error)})"
        raise InputError(why) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise InputError(f"{path}: not a state dict (named tensors)")
    tensors = {name: tensor.detach() for name, tensor in content.items()}
    _check_tensors(path, tensors)
    return tensors


def _check_archive(path: Path) -> None:
    """Raise `ValueError` if an archive claims more than it has; torch never packs its entries."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("an entry of the archive is packed")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("its entries are larger than the archive")


def _check_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise `InputError` naming the first tensor that is not plain numbers in memory."""
    for name, tensor in tensors.items():
        where = f"{path}: tensor {short(name)}"
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_nested:
            raise InputError(f"{where} is not an ordinary one (dense, on the CPU)")
        if tensor.dtype not in TYPES:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{where} is {kind}; give floats, integers or truth values")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise InputError(f"{where} claims {tensor.numel()} numbers, more than the file holds")
