"""Which entries of which tensors follow which member of a group.

Row i of a linear layer's weight follows output neuron i; behind a flatten a neuron owns a column
for every pixel; a head's member owns a row among the queries, one among the keys. All of these are
one table: for each member the positions of its entries, in an order that is the same for all
members, so that the slices of two members can be compared or mixed.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..symmetry.axes import Atoms
from ..symmetry.groups import Group, Symmetry
from ..symmetry.permutation import identity_permutation, tensor_indices


@dataclass(frozen=True)
class Slices:
    """The entries of one tensor that follow the members of one group.

    The dimensions `dims` of the tensor, laid end to end, are read at `entries`, an array
    (*the group's shape, entries of a member). The other dimensions are taken whole.
    """

    tensor: str
    dims: tuple[int, ...]
    entries: Atoms

    def read(self, tensor: Tensor) -> Tensor:
        """The slices of all members, (members, numbers of each), in float64."""
        entries = torch.from_numpy(self.entries).to(tensor.device)
        rows = self._rows(tensor)[entries.reshape(-1, entries.shape[-1])]
        return rows.reshape(rows.shape[0], -1).double()

    def write(self, tensor: Tensor, slices: Tensor) -> Tensor:
        """A copy of the tensor with other slices, in the shape that `read` gives."""
        entries = torch.from_numpy(self.entries).to(tensor.device).ravel()
        rows = self._rows(tensor).clone()
        rows[entries] = slices.reshape(entries.numel(), -1).to(rows.dtype)
        places = [*self.dims, *(d for d in range(tensor.ndim) if d not in self.dims)]
        moved = rows.reshape([tensor.shape[dim] for dim in places])
        return moved.permute(*np.argsort(places).tolist()).contiguous()

    def _rows(self, tensor: Tensor) -> Tensor:
        """The tensor as (positions along `dims`, all the rest)."""
        count = int(np.prod([tensor.shape[dim] for dim in self.dims]))
        return tensor.detach().movedim(self.dims, tuple(range(len(self.dims)))).reshape(count, -1)


def slices_of(symmetry: Symmetry) -> dict[str, tuple[Slices, ...]]:
    """The slices of every group, by its name.

    Entries inside blocks belong to the group inside, not to the blocks as well. An entry that
    follows two members of one group through a single axis is left out: neither owns it.
    """
    solution = symmetry.solution
    numbers = [n for n, family in enumerate(solution.families) if family.members.shape[-1] > 1]
    found = {}
    for name, number in zip(symmetry.groups, numbers, strict=True):
        member = _members_behind(symmetry, number)
        shifts = [_shifted_by_one(symmetry, one) for one in _lineage(symmetry, name)]
        slices = []
        for tensor in dict.fromkeys(tensor for tensor, _ in symmetry.groups[name].tensors):
            axes = symmetry.axes[tensor]
            for dims in _bound_together(axes):
                entries = _entries(axes, dims, member, symmetry.groups[name], tensor, shifts)
                if entries.size:
                    slices.append(Slices(tensor, dims, entries))
        found[name] = tuple(slices)
    return found


def _members_behind(symmetry: Symmetry, number: int) -> Atoms:
    """For each component the member of a family that it follows: -1 for none, -2 if unclear.

    What a group within the family's blocks owns is unclear too.
    """
    solution = symmetry.solution
    pairs = solution.pairs
    member = np.full(solution.count, -1, dtype=np.int64)
    family = solution.families[number]
    member[family.members] = np.arange(family.members.size).reshape(family.members.shape)
    within = {number}
    for child, other in enumerate(solution.families):
        if other.parent in within:
            within.add(child)
            alone = other.parent == number and other.members.shape[-1] == 1
            rows = np.arange(family.members.size) if alone else np.int64(-2)
            member[other.members.reshape(family.members.size, -1).T] = rows
    while pairs.whole.size:
        outer, inner = member[pairs.outer], member[pairs.inner]
        whole = np.where(inner == -1, outer, np.where((outer == -1) | (outer == inner), inner, -2))
        if np.array_equal(member[pairs.whole], whole):
            break
        member[pairs.whole] = whole
    return member


def _lineage(symmetry: Symmetry, name: str) -> list[str]:
    """A group and the groups that it lies within, outermost first."""
    parent = symmetry.groups[name].parent
    return [*([] if parent is None else _lineage(symmetry, parent)), name]


def _shifted_by_one(symmetry: Symmetry, name: str) -> dict[str, tuple[Tensor | None, ...]]:
    """Where every position comes from when each member of a group gives way to the next."""
    shift = identity_permutation(symmetry)
    shift[name] = shift[name].roll(-1, dims=-1)
    return tensor_indices(symmetry, shift)


def _bound_together(axes: tuple[Atoms | None, ...]) -> list[tuple[int, ...]]:
    """The dimensions of a tensor, those together whose numbering depends on each other."""
    clusters: list[set[int]] = []
    for dim, axis in enumerate(axes):
        if axis is None:
            continue
        own = {dim, *(other for other, size in enumerate(axis.shape) if size > 1)}
        apart = [cluster for cluster in clusters if not cluster & own]
        clusters = [*apart, own.union(*(cluster for cluster in clusters if cluster & own))]
    return [tuple(sorted(cluster)) for cluster in clusters]


def _entries(
    axes: tuple[Atoms | None, ...],
    dims: tuple[int, ...],
    member: Atoms,
    group: Group,
    tensor: str,
    shifts: list[dict[str, tuple[Tensor | None, ...]]],
) -> Atoms:
    """The table of a tensor's positions along `dims`, (*the group's shape, entries)."""
    shape = _sizes(axes, dims)
    owner = np.full(shape, -1, dtype=np.int64)
    for axis in (axes[dim] for dim in dims):
        assert axis is not None
        behind = member[axis].reshape([axis.shape[dim] for dim in dims])
        clash = (owner != -1) & (behind != -1) & (owner != behind)
        owner = np.where(clash, -2, np.where(owner == -1, behind, owner))
    table = np.flatnonzero(owner.ravel() == 0)
    for size, shift in zip(group.shape, shifts, strict=True):
        follow = _positions(shift[tensor], dims, shape)
        levels = [table]
        for _ in range(size - 1):
            levels.append(follow[levels[-1]])
        # The newest level goes behind the older ones, in front of the entries.
        table = np.stack(levels, axis=-2)
    return table


def _sizes(axes: tuple[Atoms | None, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    sizes = []
    for dim in dims:
        axis = axes[dim]
        assert axis is not None
        sizes.append(axis.shape[dim])
    return tuple(sizes)


def _positions(
    places: tuple[Tensor | None, ...], dims: tuple[int, ...], shape: tuple[int, ...]
) -> Atoms:
    """For each position along `dims`, laid end to end, the one that a shift reads from."""
    indices = []
    for turn, dim in enumerate(dims):
        place = places[dim]
        if place is None:
            own = [shape[turn] if other == turn else 1 for other in range(len(dims))]
            indices.append(np.arange(shape[turn]).reshape(own))
        else:
            indices.append(place.numpy().reshape([place.shape[other] for other in dims]))
    full = np.broadcast_arrays(*indices)
    return np.asarray(np.ravel_multi_index(full, shape).ravel(), dtype=np.int64)
