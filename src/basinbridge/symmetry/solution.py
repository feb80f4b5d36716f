"""Families of interchangeable components, and where a renumbering takes every component."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .axes import Atoms, Axes, Equations
from .closure import Pairs, count_of

Mask = NDArray[np.bool_]
DEPTH = 64


@dataclass(frozen=True)
class Family:
    """Interchangeable components: `members` is (size,), or (*parent's shape, size) in blocks."""

    members: Atoms
    parent: int | None


@dataclass(frozen=True)
class Solution:
    """The components of all atoms, their pairs, and the families that may be renumbered.

    `roles` are the components that tell apart the places of one component on an axis.
    """

    component: Atoms
    pairs: Pairs
    families: tuple[Family, ...]
    roles: Atoms

    @property
    def count(self) -> int:
        """Number of components."""
        return count_of(self.component)

    def movable(self) -> Mask:
        """Which components some renumbering moves."""
        moved = np.zeros(self.count, dtype=bool)
        for family in self.families:
            if family.members.size > 1:
                moved[family.members] = True
        while True:
            before = moved.sum()
            whole = moved[self.pairs.outer] | moved[self.pairs.inner]
            np.logical_or.at(moved, self.pairs.whole, whole)
            if moved.sum() == before:
                return moved

    def image(self, sources: list[Atoms]) -> Atoms:
        """Where each component comes from when family `f` is renumbered by `sources[f]`.

        `sources[f]` has the shape of the family's members and indexes their last dimension; the
        result maps a component to the one whose place it takes, -1 for a whole that would have to
        come from a pair of coordinates that does not exist.
        """
        image = np.arange(self.count, dtype=np.int64)
        origin: list[Atoms] = []
        for family, source in zip(self.families, sources, strict=True):
            size = family.members.shape[-1]
            rows = np.zeros(1, np.int64) if family.parent is None else origin[family.parent].ravel()
            flat = rows[:, None] * size + source.reshape(-1, size)
            origin.append(flat)
            image[family.members.reshape(-1, size)] = family.members.ravel()[flat]
        return _wholes_follow(image, self.pairs, self.count)


def _wholes_follow(image: Atoms, pairs: Pairs, count: int) -> Atoms:
    """Move every whole to the pair of its moved coordinates, innermost pairs first."""
    if pairs.whole.size == 0:
        return image
    base = pairs.origin * count
    keys = (base + pairs.outer) * count + pairs.inner
    order = np.argsort(keys, kind="stable")
    for _ in range(DEPTH):
        wanted = (base + image[pairs.outer]) * count + image[pairs.inner]
        place = np.searchsorted(keys[order], wanted).clip(max=keys.size - 1)
        found = order[place]
        target = np.where(keys[found] == wanted, pairs.whole[found], -1)
        target[(image[pairs.outer] < 0) | (image[pairs.inner] < 0)] = -1
        moved = image.copy()
        moved[pairs.whole] = target
        moved[pairs.whole[moved[pairs.whole] != target]] = -1
        if np.array_equal(image, moved):
            break
        image = moved
    return image


def drawn(solution: Solution) -> list[Atoms]:
    """A random renumbering of all families."""
    generator = np.random.default_rng(0)
    return [
        generator.permuted(
            np.broadcast_to(np.arange(f.members.shape[-1]), f.members.shape), axis=-1
        )
        for f in solution.families
    ]


def torn_by(
    equations: Equations, solution: Solution, image: Atoms, pinned: Mask, related: Mask
) -> Mask:
    """Components of rows that a renumbering takes to no row of their tensor.

    An axis that depends on other dimensions has a row for each position there; where those move,
    the rows must move along, whole. If the rows are pinned, what moves them is torn instead.
    """
    torn = np.zeros(solution.count, dtype=bool)
    for atoms in equations.dependent:
        axes = tuple(None if axis is None else solution.component[axis] for axis in atoms)
        for dim, rows in enumerate(axes):
            if rows is None or rows.size == rows.shape[dim] or not related[rows].any():
                continue
            wanted = rows[row_sources(axes, dim, image)]
            bad = np.sort(np.broadcast_to(image[rows], wanted.shape), axis=dim)
            bad = (bad != np.sort(wanted, axis=dim)).any(axis=dim, keepdims=True)
            here = np.broadcast_to(rows, wanted.shape)[np.broadcast_to(bad, wanted.shape)]
            if here.size and pinned[here].all():
                others = [a for o, a in enumerate(axes) if a is not None and o != dim]
                here = np.concatenate([other.ravel() for other in others])
            torn[here] = True
    return torn


def row_sources(axes: Axes, dim: int, image: Atoms) -> tuple[Atoms, ...]:
    """An index of `axes[dim]`, which holds components, that reads every row where it comes from.

    Rows lie along `dim`; they move as the axes of the other dimensions do.
    """
    axis = axes[dim]
    assert axis is not None
    return tuple(
        _source(along, other, image)
        if along is not None and other != dim and size > 1
        else np.arange(size).reshape([-1 if d == other else 1 for d in range(axis.ndim)])
        for other, (along, size) in enumerate(zip(axes, axis.shape, strict=True))
    )


def _source(axis: Atoms, dim: int, image: Atoms) -> Atoms:
    """Where each position of an axis comes from."""
    place = np.arange(axis.shape[dim]).reshape([-1 if d == dim else 1 for d in range(axis.ndim)])
    column = np.zeros(image.size, dtype=np.int64)
    column[axis] = place
    return column[image[axis]]
