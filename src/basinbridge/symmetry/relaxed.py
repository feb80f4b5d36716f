"""Relaxed permutations: every neuron becomes a weighted mean of the neurons of its group.

A group's permutation is replaced by a matrix (size, size), `new[i] = sum_j matrix[i, j] old[j]`,
doubly stochastic as a rule; a permutation matrix gives what `permute` gives. The result depends
on the matrices smoothly, so that a permutation can be learned by descent (Appendix E, Tatro et al.
2020).

Which groups can be relaxed: those that are neither blocks nor inside blocks. A block's inside has a
numbering for each block, and a mean of two blocks would have none, so such groups stay at their
permutation (are *hard*). So does a group that some axis numbers anew at each position of another,
and one of which some axis holds only such pairs as no mean of permutations keeps to.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .axes import Atoms
from .groups import Symmetry
from .permutation import Permutation, identity_permutation

Matrices = Mapping[str, Tensor]


@dataclass(frozen=True)
class Mixing:
    """A group on one dimension of a tensor: `places[i, k]` is where copy k of member i stands.

    A group has several copies on an axis where its members come in pairs with something else: with
    the positions of an image behind a flattening, or with the parts of a concatenation. `in_order`
    tells that the places are 0, 1, 2, ... and nothing else stands on the axis.
    """

    group: str
    dim: int
    places: Tensor
    in_order: bool

    @property
    def lone(self) -> bool:
        """Whether the axis is the group, in its order, once."""
        return self.in_order and self.places.shape[1] == 1


@dataclass(frozen=True)
class Relaxation:
    """The relaxable groups of a symmetry, and what they mix in every tensor, in order."""

    symmetry: Symmetry
    groups: tuple[str, ...]
    mixings: dict[str, tuple[Mixing, ...]]

    def hard_part(self, permutation: Permutation) -> Permutation:
        """The permutation with every relaxable group left in its order."""
        identity = identity_permutation(self.symmetry)
        return {
            name: identity[name] if name in self.groups else order
            for name, order in permutation.items()
        }

    def apply(self, tensors: Mapping[str, Tensor], matrices: Matrices) -> dict[str, Tensor]:
        """The tensors with the relaxable groups mixed by `matrices`, one (size, size) for each.

        Hard groups stay as they are. Differentiable in both arguments. `tensors` may be a part of
        a state; a tensor that nothing mixes is returned itself.

        >>> import basinbridge as bb
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
        >>> relaxation = relax(bb.discover(net, torch.zeros(2, 1)))
        >>> tensors = {"0.weight": torch.tensor([[1.0], [3.0]])}
        >>> relaxation.apply(tensors, {"0": torch.full((2, 2), 0.5)})["0.weight"].tolist()
        [[2.0], [2.0]]
        """
        result = dict(tensors)
        vectors: dict[str, list[str]] = {}
        for name, tensor in tensors.items():
            mixings = self.mixings.get(name, ())
            if tensor.ndim == 1 and len(mixings) == 1 and mixings[0].lone:
                vectors.setdefault(mixings[0].group, []).append(name)
                continue
            for mixing in mixings:
                tensor = _mixed(tensor, mixing, matrices[mixing.group])
            result[name] = tensor
        # A group's biases and norms together, as many small products take longer than one.
        for group, names in vectors.items():
            columns = matrices[group] @ torch.stack([tensors[name] for name in names], 1)
            result.update(zip(names, columns.unbind(1), strict=True))
        return result


def _mixed(tensor: Tensor, mixing: Mixing, matrix: Tensor) -> Tensor:
    """A tensor after one group on one of its dimensions has been mixed."""
    moved = tensor.movedim(mixing.dim, 0)
    index = mixing.places.ravel().to(tensor.device)
    part = moved if mixing.in_order else moved[index]
    part = (matrix @ part.reshape(len(matrix), -1)).view(part.shape)
    mixed = part if mixing.in_order else moved.index_copy(0, index, part)
    return mixed.movedim(0, mixing.dim)


def relax(symmetry: Symmetry) -> Relaxation:
    """Find the relaxable groups of a symmetry and where they stand in each tensor."""
    finder = _Finder(symmetry)
    found: list[tuple[str, Mixing]] = []
    hard: set[str] = set()
    for name, axes in symmetry.axes.items():
        for dim, axis in enumerate(axes):
            if axis is None:
                continue
            for group, places in finder.on(axis):
                if places is None:
                    hard.add(group)
                else:
                    in_order = np.array_equal(places.ravel(), np.arange(axis.size))
                    mixing = Mixing(group, dim, torch.from_numpy(places), in_order)
                    found.append((name, mixing))
    mixings: dict[str, tuple[Mixing, ...]] = {}
    for name, mixing in found:
        if mixing.group not in hard:
            mixings[name] = (*mixings.get(name, ()), mixing)
    groups = tuple(name for name in finder.sizes if name not in hard)
    return Relaxation(symmetry, groups, mixings)


class _Finder:
    """Finds the members of groups on axes, by themselves or as coordinates of pairs."""

    def __init__(self, symmetry: Symmetry) -> None:
        solution = symmetry.solution
        families = [family for family in solution.families if family.members.shape[-1] > 1]
        blocks = {family.parent for family in solution.families}
        place_of = {id(family): place for place, family in enumerate(solution.families)}
        self.owner: dict[int, tuple[str, int]] = {}
        self.sizes: dict[str, int] = {}
        for name, family in zip(symmetry.groups, families, strict=True):
            if family.parent is None and place_of[id(family)] not in blocks:
                self.sizes[name] = family.members.size
                members = family.members.tolist()
                self.owner.update((one, (name, place)) for place, one in enumerate(members))
        pairs = solution.pairs
        coordinates = zip(pairs.outer.tolist(), pairs.inner.tolist(), strict=True)
        self.parts = dict(zip(pairs.whole.tolist(), coordinates, strict=True))

    def on(self, axis: Atoms) -> Iterator[tuple[str, Atoms | None]]:
        """Groups on an axis of components, with their places; none where they must stay hard.

        A group that several coordinates of a pair belong to comes once for each of them.
        """
        numbered_once = axis.size == max(axis.shape)
        slots: dict[tuple[str, object], dict[object, dict[int, int]]] = {}
        clashing: set[str] = set()
        for position, component in enumerate(axis.ravel().tolist()):
            leaves = list(self._leaves(component, ()))
            for path, leaf in leaves:
                if leaf not in self.owner:
                    continue
                group, member = self.owner[leaf]
                rest = tuple(other for other in leaves if other[0] != path)
                copy = slots.setdefault((group, path), {}).setdefault(rest, {})
                if member in copy:
                    clashing.add(group)
                copy[member] = position
        for (group, _), copies in slots.items():
            size = self.sizes[group]
            whole = all(len(copy) == size for copy in copies.values())
            if not (numbered_once and whole) or group in clashing:
                yield group, None
                continue
            table = [[copy[member] for copy in copies.values()] for member in range(size)]
            yield group, np.array(table, dtype=np.int64)

    def _leaves(
        self, component: int, path: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], int]]:
        """The coordinates that a component is made of, each with its place in the nest of pairs."""
        if component not in self.parts:
            yield path, component
            return
        for side, part in enumerate(self.parts[component]):
            yield from self._leaves(part, (*path, side))
