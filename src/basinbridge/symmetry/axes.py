"""Axes made of atoms, and the equations that operators state between them.

Every position on every axis of every tensor is an *atom*. An operator says which atoms are the
same neuron (`Equations.unite`), which may never move (`Equations.pin`), and, where a view splits an
axis or merges two, which pair of atoms a position stands for (`Equations.split`, `merge`). Moving
data about (cat, slice, transpose, shuffle, pad) needs no equation at all: the atoms move along.
`basinbridge.symmetry.solve` reads the groups off the finished equations.

The axes of a tensor are a tuple with one entry a dimension: `None` for a dimension whose positions
never move (batch, space, time), else an integer array with as many dimensions as the tensor: full
along its own dimension and of size 1 elsewhere, except along those dimensions that its numbering
depends on. The 64 columns of each of 12 attention heads are an array (..., 12, 64), since every
head numbers its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Atoms = NDArray[np.int64]
Axis = Atoms | None
Axes = tuple[Axis, ...]


@dataclass(frozen=True)
class Statement:
    """Atom `whole[k]`, at `place[k]` of an axis split into `sizes`, is (`outer[k]`, `inner[k]`)."""

    whole: Atoms
    outer: Atoms
    inner: Atoms
    place: Atoms
    sizes: tuple[int, int]


@dataclass
class Equations:
    """All that is known about the atoms of one network, gathered operator by operator."""

    count: int = 0
    same: list[tuple[Atoms, Atoms]] = field(default_factory=list)
    pinned: list[tuple[Atoms, str]] = field(default_factory=list)
    pairs: list[Statement] = field(default_factory=list)
    occurrences: list[tuple[Atoms, int]] = field(default_factory=list)
    dependent: list[Axes] = field(default_factory=list)
    held: list[Atoms] = field(default_factory=list)
    merged: dict[tuple[bytes, tuple[int, int]], tuple[Axis, Axis]] = field(default_factory=dict)

    def fresh(self, *shape: int) -> Atoms:
        """New atoms, about which nothing is known yet."""
        size = int(np.prod(shape, dtype=np.int64))
        atoms = np.arange(self.count, self.count + size, dtype=np.int64).reshape(shape)
        self.count += size
        return atoms

    def fresh_axes(self, shape: Sequence[int]) -> Axes:
        """One axis of new atoms for each dimension longer than 1."""
        return tuple(
            self.fresh(*(size if other == dim else 1 for other in range(len(shape))))
            if size > 1
            else None
            for dim, size in enumerate(shape)
        )

    def unite(self, one: Axis, other: Axis, dim: int, why: str) -> Axis:
        """State that two axes, broadcast against each other, are numbered alike."""
        if one is None or other is None:
            self.pin(one if other is None else other, dim, why)
            return None
        if one is not other:
            self.same.append((one, other))
        return one if one.size <= other.size else other

    def pin(self, axis: Axis, dim: int, why: str) -> None:
        """State that the positions of an axis never move, whatever the other axes do."""
        if axis is not None:
            shape = [1] * axis.ndim
            shape[dim] = axis.shape[dim]
            labels = self.fresh(*shape)
            self.pinned.append((labels, why))
            self.same.append((axis, labels))

    def independent(self, axis: Axis, dims: Sequence[int]) -> Axis:
        """State that an axis is numbered alike along the dimensions `dims`; they shrink to 1."""
        if axis is None:
            return None
        for dim in dims:
            if axis.shape[dim] > 1:
                first = axis.take([0], axis=dim)
                self.same.append((axis, first))
                axis = first
        return axis

    def split(self, axis: Axis, dim: int, sizes: tuple[int, int]) -> tuple[Axis, Axis]:
        """Split dimension `dim` in two; the inner part is numbered anew for each outer position.

        What was merged before comes back as it was, fixed dimensions as fixed.
        """
        if axis is None:
            return None, None
        before, after = axis.shape[:dim], axis.shape[dim + 1 :]
        known = self.merged.get((axis.tobytes(), sizes))
        if known is not None and axis.size == axis.shape[dim]:
            ones = ((1,) * len(before), (1,) * len(after))
            outer, inner = (
                None if one is None else one.reshape(*ones[0], *one.shape, *ones[1])
                for one in known
            )
            return outer, inner
        outer = self.fresh(*before, sizes[0], 1, *after)
        inner = self.fresh(*before, *sizes, *after)
        self._pair(axis.reshape(*before, *sizes, *after), outer, inner, dim, sizes)
        return outer, inner

    def merge(self, outer: Axis, inner: Axis, dim: int, sizes: tuple[int, int]) -> Axis:
        """Merge dimensions `dim` and `dim + 1` of two axes of one tensor into one axis."""
        given = (outer, inner)
        if outer is None:
            if inner is None:
                return None
            outer = self._labels(inner.ndim, dim, sizes[0])
        elif inner is None:
            inner = self._labels(outer.ndim, dim + 1, sizes[1])
        shape = np.broadcast_shapes(outer.shape, inner.shape)
        whole = self.fresh(*shape)
        self._pair(whole, outer, inner, dim, sizes)
        if whole.size == sizes[0] * sizes[1]:
            one, other = (
                None if axis is None else axis.reshape(axis.shape[dim : dim + 2]) for axis in given
            )
            self.merged[whole.tobytes(), sizes] = (one, other)
        return whole.reshape(*shape[:dim], sizes[0] * sizes[1], *shape[dim + 2 :])

    def occur(self, axes: Axes) -> None:
        """Note that a tensor has these axes: atoms that occur alike are interchangeable."""
        self.occurrences.extend((axis, dim) for dim, axis in enumerate(axes) if axis is not None)
        if any(a is not None and a.size > a.shape[dim] for dim, a in enumerate(axes)):
            self.dependent.append(axes)

    def hold(self, axes: Axes) -> None:
        """Note that a tensor of the state has these axes; other tensors only pass atoms on."""
        self.held.extend(axis for axis in axes if axis is not None)

    def _labels(self, dims: int, dim: int, size: int) -> Atoms:
        labels = self.fresh(*(size if other == dim else 1 for other in range(dims)))
        self.pinned.append((labels, "a dimension of fixed order"))
        return labels

    def _pair(
        self, whole: Atoms, outer: Atoms, inner: Atoms, dim: int, sizes: tuple[int, int]
    ) -> None:
        after = (1,) * (whole.ndim - dim - 2)
        place = np.arange(sizes[0] * sizes[1], dtype=np.int64).reshape(*sizes, *after)
        parts = np.broadcast_arrays(whole, outer, inner, place)
        self.occurrences += [(outer, dim), (inner, dim + 1)]
        whole, outer, inner, place = (part.ravel() for part in parts)
        self.pairs.append(Statement(whole, outer, inner, place, sizes))
