"""Operators that move elements about: slices, parts, rows of parts, copies, shuffles."""

from collections.abc import Sequence

import numpy as np

from ..axes import Atoms, Axis, Equations
from .call import (
    Call,
    Result,
    Value,
    merge_dims,
    mixed,
    normal_dims,
    resized,
    rule,
    spell,
    with_dim,
    without_dim,
)


def taken(equations: Equations, value: Value, dim: int, places: slice | Atoms) -> Value:
    """Take some positions along a dimension; a single one leaves no axis but is told apart."""
    index = (slice(None),) * dim + (places,)
    size = len(np.arange(value.shape[dim])[places])
    axes: list[Axis] = [
        None if axis is None else (axis[index] if axis.shape[dim] > 1 else axis)
        for axis in value.axes
    ]
    if size == 1:
        if (axis := axes[dim]) is not None:
            equations.occurrences.append((axis, dim))
        axes[dim] = None
    return Value(resized(value.shape, dim, size), tuple(axes))


@rule("slice", "narrow")
def slice_(call: Call) -> Result:
    """The atoms that are left."""
    value = call.tensor("self")
    dim = (call["dim"] or 0) % len(value.shape)
    start = call["start"] or 0
    end = call["end"] if call["length"] is None else start + call["length"]
    if value.shape[dim] == call.shape[dim]:
        return value.axes
    if value.axes[dim] is None:
        start, end = 0, call.shape[dim]
    return taken(call.equations, value, dim, slice(start, end, call["step"] or 1)).axes


@rule("select")
def select(call: Call) -> Result:
    """One position along a dimension, which disappears."""
    value = call.tensor("self")
    dim = call["dim"] % len(value.shape)
    return _selected(call.equations, value, dim, call["index"] % value.shape[dim]).axes


def _selected(equations: Equations, value: Value, dim: int, place: int) -> Value:
    return without_dim(taken(equations, value, dim, slice(place, place + 1)), dim)


@rule(
    "split", "split_with_sizes", "chunk", "tensor_split", "unbind", "unsafe_split", "unsafe_chunk"
)
def split(call: Call) -> Result:
    """Consecutive parts; each part's atoms are then told apart from the others'."""
    value = call.tensor("self")
    dim = (call["dim"] or 0) % len(value.shape)
    if call.name == "unbind":
        return [
            _selected(call.equations, value, dim, place).axes for place in range(value.shape[dim])
        ]
    parts, start = [], 0
    for shape in call.shapes:
        parts.append(taken(call.equations, value, dim, slice(start, start + shape[dim])).axes)
        start += shape[dim]
    return list(parts)


@rule("cat", "concat", "concatenate")
def cat(call: Call) -> Result:
    """Parts in a row; all other dimensions are numbered alike."""
    values = [value for value in call["tensors"] if value.shape != (0,)]
    return joined(call, values, (call["dim"] or 0) % len(call.shape)).axes


@rule("stack")
def stack(call: Call) -> Result:
    """Parts in a row along a new dimension."""
    dim = (call["dim"] or 0) % len(call.shape)
    return joined(call, [with_dim(value, dim) for value in call["tensors"]], dim).axes


def joined(call: Call, values: Sequence[Value], dim: int) -> Value:
    """Concatenate values along a dimension, which is free only if some part is free there."""
    letters = spell(len(values[0].shape))
    values = [mixed(call, value, [dim]) for value in values]
    others = call.contract(
        [
            (Value(resized(v.shape, dim, 1), (*v.axes[:dim], None, *v.axes[dim + 1 :])), letters)
            for v in values
        ],
        letters,
    )
    size = sum(value.shape[dim] for value in values)
    own = None
    if any(value.axes[dim] is not None for value in values):
        own = _row(call, values, dim)
    return Value(resized(values[0].shape, dim, size), (*others[:dim], own, *others[dim + 1 :]))


def _row(call: Call, values: Sequence[Value], dim: int) -> Atoms:
    """The atoms of parts in a row; a part that comes twice is told apart by its place."""
    parts: list[Atoms] = []
    for value in values:
        axis = value.axes[dim]
        if axis is None:
            axis = call.equations.fresh(*resized((1,) * len(value.shape), dim, value.shape[dim]))
            if value.shape[dim] > 1:
                call.equations.pin(axis, dim, call.why)
        parts.append(axis)
    if len({part.tobytes() for part in parts}) < len(parts):
        parts = [_told_apart(call.equations, part, dim, why=call.why) for part in parts]
    shape = np.broadcast_shapes(*(resized(part.shape, dim, 1) for part in parts))
    wide = [np.broadcast_to(part, resized(shape, dim, part.shape[dim])) for part in parts]
    return np.concatenate(wide, axis=dim)


