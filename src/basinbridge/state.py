"""A network as named tensors or as one flat vector, and its files.

A *state* is what `module.state_dict()` returns: parameters and buffers by name. Curves work on
*vectors*: all floating-point tensors of a state laid end to end, parameters first.
"""

import copy
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from .errors import InputError
from .reading import PICKLES, read_pickle, read_tensors, short

State = dict[str, Tensor]
_UNFINISHED = ".unfinished"


def state_of(network: nn.Module) -> State:
    """A copy of all parameters and persistent buffers of a network."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def with_state(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a network that holds the given state; the network itself is left as it is."""
    twin = copy.deepcopy(network)
    check_states(network.state_dict(), state, "the network", "the state", types=False)
    twin.load_state_dict(dict(state))
    return twin


@contextmanager
def mode(network: nn.Module, training: bool) -> Iterator[None]:
    """Put a network into training or evaluation mode and every module back afterwards."""
    before = {module: module.training for module in network.modules()}
    network.train(training)
    try:
        yield
    finally:
        for module, was_training in before.items():
            module.training = was_training


def check_states(
    one: Mapping[str, Tensor],
    other: Mapping[str, Tensor],
    one_name: str,
    other_name: str,
    *,
    types: bool = True,
) -> None:
    """Raise `InputError` naming the first tensor in which two states differ.

    They may differ in name, in shape and, if `types` matter, in the type of numbers.
    """
    for name, tensor in one.items():
        if name not in other:
            raise InputError(f"{other_name} has no tensor {short(name)}, which {one_name} has")
        if tensor.shape != other[name].shape:
            raise InputError(
                f"tensor {name!r} is {list(tensor.shape)} in {one_name} "
                f"but {list(other[name].shape)} in {other_name}: another architecture"
            )
        if types and tensor.dtype != other[name].dtype:
            raise InputError(
                f"tensor {name!r} is {_type_of(tensor)} in {one_name} "
                f"but {_type_of(other[name])} in {other_name}; convert one of them"
            )
    extra = next((name for name in other if name not in one), None)
    if extra is not None:
        raise InputError(f"{one_name} has no tensor {short(extra)}, which {other_name} has")


def _type_of(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Layout:
    """Where the tensors of a network stand in its vector: parameters first, then float buffers.

    Integer buffers (such as batch norm's counter) are not part of the vector.
    """

    shapes: dict[str, torch.Size]
    parameters: int

    @classmethod
    def of(cls, network: nn.Module) -> "Layout":
        """The layout of a network; a tensor used under two names stands once.

        Raises `InputError` if the tensors are of several types, which no one vector can hold.
        """
        tensors: State = dict(network.named_parameters())
        parameters = sum(tensor.numel() for tensor in tensors.values())
        persistent = network.state_dict()
        for name, tensor in network.named_buffers():
            if name in persistent and tensor.is_floating_point():
                tensors[name] = tensor
        first = next(iter(tensors), "")
        for name, tensor in tensors.items():
            if tensor.dtype != tensors[first].dtype:
                raise InputError(
                    f"tensor {name!r} is {_type_of(tensor)} but {first!r} is "
                    f"{_type_of(tensors[first])}; convert the network to one type"
                )
        return cls({name: tensor.shape for name, tensor in tensors.items()}, parameters)

    @property
    def size(self) -> int:
        """Length of a vector."""
        return sum(shape.numel() for shape in self.shapes.values())

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Lay the tensors of a state end to end."""
        return torch.cat([tensors[name].detach().reshape(-1) for name in self.shapes])

    def views(self, vector: Tensor) -> State:
        """The tensors of a vector by name, as views into it."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = torch.split(vector[: sum(sizes)], sizes)
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


def bind(network: nn.Module, vector: Tensor) -> None:
    """Make a network's parameters and float buffers views into `vector`.

    Writing into `vector` then changes the network. The network is changed: give a copy.
    """
    views = Layout.of(network).views(vector)
    for name, parameter in network.named_parameters():
        parameter.data = views[name]
    for name, buffer in network.named_buffers():
        if name in views:
            buffer.data = views[name]


def take_gradient(network: nn.Module, gradient: Tensor) -> None:
    """Lay the gradients of a network's parameters end to end, and take them off the network.

    Parameters that have none get zeros. A backward pass into views of `gradient` would have to add
    to what stands there, which takes longer than to copy what it makes.
    """
    parts = []
    for parameter in network.parameters():
        own = parameter.grad
        parts.append(parameter.new_zeros(parameter.numel()) if own is None else own.reshape(-1))
        parameter.grad = None
    torch.cat(parts, out=gradient)


def save_state(state: Mapping[str, Tensor], path: Path | str, **metadata: str) -> None:
    """Write a state as safetensors, whole or not at all; `metadata` goes into the file's header."""
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt", **metadata})
        except SafetensorError as error:
            raise InputError(f"{path}: cannot be written ({error})") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to a temporary file beside `path`, flush it to the disk, and only then rename it.

    The file stands in a hidden folder of its own, since libraries that write files leave pieces
    beside them when they are killed. What killed writers of `path` left behind an hour ago or
    longer is removed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*{_UNFINISHED}"):
            if time.time() - left.stat().st_mtime > 3600:
                shutil.rmtree(left, ignore_errors=True)
        folder = tempfile.mkdtemp(_UNFINISHED, f".{path.name}.", path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    temporary = Path(folder) / path.name
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _flush_folder(folder: Path) -> None:
    """Make a renaming in a folder outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_state(path: Path | str) -> State:
    """Read a state from a `.safetensors` file or from a `.pt`/`.pth` state dict.

    Pickles are read with `weights_only=True`, so that a file cannot run code. Raises `InputError`
    for a file that is missing, truncated or not a state, or that holds a NaN or an infinity.
    """
    path = Path(path)
    state = read_pickle(path) if path.suffix in PICKLES else read_tensors(path)[0]
    check_finite(state, str(path))
    return state


def check_finite(state: Mapping[str, Tensor], owner: str) -> None:
    """Raise `InputError` naming the first tensor that holds a NaN or an infinity."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{owner}: tensor {short(name)} holds a NaN or an infinity")
