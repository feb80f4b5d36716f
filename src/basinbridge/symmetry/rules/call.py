"""The language of the rules: a value with axes, a call, and how axes are contracted or reshaped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ..axes import Axes, Axis, Equations

Result = Axes | list[Axes | None] | None


@dataclass(frozen=True)
class Value:
    """A tensor met on the way through the graph: its shape, its axes, and its numbers if known."""

    shape: tuple[int, ...]
    axes: Axes
    known: Tensor | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Call:
    """One operator call: its arguments by name, its results' shapes, and which results are used."""

    equations: Equations
    arguments: dict[str, Any]
    shapes: list[tuple[int, ...]]
    name: str
    place: str
    used: frozenset[int] = frozenset()

    @property
    def why(self) -> str:
        """The operator and the module that it came from, for messages."""
        return f"{self.name} in {self.place}" if self.place else self.name

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - arguments are of any type
        return self.arguments.get(name)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first result."""
        return self.shapes[0]

    def contract(self, operands: Sequence[tuple[Value, str]], result: str) -> Axes:
        """Number equal letters alike; forget what depends on letters missing from the result.

        As in Einstein's notation, a letter that the result lacks is summed over, which any
        renumbering allows. A dimension of size 1 broadcasts and says nothing.
        """
        letters = sorted({letter for _, spelling in operands for letter in spelling})
        found: dict[str, Axis] = {}
        met: set[str] = set()
        for value, spelling in operands:
            for dim, letter in enumerate(spelling):
                if value.shape[dim] == 1:
                    continue
                axis = _respelled(value.axes[dim], spelling, letters)
                place = letters.index(letter)
                found[letter] = (
                    self.equations.unite(found[letter], axis, place, self.why)
                    if letter in met
                    else axis
                )
                met.add(letter)
        lost = [place for place, letter in enumerate(letters) if letter not in result]
        return tuple(
            _reordered(self.equations.independent(found.get(letter), lost), letters, result)
            for letter in result
        )

    def pin(self, value: Value, dims: Sequence[int]) -> Value:
        """Pin some dimensions of a value, which then has no axis there."""
        axes = list(value.axes)
        for dim in dims:
            self.equations.pin(axes[dim], dim, self.why)
            axes[dim] = None
        return Value(value.shape, tuple(axes))

    def tensor(self, name: str) -> Value:
        """The argument of that name, a tensor."""
        value = self.arguments[name]
        assert isinstance(value, Value)
        return value


Rule = Callable[[Call], Result]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Name the operators that a function speaks for."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def _respelled(axis: Axis, spelling: str, letters: Sequence[str]) -> Axis:
    """Give an axis of a tensor spelled so the dimensions of all letters."""
    if axis is None:
        return None
    order = sorted(range(len(spelling)), key=lambda dim: letters.index(spelling[dim]))
    sizes = dict(zip(spelling, axis.shape, strict=True))
    return axis.transpose(order).reshape([sizes.get(letter, 1) for letter in letters])


def _reordered(axis: Axis, letters: Sequence[str], result: str) -> Axis:
    """From the dimensions of all letters to those of the result."""
    if axis is None:
        return None
    kept = [letter for letter in letters if letter in result]
    axis = axis.reshape([axis.shape[letters.index(letter)] for letter in kept])
    return axis.transpose([kept.index(letter) for letter in result])


def spell(count: int, skip: str = "") -> str:
    """That many letters of the alphabet, without those of `skip`."""
    alphabet = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    alphabet += [chr(code) for code in range(ord("A"), ord("Z") + 1)]
    return "".join([letter for letter in alphabet if letter not in skip][:count])


def tail(letters: str, count: int) -> str:
    """The last `count` letters."""
    return letters[len(letters) - count :]


def normal_dims(dims: int | Sequence[int] | None, count: int) -> list[int]:
    """Dimensions as a list of numbers from 0; all of them where none are named."""
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return list(range(count))
    return [dim % max(count, 1) for dim in ([dims] if isinstance(dims, int) else dims)]


def resized(shape: Sequence[int], dim: int, size: int) -> tuple[int, ...]:
    """The shape with another size at one dimension."""
    return (*shape[:dim], size, *shape[dim + 1 :])


def mixed(call: Call, value: Value, dims: Sequence[int]) -> Value:
    """The operator sums over `dims` inside, so no other axis may depend on them."""
    axes = tuple(
        axis if dim in dims else call.equations.independent(axis, dims)
        for dim, axis in enumerate(value.axes)
    )
    return Value(value.shape, axes)


def reduced(call: Call, value: Value, dims: Sequence[int], keep: bool) -> Axes:
    """Sum (or maximise, average) over dimensions: whatever depended on them no longer does."""
    value = mixed(call, value, dims)
    if keep:
        return tuple(None if dim in dims else axis for dim, axis in enumerate(value.axes))
    kept = [dim for dim in range(len(value.shape)) if dim not in dims]
    return tuple(
        None if (axis := value.axes[dim]) is None else axis.reshape([axis.shape[k] for k in kept])
        for dim in kept
    )


def with_dim(value: Value, dim: int) -> Value:
    """Insert a dimension of size 1."""
    grown = [None if axis is None else np.expand_dims(axis, dim) for axis in value.axes]
    return Value((*value.shape[:dim], 1, *value.shape[dim:]), (*grown[:dim], None, *grown[dim:]))


def without_dim(value: Value, dim: int) -> Value:
    """Remove a dimension of size 1."""
    kept = (*value.axes[:dim], *value.axes[dim + 1 :])
    axes = tuple(None if axis is None else axis.squeeze(dim) for axis in kept)
    return Value((*value.shape[:dim], *value.shape[dim + 1 :]), axes)


def with_fixed_dims(axes: Axes, count: int, leading: bool = False) -> Axes:
    """Add dimensions whose order is fixed, behind the others or before them."""
    places = tuple(range(count)) if leading else tuple(range(len(axes), len(axes) + count))
    grown = tuple(None if axis is None else np.expand_dims(axis, places) for axis in axes)
    return (None,) * count + grown if leading else grown + (None,) * count


def parted(call: Call, value: Value, dim: int, groups: int) -> Value:
    """Split a dimension into groups and members."""
    return split_dim(call.equations, value, dim, (groups, value.shape[dim] // groups))


def split_dim(equations: Equations, value: Value, dim: int, sizes: tuple[int, int]) -> Value:
    """Split one dimension of a tensor in two."""
    shape = (*value.shape[:dim], *sizes, *value.shape[dim + 1 :])
    axes: list[Axis] = []
    for other, axis in enumerate(value.axes):
        if other == dim:
            if 1 in sizes or axis is None:
                size = (
                    (*axis.shape[:dim], *sizes, *axis.shape[dim + 1 :]) if axis is not None else ()
                )
                whole = None if axis is None else axis.reshape(size)
                axes.extend((None, whole) if sizes[0] == 1 else (whole, None))
            else:
                axes.extend(equations.split(axis, dim, sizes))
        else:
            axes.append(None if axis is None else _reshaped_dim(axis, dim, sizes))
    return Value(shape, tuple(axes))


def merge_dims(equations: Equations, value: Value, dim: int) -> Value:
    """Merge dimensions `dim` and `dim + 1` of a tensor."""
    sizes = (value.shape[dim], value.shape[dim + 1])
    shape = (*value.shape[:dim], sizes[0] * sizes[1], *value.shape[dim + 2 :])
    outer, inner = value.axes[dim], value.axes[dim + 1]
    if 1 in sizes:
        own = inner if sizes[0] == 1 else outer
        whole = None if own is None else _merged_dim(own, dim, sizes)
    else:
        whole = equations.merge(outer, inner, dim, sizes)
    rest = [None if axis is None else _merged_dim(axis, dim, sizes) for axis in value.axes]
    return Value(shape, (*rest[:dim], whole, *rest[dim + 2 :]))


def _reshaped_dim(axis: np.ndarray, dim: int, sizes: tuple[int, int]) -> np.ndarray:
    """Split a dimension of an axis of another; a part on which it does not depend shrinks to 1."""
    if axis.shape[dim] == 1:
        return np.expand_dims(axis, dim)
    axis = axis.reshape(*axis.shape[:dim], *sizes, *axis.shape[dim + 1 :])
    for place in (dim, dim + 1):
        first = axis.take([0], axis=place)
        if bool((axis == first).all()):
            axis = first
    return axis


def _merged_dim(axis: np.ndarray, dim: int, sizes: tuple[int, int]) -> np.ndarray:
    """Reshape an axis that may depend on either of two merged dimensions."""
    here = axis.shape[dim : dim + 2]
    if here != (1, 1) and here != sizes:
        shape = (*axis.shape[:dim], *sizes, *axis.shape[dim + 2 :])
        axis, here = np.broadcast_to(axis, shape), sizes
    return axis.reshape(*axis.shape[:dim], here[0] * here[1], *axis.shape[dim + 2 :])
