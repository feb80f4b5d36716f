"""Where to observe the groups of a network: at which activation, and at which positions of it.

Behind a nonlinearity, if the group's members and nothing else stand on an axis there (and before
it), or if what goes into it is a sum: a residual stream to which zero-padded shortcuts have added
neurons is one axis of several groups. Not so behind a concatenation, or each feature of a DenseNet
would be observed in all layers that follow. Else where sums or contractions write the group; else
wherever it stands. Blocks with observed
groups within them are told apart by these, and else only behind a nonlinearity of their own.

Activations on which another group stands as well (a mixer's transposed stream) come last: that
group's order is not the same in two networks, so that only a mean over it can be compared.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np
from torch import fx

from .axes import Atoms
from .groups import Site
from .rules import NONLINEAR, Value
from .solution import Solution
from .trace import Trace, operator_of

WRITERS = frozenset(
    """linear matmul mm bmm addmm baddbmm conv1d conv2d conv3d convolution conv_transpose1d
    conv_transpose2d conv_transpose3d embedding einsum lstm gru rnn_tanh rnn_relu lstm_cell gru_cell
    rnn_tanh_cell rnn_relu_cell""".split()
)
Rank = tuple[bool, str, int]  # pooled, the operator's kind, on how many dimensions
RANKS = ("post", "sum", "written", "parts", "weights", "any", "parts of any")
COPIES = 4


def sites_of(
    solution: Solution, traces: tuple[Trace, ...], met: Sequence[Mapping[str, Value]]
) -> list[tuple[Site, ...]]:
    """For every family the sites at which to observe it, of the best rank that there is."""
    members = _Members(solution)
    found: list[dict[Rank, list[Site]]] = [{} for _ in solution.families]
    for number, (one, values) in enumerate(zip(traces, met, strict=True)):
        seen: set[tuple[str, int]] = set()
        for node in one.nodes:
            if node.op != "call_function" or node.name not in values:
                continue
            kind = _kind(node)
            for family, dims, places in members.on(value := values[node.name]):
                pooled = members.beside(value, dims)
                exact = sum(place.size for place in places) == prod(value.shape[d] for d in dims)
                exact |= kind == "post" and _is_sum(_before(node, values))
                rank = kind if exact else {"written": "parts"}.get(kind, "parts of any")
                sites = found[family].setdefault((bool(pooled), rank, len(dims)), [])
                before = _before(node, values) if rank == "post" else None
                if before is not None and (before.name, family) not in seen:
                    seen.add((before.name, family))
                    sites += _pre(number, before, values, members, family)
                if rank in ("any", "parts of any") and (sites or len(dims) > 1):
                    continue
                shown = "post" if rank == "post" else "written"
                sites += [_site(number, node, dims, place, shown, pooled) for place in places]
    return _blocks_by_their_insides(solution, found)


def _blocks_by_their_insides(
    solution: Solution, found: Sequence[Mapping[Rank, list[Site]]]
) -> list[tuple[Site, ...]]:
    """The best sites of every family; of blocks around observed groups only their posts."""
    best = [_best(sites) for sites in found]
    observed = [bool(sites) for sites in best]
    for number in reversed(range(len(best))):
        family = solution.families[number]
        if observed[number] and family.parent is not None and family.members.shape[-1] > 1:
            best[family.parent] = tuple(found[family.parent].get((False, "post", 1), []))
            observed[family.parent] = True
    return best


def _best(sites: Mapping[Rank, list[Site]]) -> tuple[Site, ...]:
    ranks = [(pooled, rank, n) for pooled in (False, True) for n in (1, 2) for rank in RANKS]
    return next((tuple(sites[rank]) for rank in ranks if sites.get(rank)), ())


def _pre(
    number: int, node: fx.Node, values: Mapping[str, Value], members: "_Members", family: int
) -> list[Site]:
    """Where the input of a nonlinearity holds a family."""
    value = values[node.name]
    return [
        _site(number, node, dims, place, "pre", members.beside(value, dims))
        for which, dims, places in members.on(value)
        if which == family
        for place in places
    ]


def _site(
    number: int,
    node: fx.Node,
    dims: tuple[int, ...],
    places: Atoms,
    kind: str,
    pooled: tuple[int, ...],
) -> Site:
    blocks = dims[0] if len(dims) == 2 else None
    return Site(number, node.name, dims[-1], places, kind, pooled, blocks)


def _is_sum(node: fx.Node | None) -> bool:
    return node is not None and operator_of(node) == "add"


def _before(node: fx.Node, values: Mapping[str, Value]) -> fx.Node | None:
    source = node.all_input_nodes[0] if node.all_input_nodes else None
    return source if source is not None and source.name in values else None


def _kind(node: fx.Node) -> str:
    """What the operator does to a group that stands on its result."""
    name = operator_of(node) or ""
    if name in NONLINEAR:
        return "post"
    if name == "add":
        # What is added in front of a softmax is a mask or a bias, with infinities at times.
        return (
            "weights"
            if any("softmax" in (operator_of(user) or "") for user in node.users)
            else "sum"
        )
    if node.target is operator.getitem:
        # Of a recurrent layer the first result: its output, not its last state.
        source, place = node.args
        return "written" if place == 0 and operator_of(source) in WRITERS else "any"
    if name in WRITERS:
        return "written"
    return "weights" if "softmax" in name else "any"


class _Members:
    """Which member of which family every component stands for: itself, or as its coordinate."""

    def __init__(self, solution: Solution) -> None:
        self.solution = solution
        self.family = np.full(solution.count, -1, dtype=np.int64)
        self.member = np.full(solution.count, -1, dtype=np.int64)
        for number, family in enumerate(solution.families):
            self.family[family.members] = number
            self.member[family.members] = np.arange(family.members.size).reshape(
                family.members.shape
            )
        self.moving = solution.movable()
        self._follow(~self.moving)

    def _follow(self, still: np.ndarray) -> None:
        """A member within its block, under a label, or in a role, stays what it is."""
        pairs = self.solution.pairs
        role = np.isin(pairs.inner, self.solution.roles)
        while True:
            inside = (self.family[pairs.inner] >= 0) & (still[pairs.outer] | self._within())
            before = self.family.copy()
            for rows, part in ((inside, pairs.inner), (role, pairs.outer)):
                new = rows & (self.family[pairs.whole] < 0) & (self.family[part] >= 0)
                self.family[pairs.whole[new]] = self.family[part[new]]
                self.member[pairs.whole[new]] = self.member[part[new]]
            if np.array_equal(before, self.family):
                return

    def _within(self) -> np.ndarray:
        """Pairs whose outer coordinate is a block around their inner one."""
        families = self.solution.families
        outer, inner = self.solution.pairs.outer, self.solution.pairs.inner
        around = self.family[inner].copy()
        place = self.member[inner].copy()
        result = np.zeros(outer.size, dtype=bool)
        sizes = np.array([family.members.shape[-1] for family in families] + [1])
        parents = np.array([-1 if f.parent is None else f.parent for f in families] + [-1])
        while (around >= 0).any():
            place = place // sizes[around]
            around = parents[around]
            result |= (around >= 0) & (around == self.family[outer]) & (place == self.member[outer])
        return result

    def on(self, value: Value) -> Iterator[tuple[int, tuple[int, ...], list[Atoms]]]:
        """Families on a tensor's axes: which, on which dimensions, and each member's positions.

        Two dimensions, where a family is numbered anew for each position of the first.
        """
        for dim, axis in enumerate(value.axes):
            if axis is None:
                continue
            dims = (*(d for d, size in enumerate(axis.shape) if size > 1 and d != dim), dim)
            component = self.solution.component[np.moveaxis(axis, dims, range(-len(dims), 0))]
            for family in np.unique(self.family[component]) if len(dims) <= 2 else ():
                if family >= 0:
                    places = self._places(component.ravel(), int(family))
                    if places:
                        yield int(family), dims, places

    def beside(self, value: Value, dims: tuple[int, ...]) -> tuple[int, ...]:
        """The other dimensions of a tensor on which something moves."""
        return tuple(
            other
            for other, axis in enumerate(value.axes)
            if other not in dims
            and axis is not None
            and self.moving[self.solution.component[axis]].any()
        )

    def _places(self, component: Atoms, family: int) -> list[Atoms]:
        """The positions of all members of a family, once for every time that they occur."""
        shape = self.solution.families[family].members.shape
        size = int(np.prod(shape))
        here = np.flatnonzero(self.family[component] == family)
        member = self.member[component[here]]
        copies = np.bincount(member, minlength=size)
        if copies[0] == 0 or copies[0] > COPIES or (copies != copies[0]).any():
            return []
        order = here[np.argsort(member, kind="stable")]
        return [places.reshape(shape) for places in order.reshape(size, copies[0]).T]
