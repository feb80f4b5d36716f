"""Operators between channels and space: shuffles, patches, windows."""

import numpy as np

from ..axes import Axes
from .call import (
    Call,
    Result,
    Value,
    merge_dims,
    mixed,
    reduced,
    resized,
    rule,
    split_dim,
    with_dim,
    with_fixed_dims,
)
from .shape import permuted


@rule("channel_shuffle")
def channel_shuffle(call: Call) -> Result:
    """Channels as a matrix of groups and members, transposed."""
    value, groups = call.tensor("self"), int(call["groups"])
    value = split_dim(call.equations, value, 1, (groups, value.shape[1] // groups))
    order = [0, 2, 1, *range(3, len(value.shape))]
    return merge_dims(call.equations, permuted(value, order), 1).axes


@rule("pixel_shuffle")
def pixel_shuffle(call: Call) -> Result:
    """Channels to space: what becomes space keeps its order."""
    value, factor = call.tensor("self"), int(call["upscale_factor"])
    dim = len(value.shape) - 3
    value = split_dim(call.equations, value, dim, (value.shape[dim] // factor**2, factor**2))
    lost = [dim + 1, dim + 2, dim + 3]
    kept = reduced(call, call.pin(value, lost), lost, keep=False)
    return with_fixed_dims(kept, 2)


@rule("pixel_unshuffle")
def pixel_unshuffle(call: Call) -> Result:
    """Space to channels: each channel becomes several of fixed order."""
    value, factor = call.tensor("self"), int(call["downscale_factor"])
    dim = len(value.shape) - 3
    kept = reduced(call, call.pin(value, [dim + 1, dim + 2]), [dim + 1, dim + 2], keep=False)
    return with_fixed_dims(_times(call, Value(value.shape[: dim + 1], kept), dim, factor**2), 2)


def _times(call: Call, value: Value, dim: int, count: int) -> Axes:
    """Every position of a dimension becomes `count` of fixed order."""
    grown = with_dim(value, dim + 1)
    wide = Value(resized(grown.shape, dim + 1, count), grown.axes)
    return merge_dims(call.equations, wide, dim).axes


@rule("im2col")
def im2col(call: Call) -> Result:
    """Patches as columns: a channel becomes a row for each place of the kernel."""
    value = call.tensor("self")
    kept = reduced(call, call.pin(value, [2, 3]), [2, 3], keep=False)
    size = int(np.prod(call["kernel_size"]))
    return with_fixed_dims(_times(call, Value(value.shape[:2], kept), 1, size), 1)


@rule("unfold")
def unfold(call: Call) -> Result:
    """Windows along a dimension, whose order is then fixed, in a new last dimension."""
    value = call.tensor("self")
    dim = call["dimension"] % len(value.shape)
    return with_fixed_dims(mixed(call, call.pin(value, [dim]), [dim]).axes, 1)
