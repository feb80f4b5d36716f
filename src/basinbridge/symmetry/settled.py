"""What the caller settles beforehand: axes that stay in order, and axes that are numbered alike."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
from torch import Tensor

from ..errors import InputError
from .axes import Axes, Equations

NamedAxis = tuple[str, int]


def settle(
    equations: Equations,
    axes: Mapping[str, Axes],
    state: Mapping[str, Tensor],
    fixed: Sequence[str | NamedAxis],
    tied: Sequence[tuple[NamedAxis, NamedAxis]],
) -> None:
    """Pin the tensors and axes in `fixed`; unite the axes of each pair in `tied`.

    Raises `InputError` for a tensor or dimension that the network does not have, and for two axes
    that cannot be numbered alike.
    """
    for entry in fixed:
        name, dims = (entry, None) if isinstance(entry, str) else (entry[0], entry[1:])
        _check_name(axes, name, "fixed")
        for dim in range(state[name].ndim) if dims is None else dims:
            place = _checked(state, name, dim, "fixed")
            equations.pin(axes[name][place], place, "the caller")
    for pair in tied:
        ends = []
        for name, dim in pair:
            _check_name(axes, name, "tied")
            axis = axes[name][_checked(state, name, dim, "tied")]
            ends.append(np.zeros(1, np.int64) if axis is None else axis.squeeze())
        one, other = ends
        if one.shape != other.shape:
            raise InputError(
                f"tied: {_spelled(*pair[0], one.shape)} and {_spelled(*pair[1], other.shape)} "
                "cannot be numbered alike; tie axes of one size"
            )
        if one.size > 1:
            equations.same.append((one, other))


def _check_name(axes: Mapping[str, Axes], name: str, option: str) -> None:
    if name not in axes:
        near = get_close_matches(name, axes, n=3)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise InputError(f"{option}: the network has no tensor {name!r}{hint}")


def _checked(state: Mapping[str, Tensor], name: str, dim: int, option: str) -> int:
    """A dimension counted from 0, which must be one of the tensor's."""
    rank = state[name].ndim
    if not -rank <= dim < rank:
        raise InputError(
            f"{option}: tensor {name!r} has no dimension {dim}; it has {rank}, counted from 0"
        )
    return dim % rank


def _spelled(name: str, dim: int, shape: tuple[int, ...]) -> str:
    return f"{name}[{dim}] of {' x '.join(map(str, shape))} positions"
