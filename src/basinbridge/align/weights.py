"""Weight matching: the renumbering under which two networks' parameters lie closest."""

from collections.abc import Collection, Mapping

import numpy as np
from torch import Tensor, fx

from ..errors import InputError
from ..state import check_finite, check_states
from ..symmetry.groups import Symmetry
from ..symmetry.permutation import (
    Permutation,
    compose,
    identity_permutation,
    read_at,
    tensor_indices,
)
from .assignment import match_below
from .slices import slices_of

# A step counts as a gain beyond this part of the two networks' size: far more than rounding.
GAIN = 1e-10


def match_weights(
    state_a: Mapping[str, Tensor],
    state_b: Mapping[str, Tensor],
    symmetry: Symmetry,
    *,
    seed: int = 0,
    iterations: int = 100,
    groups: Collection[str] | None = None,
) -> Permutation:
    """The permutation of B that makes sum(A * B) over all parameters large, without data.

    Coordinate descent: one group after the other, in an order drawn anew for every sweep, takes
    the best assignment while all others stay as they are, until a whole sweep changes nothing or
    `iterations` sweeps are done. No step lowers the sum: a group that stands on two axes of one
    tensor (a residual stream), for which the assignment is but a linear guess, moves only if the
    sum grows. Batch norm's running statistics do not count; other tensors do, so give parameters.
    Only `groups`, with all groups within them, are moved if they are given.

    Source: Algorithm 1 of "Git Re-Basin" (Ainsworth, Hayase and Srinivasa 2023), here for blocks
    too. Raises `InputError` if the states do not fit each other or the symmetry.

    >>> import basinbridge as bb, torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> symmetry = bb.discover(net, torch.zeros(2, 4))
    >>> other = bb.permute(net, symmetry, bb.random_permutation(symmetry, seed=1))
    >>> found = match_weights(net.state_dict(), other.state_dict(), symmetry)
    >>> bool((bb.permute(other, symmetry, found)[0].weight == net[0].weight).all())
    True
    """
    check_states(state_a, state_b, "network a", "network b")
    for state, owner in ((state_a, "network a"), (state_b, "network b")):
        check_finite(state, owner)
    descent = _Descent(state_a, state_b, symmetry)
    names = symmetry.groups if groups is None else groups
    tops = [name for name in names if symmetry.groups[name].parent not in names]
    generator = np.random.default_rng(seed)
    for _ in range(iterations):
        moved = [descent.improve(tops[place]) for place in generator.permutation(len(tops))]
        if not any(moved):
            break
    return descent.permutation


def similarity(
    state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor], symmetry: Symmetry
) -> float:
    """What weight matching maximises: the sum of A * B over all tensors that may move.

    Tensors that no group moves add the same whatever the permutation, and are left out.
    """
    moved = {tensor for group in symmetry.groups.values() for tensor, _ in group.tensors}
    names = [name for name in counted(state_a, symmetry) if name in moved]
    return sum(_product(state_a[name], state_b[name]) for name in names)


def counted(state: Mapping[str, Tensor], symmetry: Symmetry) -> list[str]:
    """The tensors of a state that are compared: all real ones but batch norm's statistics."""
    left_out = _running_statistics(symmetry)
    names = [n for n, t in state.items() if t.is_floating_point() and n not in left_out]
    unknown = next((name for name in names if name not in symmetry.axes), None)
    if unknown is not None:
        raise InputError(f"the symmetry is not this network's: it has no tensor {unknown!r}")
    return names


def _running_statistics(symmetry: Symmetry) -> set[str]:
    """Names of the tensors that batch norm reads as running mean and variance."""
    found = set()
    for one in symmetry.traces:
        for node in one.nodes:
            schema = getattr(node.target, "_schema", None)
            if schema is None or "batch_norm" not in schema.name:
                continue
            for place, argument in enumerate(schema.arguments):
                given = node.args[place] if place < len(node.args) else None
                if argument.name.startswith("running_") and isinstance(given, fx.Node):
                    found.add(one.states.get(given.name, ""))
    return found


def _product(one: Tensor, other: Tensor) -> float:
    return float((one.detach().double() * other.detach().double()).sum())


class _Descent:
    """B as it stands after the moves so far, and the gain of the next one."""

    def __init__(
        self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor], symmetry: Symmetry
    ) -> None:
        self.symmetry = symmetry
        names = counted(state_a, symmetry)
        self.one = {name: state_a[name].detach() for name in names}
        self.other = {name: state_b[name].detach() for name in names}
        self.slices = slices_of(symmetry)
        self.permutation = identity_permutation(symmetry)
        sizes = [sum(_product(t, t) for t in state.values()) for state in (self.one, self.other)]
        self.least_gain = GAIN * (sizes[0] * sizes[1]) ** 0.5

    def improve(self, top: str) -> bool:
        """Renumber a group and what lies within its blocks; whether that raised the sum."""
        # All at once, then what is inside once more with the blocks around it where they are.
        return any([self._move(name) for name in self._family(top)])

    def _move(self, name: str) -> bool:
        """The best order of a group and of all within it, if the sum grows."""
        scores = {member: self._scores(member) for member in self._family(name)}
        change = identity_permutation(self.symmetry) | match_below(self.symmetry, name, scores)
        return self._accept(change, tuple(scores))

    def _family(self, name: str) -> list[str]:
        """A group and all groups within its blocks."""
        family = [name]
        for other, group in self.symmetry.groups.items():
            if group.parent in family:
                family.append(other)
        return family

    def _scores(self, name: str) -> Tensor | None:
        """Inner products of A's slices with B's, summed over all axes that the group stands on."""
        total: Tensor | None = None
        for one in self.slices[name]:
            if one.tensor in self.one:
                product = one.read(self.one[one.tensor]) @ one.read(self.other[one.tensor]).T
                total = product if total is None else total + product
        shape = self.symmetry.groups[name].shape
        return None if total is None else total.cpu().reshape(*shape, *shape)

    def _accept(self, change: Permutation, names: tuple[str, ...]) -> bool:
        """Apply a change if the sum grows."""
        groups = [self.symmetry.groups[name] for name in names]
        touched = {tensor for group in groups for tensor, _ in group.tensors} & self.one.keys()
        places = tensor_indices(self.symmetry, change)
        new = {name: read_at(self.other[name], places[name]) for name in touched}
        gain = sum(_product(self.one[name], new[name] - self.other[name]) for name in touched)
        if gain <= self.least_gain:
            return False
        self.other.update(new)
        self.permutation = compose(self.symmetry, self.permutation, change)
        return True
