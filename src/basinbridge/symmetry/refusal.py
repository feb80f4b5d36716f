"""What to say, in one line, of a network or an example that discovery cannot work with."""

import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import InputError, SymmetryError
from ..state import mode


def check_input(network: object, example: object) -> None:
    """Raise `InputError` unless there is a network, and an example that holds some numbers."""
    if not isinstance(network, nn.Module):
        raise InputError(f"the network is a {type(network).__name__}; give a torch.nn.Module")
    if not any(isinstance(leaf, Tensor) and leaf.numel() for leaf in tree_leaves(example)):
        raise InputError(
            f"the example for {type(network).__name__} holds no numbers; give a batch of inputs, a "
            "tuple of positional arguments, or a dict of named ones"
        )


def refusal(
    network: nn.Module, arguments: tuple[object, ...], named: dict[str, object], error: Exception
) -> InputError:
    """Why a network could not be traced: the example does not suit it, or a step of its code."""
    kind = type(network).__name__
    try:
        with mode(network, False), torch.no_grad():
            network(*arguments, **named)
    except Exception as own:
        shapes = [list(leaf.shape) for leaf in tree_leaves((arguments, named)) if _is_tensor(leaf)]
        given = ", ".join(map(str, shapes))
        return InputError(
            f"{kind} does not accept the example of shape {given}: {_said(own)}"
            f"{_place(network, own)}; give inputs as the network reads them"
        )
    said = _said(error)
    remedy = "write it with tensor operators, or discover a part of the network without it"
    if "data-dependent" in said:
        remedy = "the way taken depends on values: use torch.where, or discover a part without it"
    return SymmetryError(f"{kind} cannot be traced: {said}{_place(network, error)}; {remedy}")


def _is_tensor(leaf: object) -> bool:
    return isinstance(leaf, Tensor)


def _said(error: Exception) -> str:
    """The first line of an error's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def _place(network: nn.Module, error: Exception) -> str:
    """The innermost module and line of the user's code that an error passed through."""
    library = str(Path(torch.__file__).parent)
    own = str(Path(__file__).parent)
    module, line = "", ""
    names = {id(part): name for name, part in network.named_modules()}
    for frame, number in _frames(error):
        name = names.get(id(frame.f_locals.get("self")))
        if name is not None:
            module = (
                f" in module {name!r} ({type(frame.f_locals['self']).__name__})" if name else ""
            )
        file = frame.f_code.co_filename
        if name is not None and not file.startswith((library, own, "<")):
            line = f" at {file}:{number}"
    return module + line


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """All frames that an error passed through, the outermost first; its cause's behind its own."""
    yield from traceback.walk_tb(error.__traceback__)
    before = error.__cause__ or error.__context__
    if before is not None:
        yield from _frames(before)
