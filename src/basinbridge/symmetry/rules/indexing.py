"""Operators that read or write at named positions, which then keep their order."""

from collections.abc import Sequence

import torch

from ..axes import Axes
from .call import Call, Result, Value, mixed, resized, rule, spell, with_dim, without_dim
from .movement import taken


@rule("index_select")
def index_select(call: Call) -> Result:
    """Positions named by an index keep their order, unless it is a constant that tells them."""
    value, dim = call.tensor("self"), call["dim"] % len(call.shape)
    if (known := call.tensor("index").known) is not None:
        return taken(call.equations, value, dim, known.flatten().numpy()).axes
    call.pin(call.tensor("index"), [0])
    return mixed(call, call.pin(value, [dim]), [dim]).axes


@rule("index")
def index(call: Call) -> Result:
    """Indexed dimensions keep their order; the dimensions of the index take their place."""
    value = call.tensor("self")
    indices = list(call["indices"]) + [None] * (len(value.shape) - len(call["indices"]))
    dims = [dim for dim, one in enumerate(indices) if one is not None]
    if dims != list(range(dims[0], dims[0] + len(dims))):
        return None
    known = indices[dims[0]].known
    if len(dims) == 1 and known is not None and known.ndim == 1 and known.dtype != torch.bool:
        places = known.numpy() % value.shape[dims[0]]
        return taken(call.equations, value, dims[0], places).axes
    for dim in dims:
        call.pin(indices[dim], range(len(indices[dim].shape)))
    value = mixed(call, call.pin(value, dims), dims)
    for dim in reversed(dims):
        value = without_dim(Value(resized(value.shape, dim, 1), value.axes), dim)
    for _ in range(len(call.shape) - len(value.shape)):
        value = with_dim(value, dims[0])
    return value.axes


@rule("gather")
def gather(call: Call) -> Result:
    """Positions named by an index keep their order; other dimensions follow it."""
    return _along(call, [call.tensor("self"), call.tensor("index")])


@rule("scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_fill")
def scatter(call: Call) -> Result:
    """What is written at positions named by an index fixes them; other dimensions are alike."""
    names = ("self", "index", "src", "source", "value")
    found = [call[name] for name in names if isinstance(call[name], Value)]
    rank = len(call.shape)
    for value in (value for value in found if len(value.shape) != rank):
        call.pin(value, range(len(value.shape)))
    return _along(call, [value for value in found if len(value.shape) == rank])


def _along(call: Call, values: Sequence[Value]) -> Axes:
    """Fix a dimension of all values; number the others alike, or fix them where sizes differ."""
    rank = len(call.shape)
    dim = call["dim"] % max(rank, 1)
    letters = spell(rank)
    narrow = []
    for value in values:
        odd = [d for d in range(rank) if d == dim or value.shape[d] != call.shape[d]]
        value = mixed(call, call.pin(value, odd), odd)
        narrow.append((Value(resized(value.shape, dim, 1), value.axes), letters))
    return call.contract(narrow, letters)


@rule("slice_scatter", "select_scatter")
def written(call: Call) -> Result:
    """A part is overwritten by another that is numbered alike."""
    value, source = call.tensor("self"), call.tensor("src")
    dim = (call["dim"] or 0) % len(value.shape)
    if call.name == "select_scatter":
        source, start = with_dim(source, dim), call["index"] % value.shape[dim]
        places = slice(start, start + 1)
    else:
        places = slice(call["start"], call["end"], call["step"] or 1)
    part = taken(call.equations, value, dim, places)
    letters = spell(len(value.shape))
    call.contract([(part, letters), (source, letters)], letters)
    return value.axes


@rule("tril", "triu", "diagonal", "diag_embed", "diag")
def triangle(call: Call) -> Result:
    """What depends on where two dimensions cross fixes both."""
    value = call.tensor("self")
    rank = len(value.shape)
    dims = [(-2 if call["dim1"] is None else call["dim1"]) % rank] if rank > 1 else []
    dims.append((-1 if call["dim2"] is None else call["dim2"]) % rank)
    if len(call.shape) == rank and call.name in ("tril", "triu"):
        return mixed(call, call.pin(value, dims), dims).axes
    call.pin(value, range(rank))
    return (None,) * len(call.shape)
