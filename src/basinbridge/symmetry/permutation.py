"""Permutations of a network's groups: make, apply, invert.

A permutation is a dict with one index tensor per group of a symmetry, shaped as the group says;
`new[i] = old[permutation[i]]`. Inside blocks, row `h` belongs to the block that stands at place
`h` afterwards.
"""

import copy
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from .axes import Atoms, Axes
from .groups import Symmetry
from .solution import row_sources

Permutation = dict[str, Tensor]
Network = TypeVar("Network", nn.Module, dict[str, Tensor])


def identity_permutation(symmetry: Symmetry) -> Permutation:
    """The permutation that moves nothing."""
    return {
        name: torch.arange(group.size).expand(group.shape).clone()
        for name, group in symmetry.groups.items()
    }


def random_permutation(symmetry: Symmetry, seed: int = 0) -> Permutation:
    """A permutation drawn evenly from the whole symmetry."""
    generator = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(
            generator.permuted(np.tile(np.arange(group.size), (*group.shape[:-1], 1)), axis=-1)
        ).reshape(group.shape)
        for name, group in symmetry.groups.items()
    }


def invert(symmetry: Symmetry, permutation: Permutation) -> Permutation:
    """The permutation that undoes another.

    >>> import basinbridge as bb
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> symmetry = bb.discover(net, torch.zeros(2, 2))
    >>> invert(symmetry, {"0": torch.tensor([2, 0, 1])})["0"].tolist()
    [1, 2, 0]
    """
    return {
        name: places.ravel().argsort().reshape(places.shape) % places.shape[-1]
        for name, places in flat_places(symmetry, permutation).items()
    }


def compose(symmetry: Symmetry, first: Permutation, second: Permutation) -> Permutation:
    """The permutation that does in one what `first` and then `second` do."""
    before, after = flat_places(symmetry, first), flat_places(symmetry, second)
    return {name: before[name].ravel()[places] % places.shape[-1] for name, places in after.items()}


def flat_places(symmetry: Symmetry, permutation: Permutation) -> Permutation:
    """For each member the member that takes its place, both counted through all blocks."""
    _sources(symmetry, permutation)
    flat: Permutation = {}
    for name, group in symmetry.groups.items():
        rows = torch.zeros((), dtype=torch.long) if group.parent is None else flat[group.parent]
        flat[name] = rows[..., None] * group.size + permutation[name].cpu().long()
    return flat


def permute(network: Network, symmetry: Symmetry, permutation: Permutation) -> Network:
    """The network (or state) with its neurons renumbered: the same function, other weights.

    A module gives a module, a state gives a state; both are copies. Raises `InputError` if the
    permutation does not belong to the symmetry or the symmetry not to the network.

    >>> import basinbridge as bb
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> symmetry = bb.discover(net, torch.zeros(2, 2))
    >>> other = permute(net, symmetry, {"0": torch.tensor([2, 0, 1])})
    >>> bool((other[0].weight == net[0].weight[[2, 0, 1]]).all())
    True
    >>> bool((other[2].weight == net[2].weight[:, [2, 0, 1]]).all())
    True
    """
    if isinstance(network, nn.Module):
        twin = copy.deepcopy(network)
        renumber(twin, symmetry, permutation)
        return twin
    _check_fit(symmetry, network)
    indices = tensor_indices(symmetry, permutation)
    return {
        name: read_at(tensor.detach(), indices.get(name, (None,) * tensor.ndim))
        for name, tensor in network.items()
    }


def renumber(network: nn.Module, symmetry: Symmetry, permutation: Permutation) -> None:
    """Renumber the neurons of a module in place; a tensor that has two names moves once."""
    state = network.state_dict(keep_vars=True)
    _check_fit(symmetry, state)
    done: set[int] = set()
    for name, places in tensor_indices(symmetry, permutation).items():
        if id(state[name]) not in done:
            done.add(id(state[name]))
            state[name].data = read_at(state[name].detach(), places)


def _check_fit(symmetry: Symmetry, state: Mapping[str, Tensor]) -> None:
    """Raise `InputError` naming the first tensor of a state that the symmetry does not suit."""
    floating = (name for name, tensor in state.items() if tensor.is_floating_point())
    for name in (*symmetry.axes, *floating):
        axes = symmetry.axes.get(name)
        if (
            axes is None
            or name not in state
            or state[name].ndim != len(axes)
            or any(
                axis is not None and axis.shape[dim] != state[name].shape[dim]
                for dim, axis in enumerate(axes)
            )
        ):
            raise InputError(f"the symmetry is not this network's: tensor {name!r} does not fit")


def read_at(tensor: Tensor, places: tuple[Tensor | None, ...]) -> Tensor:
    """Read a tensor at other positions; an index with several dimensions broadcasts."""
    if all(place is None or place.numel() == place.shape[dim] for dim, place in enumerate(places)):
        for dim, place in enumerate(places):
            if place is not None:
                tensor = tensor.index_select(dim, place.ravel().to(tensor.device))
        return tensor.clone() if all(place is None for place in places) else tensor
    full = []
    for dim, place in enumerate(places):
        own = [tensor.shape[dim] if other == dim else 1 for other in range(tensor.ndim)]
        index = torch.arange(tensor.shape[dim]).reshape(own) if place is None else place
        full.append(index.to(tensor.device))
    return tensor[tuple(full)]


def tensor_indices(
    symmetry: Symmetry, permutation: Permutation
) -> dict[str, tuple[Tensor | None, ...]]:
    """For every tensor and dimension the positions to read from, `None` for a fixed dimension."""
    solution = symmetry.solution
    image = solution.image(_sources(symmetry, permutation))
    indices = {}
    for name, axes in symmetry.axes.items():
        indices[name] = tuple(_positions(axes, dim, image) for dim in range(len(axes)))
    return indices


def _positions(axes: Axes, dim: int, image: Atoms) -> Tensor | None:
    """Positions along `dim` from which the moved components come.

    An axis that differs from row to row may hold a component at another place in each, so each is
    looked for in the row that is read.
    """
    axis = axes[dim]
    if axis is None:
        return None
    wanted, here = image[axis], axis[row_sources(axes, dim, image)]
    if np.array_equal(wanted, here):
        return None
    rank = np.argsort(np.argsort(wanted, dim, kind="stable"), dim, kind="stable")
    return torch.from_numpy(np.take_along_axis(np.argsort(here, dim, kind="stable"), rank, dim))


def _sources(symmetry: Symmetry, permutation: Permutation) -> list[Atoms]:
    """The index arrays of all families; a family of one, which has no group, stays as it is."""
    unknown = set(permutation) ^ set(symmetry.groups)
    if unknown:
        raise InputError(f"the permutation and the symmetry differ in group {min(unknown)!r}")
    names = iter(symmetry.groups)
    sources = []
    for family in symmetry.solution.families:
        shape = family.members.shape
        if shape[-1] == 1:
            sources.append(np.zeros(shape, dtype=np.int64))
            continue
        name = next(names)
        source = permutation[name].detach().cpu().numpy().astype(np.int64)
        wanted = np.broadcast_to(np.arange(shape[-1]), shape)
        if source.shape != shape or not np.array_equal(np.sort(source, axis=-1), wanted):
            raise InputError(f"permutation of group {name!r}: not an order of {shape[-1]} neurons")
        sources.append(source)
    return sources
