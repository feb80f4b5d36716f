"""Operators that change the shape of a tensor and keep its elements in order."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .call import (
    Call,
    Result,
    Value,
    merge_dims,
    normal_dims,
    reduced,
    rule,
    split_dim,
    with_dim,
    with_fixed_dims,
    without_dim,
)


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_as", "reshape_as")
def view(call: Call) -> Result:
    """Refine both shapes to common factors: split the input's dimensions, merge the result's."""
    value = call.tensor("self")
    factors = common_factors(value.shape, call.shape)
    if factors is None:
        call.pin(value, range(len(value.shape)))
        return (None,) * len(call.shape)
    dim = 0
    for size in (size for size in value.shape if size != 1):
        while value.shape[dim] == 1:
            value = without_dim(value, dim)
        remaining = size
        while remaining > 1:
            factor = factors[dim]
            if factor < remaining:
                value = split_dim(call.equations, value, dim, (factor, remaining // factor))
            remaining //= factor
            dim += 1
    while len(value.shape) > len(factors):
        value = without_dim(value, len(factors))
    for dim, size in enumerate(call.shape):
        if size == 1:
            value = with_dim(value, dim)
            continue
        end = dim
        while int(np.prod(value.shape[dim : end + 1])) < size:
            end += 1
        for place in range(end - 1, dim - 1, -1):
            value = merge_dims(call.equations, value, place)
    return value.axes


def common_factors(shape: Sequence[int], other: Sequence[int]) -> list[int] | None:
    """The coarsest sizes of which both shapes are made, in order; None where they cross.

    >>> common_factors((2, 12, 64), (24, 8, 8)), common_factors((4, 6), (6, 4))
    ([2, 12, 8, 8], None)
    """
    marks = sorted({int(mark) for one in (shape, other) for mark in np.cumprod([1, *one])})
    steps = list(pairwise(marks))
    return (
        None if any(end % start for start, end in steps) else [end // start for start, end in steps]
    )


@rule("squeeze", "unsqueeze", "squeeze_dims")
def singletons(call: Call) -> Result:
    """Dimensions of size 1 come and go."""
    return view(call)


@rule("permute", "transpose", "t", "numpy_T", "swapaxes", "swapdims", "mT", "adjoint")
def permute(call: Call) -> Result:
    """Reorder dimensions."""
    value = call.tensor("self")
    rank = len(value.shape)
    order = list(range(rank))
    if call["dims"] is not None:
        order = normal_dims(call["dims"], rank)
    elif call["dim0"] is not None:
        one, other = call["dim0"] % rank, call["dim1"] % rank
        order[one], order[other] = order[other], order[one]
    elif rank > 1:
        order[-2:] = reversed(order[-2:])
    return permuted(value, order).axes


@rule("movedim", "moveaxis")
def movedim(call: Call) -> Result:
    """Some dimensions go elsewhere; the others fill the places left."""
    value = call.tensor("self")
    rank = len(value.shape)
    source = normal_dims(call["source"], rank)
    goal = dict(zip(normal_dims(call["destination"], rank), source, strict=True))
    rest = iter(dim for dim in range(rank) if dim not in source)
    order = [goal[dim] if dim in goal else next(rest) for dim in range(rank)]
    return permuted(value, order).axes


@rule("view_as_complex")
def view_as_complex(call: Call) -> Result:
    """Real and imaginary part, a last dimension of 2 in fixed order, become one number."""
    value = call.tensor("self")
    last = len(value.shape) - 1
    return reduced(call, call.pin(value, [last]), [last], keep=False)


@rule("view_as_real")
def view_as_real(call: Call) -> Result:
    """One number becomes two of fixed order."""
    return with_fixed_dims(call.tensor("self").axes, 1)


def permuted(value: Value, order: Sequence[int]) -> Value:
    """A value with its dimensions in another order."""
    axes = (value.axes[dim] for dim in order)
    return Value(
        tuple(value.shape[dim] for dim in order),
        tuple(None if axis is None else axis.transpose(order) for axis in axes),
    )