def _told_apart(equations: Equations, part: Atoms, dim: int, why: str) -> Atoms:
    """Pair every atom of a part with a label of that part's own."""
    label = equations.fresh(*(1,) * (part.ndim + 1))
    equations.pin(label, dim, why)
    inner = np.expand_dims(part, dim)
    whole = equations.merge(label, inner, dim, (1, part.shape[dim]))
    assert whole is not None
    return whole


@rule("constant_pad_nd", "pad")
def pad(call: Call) -> Result:
    """Constant elements before and after are free atoms; other paddings pin what they pad."""
    value, amounts = call.tensor("self"), list(call["pad"])
    rank = len(value.shape)
    constant = call["mode"] in (None, "constant")
    for place in range(len(amounts) // 2):
        dim = rank - 1 - place
        before, after = amounts[2 * place : 2 * place + 2]
        if before == after == 0 or value.axes[dim] is None:
            continue
        if not constant or before < 0 or after < 0:
            value = call.pin(value, [dim])
            continue
        ends = [
            Value(shape := resized((1,) * rank, dim, size), call.equations.fresh_axes(shape))
            for size in (before, after)
        ]
        wide = [ends[0]] * (before > 0) + [value] + [ends[1]] * (after > 0)
        value = joined(call, wide, dim)
    return value.axes


@rule("expand", "expand_as", "broadcast_to")
def expand(call: Call) -> Result:
    """A dimension of copies may be renumbered at will, anew for every position before it."""
    value = call.tensor("self")
    for _ in range(len(call.shape) - len(value.shape)):
        value = with_dim(value, 0)
    for dim, size in enumerate(call.shape):
        if value.shape[dim] != size:
            value = copied(call.equations, value, dim, size)
    return value.axes


def copied(equations: Equations, value: Value, dim: int, times: int) -> Value:
    """Grow a dimension of size 1 by copies of it, where there is an axis before it."""
    shape = [
        max((axis.shape[place] for axis in value.axes[:dim] if axis is not None), default=1)
        for place in range(dim)
    ]
    own = equations.fresh(*shape, times, *(1,) * (len(value.shape) - dim - 1))
    axes = (*value.axes[:dim], own, *value.axes[dim + 1 :])
    return Value(resized(value.shape, dim, times), axes)


def repeated(equations: Equations, value: Value, dim: int, times: int) -> Value:
    """Every position of a dimension `times` in a row, as in grouped-query attention."""
    value = copied(equations, with_dim(value, dim + 1), dim + 1, times)
    return merge_dims(equations, value, dim)


@rule("repeat_interleave")
def repeat_interleave(call: Call) -> Result:
    """Every position several times in a row."""
    value = call.tensor("self")
    if not isinstance(call["repeats"], int) or call["dim"] is None:
        return None
    dim = call["dim"] % len(value.shape)
    return repeated(call.equations, value, dim, call["repeats"]).axes


@rule("repeat", "tile")
def repeat(call: Call) -> Result:
    """Whole copies of a dimension in a row."""
    value, times = call.tensor("self"), call["repeats"] or call["dims"]
    for _ in range(len(call.shape) - len(value.shape)):
        value = with_dim(value, 0)
    for dim, count in enumerate(tail_of(times, len(call.shape))):
        if count > 1:
            value = copied(call.equations, with_dim(value, dim), dim, count)
            value = merge_dims(call.equations, value, dim)
    return value.axes


def tail_of(times: Sequence[int], rank: int) -> list[int]:
    """The counts for every dimension, 1 where none is given."""
    return [1] * (rank - len(times)) + list(times)


@rule("roll", "flip")
def shifted(call: Call) -> Result:
    """The same atoms in another order."""
    value = call.tensor("self")
    if call["dims"] is None or len(call["dims"]) == 0:
        return None
    for place, dim in enumerate(normal_dims(call["dims"], len(value.shape))):
        order = np.arange(value.shape[dim])
        order = np.flip(order) if call.name == "flip" else np.roll(order, call["shifts"][place])
        if value.axes[dim] is not None:
            value = taken(call.equations, value, dim, order)
    return value.axes
