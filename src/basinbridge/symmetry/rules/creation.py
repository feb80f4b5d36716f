"""Operators that make tensors from nothing or from a tensor's shape alone."""

import numpy as np

from ..axes import Axes, Equations
from .call import Call, Result, rule

FREE = 1 << 16


@rule("zeros", "ones", "full", "empty", "scalar_tensor", "new_zeros", "new_ones", "new_full")
@rule("new_empty", "zeros_like", "ones_like", "full_like", "empty_like", "zero", "fill")
def constant(call: Call) -> Result:
    """The same number everywhere may be renumbered at will."""
    return uniform_axes(call.equations, call.shape)


def uniform_axes(equations: Equations, shape: tuple[int, ...]) -> Axes:
    """Axes of equal elements: each may be numbered anew for every position on the others."""
    if int(np.prod(shape)) > FREE:
        return equations.fresh_axes(shape)
    return tuple(equations.fresh(*shape) if size > 1 else None for size in shape)


@rule("rand_like", "randn_like", "new_empty_strided", "bernoulli")
def drawn(call: Call) -> Result:
    """Random numbers have no numbering to keep, but what meets them does not move."""
    return (None,) * len(call.shape)
