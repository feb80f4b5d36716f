"""From solved equations to named groups with their tensors and the sites to observe them at."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from .axes import Atoms, Axes, Equations
from .groups import Group, Site, Symmetry
from .rules import NONLINEAR, Value
from .solve import Family, Pairs, Solution
from .trace import Trace

WRITERS = frozenset("linear matmul mm bmm addmm conv1d conv2d conv3d embedding einsum".split())


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
    touched = [_touched(family, solution) for family in solution.families]
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
    sites = _sites(solution, traces, met)
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


def _touched(family: Family, solution: Solution) -> np.ndarray:
    """Members of a family and the wholes that have one as a coordinate."""
    moved = np.zeros(solution.count, dtype=bool)
    moved[family.members] = True
    pairs = solution.pairs
    while pairs.whole.size:
        before = moved.sum()
        np.logical_or.at(moved, pairs.whole, moved[pairs.outer] | moved[pairs.inner])
        if moved.sum() == before:
            break
    return moved


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


def _sites(
    solution: Solution, traces: tuple[Trace, ...], met: Sequence[Mapping[str, Value]]
) -> list[tuple[Site, ...]]:
    """Where to observe each family: behind nonlinearities, else where it is written."""
    still = ~solution.movable()
    finders = [_Finder(family, solution, still) for family in solution.families]
    found: list[list[Site]] = [[] for _ in finders]
    seen: list[set[tuple[int, str, str]]] = [set() for _ in finders]
    for number, (one, values) in enumerate(zip(traces, met, strict=True)):
        for node in one.nodes:
            kind = _kind(node.target)
            if kind is None or node.name not in values:
                continue
            for place, finder in enumerate(finders):
                for dim, axis in enumerate(values[node.name].axes):
                    if axis is None:
                        continue
                    source = node.all_input_nodes[0]
                    before = kind == "post" and source.name in values
                    before = before and (number, source.name, "pre") not in seen[place]
                    for places in finder.places(solution.component[axis], dim, kind == "written"):
                        if before:
                            seen[place].add((number, source.name, "pre"))
                            found[place].append(Site(number, source.name, dim, places, "pre"))
                        found[place].append(Site(number, node.name, dim, places, kind))
    return [_chosen(sites) for sites in found]


def _kind(target: object) -> str | None:
    schema = getattr(target, "_schema", None)
    if schema is None:
        return None
    name = str(schema.name).partition("::")[2].rstrip("_")
    if name in NONLINEAR:
        return "post"
    if name == "add":
        return "sum"
    return "written" if name in WRITERS else None


def _chosen(sites: Sequence[Site]) -> tuple[Site, ...]:
    post = [site for site in sites if site.kind in ("post", "pre")]
    if post:
        return tuple(post)
    sums = [site for site in sites if site.kind == "sum"]
    chosen = sums or [site for site in sites if site.kind == "written"]
    return tuple(Site(s.trace, s.node, s.dim, s.places, "written") for s in chosen)


class _Finder:
    """Finds a family's members, or the wholes that they are coordinates of, on an axis."""

    def __init__(self, family: Family, solution: Solution, still: np.ndarray) -> None:
        self.shape = family.members.shape
        self.direct = np.full(solution.count, -1, dtype=np.int64)
        self.direct[family.members] = np.arange(family.members.size).reshape(self.shape)
        self.pairs: dict[int, int] = {}
        if family.parent is not None and len(self.shape) == 2:
            pairs: Pairs = solution.pairs
            outer = np.full(solution.count, -1, dtype=np.int64)
            parent = solution.families[family.parent].members
            outer[parent] = np.arange(parent.size)
            member = self.direct[pairs.inner]
            row = outer[pairs.outer]
            right = (member >= 0) & (row >= 0) & (member // self.shape[1] == row)
            self.direct[pairs.whole[right]] = member[right]
        self._extend(solution.pairs, still)

    def _extend(self, pairs: Pairs, still: np.ndarray) -> None:
        """Members stay what they are where a fixed outer number (query, key, value) is added."""
        while True:
            new = still[pairs.outer] & (self.direct[pairs.inner] >= 0)
            new &= self.direct[pairs.whole] < 0
            if not new.any():
                return
            self.direct[pairs.whole[new]] = self.direct[pairs.inner[new]]

    def places(self, axis: Atoms, dim: int, partly: bool) -> list[Atoms]:
        """Positions of all members on an axis that holds them and nothing else.

        Or, `partly`, on one that may hold others too, and the members several times: an attention's
        packed projection writes queries, keys and values side by side. None of it: no positions.
        """
        flat = axis.ravel()
        size = int(np.prod(self.shape))
        if flat.size != axis.shape[dim] or flat.size < size or (flat.size > size and not partly):
            return []
        member = self.direct[flat]
        copies = np.bincount(member[member >= 0], minlength=size)
        if copies[0] == 0 or (copies != copies[0]).any():
            return []
        order = np.argsort(member, kind="stable")[flat.size - size * copies[0] :]
        return [places.reshape(self.shape) for places in order.reshape(size, copies[0]).T]
