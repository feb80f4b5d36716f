"""From solved equations to named groups with their tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from .axes import Atoms, Axes, Equations
from .groups import Group, Symmetry
from .rules import Value
from .sites import sites_of
from .solution import Family, Solution
from .trace import Trace


def groups_of(
    equations: Equations,
    solution: Solution,
    axes: dict[str, Axes],
    state: Mapping[str, Tensor],
    traces: tuple[Trace, ...],
    met: Sequence[Mapping[str, Value]],
    unsupported: tuple[str, ...],
) -> Symmetry:
    """Name the families of a solution and collect all that a `Symmetry` tells."""
    component = solution.component
    own = {
        name: tuple(None if axis is None else component[axis] for axis in entry)
        for name, entry in axes.items()
    }
    solution, touched = _useful(solution, own)
    tensors = [
        tuple(
            (name, dim)
            for name, entry in own.items()
            for dim, axis in enumerate(entry)
            if axis is not None and bool(moved[axis].any())
        )
        for moved in touched
    ]
    kept = [place for place, family in enumerate(solution.families) if family.members.shape[-1] > 1]
    names = _names(solution.families, tensors, kept)
    sites = sites_of(solution, traces, met)
    groups = {}
    for place in kept:
        family = solution.families[place]
        parent = None if family.parent is None else names[family.parent]
        groups[names[place]] = Group(
            names[place],
            family.members.shape[-1],
            family.members.shape,
            parent,
            tensors[place],
            sites[place],
        )
    movable = solution.movable()
    return Symmetry(
        groups=groups,
        parameter_share=_share(own, state, movable),
        fixed=_fixed(equations, component, own, movable),
        unsupported=unsupported,
        axes=own,
        solution=solution,
        traces=traces,
    )


def _useful(solution: Solution, own: Mapping[str, Axes]) -> tuple[Solution, list[np.ndarray]]:
    """Drop the families that move no tensor of the state; tell what the others move."""
    touched = _touched(solution)
    held = np.zeros(solution.count, dtype=bool)
    for entry in own.values():
        for axis in entry:
            if axis is not None:
                held[axis] = True
    kept = [place for place, moved in enumerate(touched) if (moved & held).any()]
    number = {place: new for new, place in enumerate(kept)}
    families = tuple(
        replace(family, parent=None if family.parent is None else number[family.parent])
        for family in (solution.families[place] for place in kept)
    )
    return replace(solution, families=families), [touched[place] for place in kept]


def _touched(solution: Solution) -> list[np.ndarray]:
    """For each family its members, what lies within them, and the wholes that they are part of."""
    touched = []
    for family in solution.families:
        moved = np.zeros(solution.count, dtype=bool)
        moved[family.members] = True
        touched.append(moved)
    for place in range(len(touched) - 1, -1, -1):
        if (parent := solution.families[place].parent) is not None:
            touched[parent] |= touched[place]
    pairs = solution.pairs
    for moved in touched:
        while pairs.whole.size:
            before = moved.sum()
            np.logical_or.at(moved, pairs.whole, moved[pairs.outer] | moved[pairs.inner])
            if moved.sum() == before:
                break
    return touched


def _names(
    families: Sequence[Family], tensors: Sequence[tuple[tuple[str, int], ...]], kept: Sequence[int]
) -> dict[int, str]:
    """Name a group after the first module that writes it; blocks and their insides are marked."""
    parents = {families[place].parent for place in kept}
    names: dict[int, str] = {}
    for place in kept:
        written = [name for name, dim in tensors[place] if dim == 0]
        tensor = (written or [name for name, _ in tensors[place]] or ["activation"])[0]
        base = tensor.rpartition(".")[0] or tensor
        if place in parents:
            base += ":blocks"
        elif families[place].parent is not None:
            base += ":within"
        name, count = base, 1
        while name in names.values():
            count += 1
            name = f"{base}-{count}"
        names[place] = name
    return names


def _share(own: Mapping[str, Axes], state: Mapping[str, Tensor], movable: np.ndarray) -> float:
    """The part of all parameters that some group moves; a tensor with two names counts once."""
    total = moved = 0
    seen: set[int] = set()
    for name, entry in own.items():
        tensor = state[name]
        if id(tensor) in seen or not tensor.requires_grad:
            continue
        seen.add(id(tensor))
        still = np.ones((1,) * tensor.ndim, dtype=bool)
        for axis in entry:
            if axis is not None:
                still = still & ~movable[axis]
        shape = np.broadcast_shapes(still.shape)
        repeats = tensor.numel() // max(int(np.prod(shape)), 1)
        total += tensor.numel()
        moved += tensor.numel() - int(still.sum()) * repeats
    return moved / total if total else 0.0


def _fixed(
    equations: Equations, component: Atoms, own: Mapping[str, Axes], movable: np.ndarray
) -> dict[tuple[str, int], str]:
    """Why each axis that no group moves is fixed."""
    why: dict[int, str] = {}
    for labels, reason in equations.pinned:
        for one in np.unique(component[labels.ravel()]):
            why.setdefault(int(one), reason)
    return {
        (name, dim): why.get(int(axis.ravel()[0]), "each position has a role of its own")
        for name, entry in own.items()
        for dim, axis in enumerate(entry)
        if axis is not None and not movable[axis].any()
    }
