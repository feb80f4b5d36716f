"""Who is the same neuron: components of the equations, closed under the laws of pairs.

Equal wholes that were split alike have equal coordinates; equal coordinates make equal wholes at
one place of one split (two places may share them and still be apart, as query and key are). A
whole that was split in two ways, one finer than the other (a grouped convolution behind a group
norm), is a nest of three coordinates. And where one component stands twice on an axis, as the two
halves of a gated layer do, its places are told apart by the other axes on which they occur: each is
the pair of the component and such a role.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .axes import Atoms, Equations

Colours = NDArray[np.uint64]
ROUNDS = 32  # of nesting splits; what is left then is split in two ways and will not move


@dataclass(frozen=True)
class Pairs:
    """Component `whole[k]` is the pair (`outer[k]`, `inner[k]`), by statement `origin[k]`."""

    whole: Atoms
    outer: Atoms
    inner: Atoms
    origin: Atoms

    def only(self, rows: NDArray[np.bool_]) -> "Pairs":
        """Some of the pairs."""
        return Pairs(self.whole[rows], self.outer[rows], self.inner[rows], self.origin[rows])

    def __add__(self, other: "Pairs") -> "Pairs":
        fields = ("whole", "outer", "inner", "origin")
        return Pairs(*(np.concatenate([getattr(self, f), getattr(other, f)]) for f in fields))


@dataclass
class _Rows:
    """Pair statements, a row each, between atoms; `tag` numbers the sizes of the split.

    `parts` holds whole, outer, inner and the place on the axis that was split.
    """

    parts: Atoms
    tag: Atoms
    origin: Atoms
    sizes: list[tuple[int, int]]

    def tag_of(self, sizes: tuple[int, int]) -> int:
        """The number of these sizes."""
        if sizes not in self.sizes:
            self.sizes.append(sizes)
        return self.sizes.index(sizes)

    def add(self, parts: list[Atoms], sizes: tuple[int, int]) -> None:
        """State more pairs."""
        more = np.stack([*parts, np.arange(parts[0].size)])
        last = int(self.origin.max(initial=-1))
        self.parts = np.concatenate([self.parts, more], axis=1)
        self.tag = np.append(self.tag, np.full(more.shape[1], self.tag_of(sizes)))
        self.origin = np.append(self.origin, np.full(more.shape[1], last + 1))

    def drop(self, rows: NDArray[np.bool_]) -> None:
        """Forget some rows."""
        self.parts, self.tag = self.parts[:, ~rows], self.tag[~rows]
        self.origin = self.origin[~rows]


def close(equations: Equations) -> tuple[Atoms, Pairs, Atoms]:
    """The component of every atom, the pairs between components, and the roles, which never move.

    An atom of a component that stands twice on some axis is a component of its own, and the pair
    of its role and the one that it belongs to.
    """
    links = [
        np.stack([part.ravel() for part in np.broadcast_arrays(*both)]) for both in equations.same
    ]
    component = connected(equations.count, links)
    rows = _rows(equations)
    for _ in range(ROUNDS):
        component = _closed(component, rows)
        more, links = _refined(component, rows)
        if not more and not links:
            break
        component = np.append(component, count_of(component) + np.arange(more))
        component = connected(count_of(component), links)[component]
    return _told_apart(equations, _closed(component, rows), rows)


def count_of(component: Atoms) -> int:
    """The number of components."""
    return int(component.max(initial=-1)) + 1


def connected(count: int, links: list[Atoms]) -> Atoms:
    """The component of each of `count` nodes; `links` are arrays (2, n) of joined nodes."""
    ends = np.concatenate([*links, np.zeros((2, 0), dtype=np.int64)], axis=1)
    graph = coo_matrix((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), (count, count))
    component: Atoms = connected_components(graph, directed=False)[1].astype(np.int64)
    return component


def mixed_hash(values: Colours) -> Colours:
    """A 64-bit hash without structure (the finaliser of splitmix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def seeds(count: int, salt: int) -> Colours:
    """Distinct hashes, another sequence for every salt."""
    return mixed_hash(np.arange(1, count + 1, dtype=np.uint64) + np.uint64(salt << 32))


def _rows(equations: Equations) -> _Rows:
    lengths = [one.whole.size for one in equations.pairs]
    stated = [np.stack([one.whole, one.outer, one.inner, one.place]) for one in equations.pairs]
    parts = np.concatenate([np.zeros((4, 0), np.int64), *stated], axis=1)
    rows = _Rows(parts, np.zeros(0, np.int64), np.zeros(0, np.int64), [])
    of_entry = [rows.tag_of(one.sizes) for one in equations.pairs]
    rows.tag = np.repeat(np.asarray(of_entry, dtype=np.int64), lengths)
    rows.origin = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    return rows


def _closed(component: Atoms, rows: _Rows) -> Atoms:
    """Equal wholes of like splits have equal coordinates, and the reverse at one place."""
    slot = number_of(rows.origin, rows.parts[3])
    while True:
        whole, outer, inner = component[rows.parts[:3]]
        count = count_of(component)
        laws = [_equal_where(rows.tag * count + whole, part) for part in (outer, inner)]
        laws.append(_equal_where(number_of(slot, outer, inner), whole))
        if all(np.array_equal(law[0], law[1]) for law in laws):
            return component
        component = connected(count, laws)[component]


def number_of(*columns: Atoms) -> Atoms:
    """One number for each distinct row of some columns."""
    number = np.zeros(columns[0].size, dtype=np.int64)
    for column in columns:
        both = number * (int(column.max(initial=0)) + 1) + column
        number = np.unique(both, return_inverse=True)[1].astype(np.int64)
    return number


def _equal_where(key: Atoms, value: Atoms) -> Atoms:
    """Links between values that share a key, as (2, n): each value with the first of its key."""
    if value.size == 0:
        return np.zeros((2, 0), dtype=np.int64)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return np.stack([value, value[first[inverse]]])


def _refined(component: Atoms, rows: _Rows) -> tuple[int, list[Atoms]]:
    """Nest two splits of the same wholes; return how many atoms that took, and links to make.

    Where every outer part of the finer split lies in one outer part of the coarser, a middle
    coordinate says which part of it: the finer outer is (coarser outer, middle), the coarser
    inner is (middle, finer inner), and the finer split says nothing more.
    """
    whole = component[rows.parts[0]]
    triples = np.unique(np.stack([whole, rows.tag]), axis=1)
    again = triples[0][1:][triples[0][1:] == triples[0][:-1]]
    doubled = np.isin(whole, again)
    tags = np.unique(rows.tag[doubled])
    for coarse in tags:
        for fine in tags:
            found = coarse != fine and _nested(component, rows, doubled, int(coarse), int(fine))
            if found:
                return found
    return 0, []


def _nested(
    component: Atoms, rows: _Rows, doubled: NDArray[np.bool_], coarse: int, fine: int
) -> tuple[int, list[Atoms]] | None:
    """Nest the split tagged `fine` in the one tagged `coarse`, where they share wholes."""
    sides = [np.flatnonzero(doubled & (rows.tag == tag)) for tag in (coarse, fine)]
    wholes = [component[rows.parts[0, side]] for side in sides]
    _, one, other = np.intersect1d(*wholes, return_indices=True)
    if one.size == 0:
        return None
    big, small = rows.parts[:, sides[0][one]], rows.parts[:, sides[1][other]]
    outer, part = component[big[1]], component[small[1]]
    good = ~several(part, outer)
    good &= ~np.isin(outer, outer[~good])
    alone = good & ~several(outer, part)
    if alone.any():
        rows.drop(np.isin(component[rows.parts[0]], component[big[0, alone]]) & (rows.tag == fine))
        return 0, [component[np.stack([big[k, alone], small[k, alone]])] for k in (1, 2)]
    if not good.any():
        return None
    big, small, part = big[:, good], small[:, good], part[good]
    _, first, inverse = np.unique(part, return_index=True, return_inverse=True)
    middle = component.size + np.arange(first.size)
    rows.drop(np.isin(component[rows.parts[0]], component[big[0]]) & (rows.tag == fine))
    (many, size), (parts, rest) = rows.sizes[coarse], rows.sizes[fine]
    rows.add([small[1, first], big[1, first], middle], (many, parts // many))
    rows.add([big[2], middle[inverse], small[2]], (size // rest, rest))
    return first.size, []


def several(key: Atoms, value: Atoms) -> NDArray[np.bool_]:
    """Which rows have a key that goes with more than one value."""
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    found = np.zeros(first.size, dtype=bool)
    found[inverse[value != value[first[inverse]]]] = True
    return found[inverse]


def _told_apart(equations: Equations, component: Atoms, rows: _Rows) -> tuple[Atoms, Pairs, Atoms]:
    """Give atoms of one component on one axis roles, by the axes on which they occur.

    Atoms that no axis tells apart have roles of their own, and so stay where they are. Coordinates
    of pairs are told apart as places on axes are; a whole only where both of its roles are split
    by one statement.
    """
    whole, outer, inner = component[rows.parts[:3]]
    pairs = Pairs(whole, outer, inner, rows.origin)
    marked = _repeated(equations, component)
    atoms = np.flatnonzero(marked)
    if atoms.size == 0:
        return component, pairs, np.zeros(0, dtype=np.int64)
    colours = _roles(equations, component, np.isin(component, component[atoms]))
    roles = np.unique(colours, return_inverse=True)[1].astype(np.int64)
    alike = _repeated(equations, np.where(marked, -1 - number_of(component, roles), component))
    alike &= marked
    roles[alike] = roles.max() + 1 + np.arange(np.count_nonzero(alike))
    kinds, kind = np.unique(roles[atoms], return_inverse=True)
    count = count_of(component)
    labels = count + np.arange(kinds.size)
    keys, own = np.unique(kind * count + component[atoms], return_inverse=True)
    wholes = count + kinds.size + np.arange(keys.size)
    last = int(pairs.origin.max(initial=-1)) + 1
    more = Pairs(wholes, keys % count, labels[keys // count], np.full(keys.size, last))
    apart = component.copy()
    apart[atoms] = wholes[own]
    whole, outer, inner = apart[rows.parts[:3]]
    both = several(rows.origin * count + pairs.whole, whole)
    pairs = Pairs(np.where(both, whole, pairs.whole), outer, inner, rows.origin)
    return apart, pairs + more, labels


def _repeated(equations: Equations, key: Atoms) -> NDArray[np.bool_]:
    """Atoms that share an axis with other atoms of their key."""
    found = np.zeros(key.size, dtype=bool)
    for axis, dim in equations.occurrences:
        places = np.moveaxis(axis, dim, -1).reshape(-1, axis.shape[dim])
        order = np.argsort(key[places], axis=-1)
        atoms = np.take_along_axis(places, order, axis=-1)
        again = key[atoms[:, 1:]] == key[atoms[:, :-1]]
        again &= atoms[:, 1:] != atoms[:, :-1]
        found[atoms[:, 1:][again]] = found[atoms[:, :-1][again]] = True
    return found


def _roles(equations: Equations, component: Atoms, wanted: NDArray[np.bool_]) -> Colours:
    """One colour for atoms that occur on the same axes and are equated with atoms of one colour."""
    role = np.zeros(component.size, dtype=np.uint64)
    salts = seeds(len(equations.occurrences), 5)
    for (axis, _), salt in zip(equations.occurrences, salts, strict=True):
        np.add.at(role, axis.ravel(), salt)
    ends: list[Atoms] = []
    for number, both in enumerate(equations.same):
        if wanted[both[0].ravel()[0]] or wanted[both[0]].any():
            one, other = (part.ravel() for part in np.broadcast_arrays(*both))
            ends.append(np.stack([one, other, np.full(one.size, number)]))
    one, other, number = np.concatenate([*ends, np.zeros((3, 0), dtype=np.int64)], axis=1)
    there, back = (seeds(len(equations.same), salt)[number] for salt in (6, 7))
    classes = 0
    while (found := np.unique(role[wanted]).size) > classes:
        classes = found
        before = mixed_hash(role)
        role = before.copy()
        np.add.at(role, one, mixed_hash(before[other] + there))
        np.add.at(role, other, mixed_hash(before[one] + back))
    return role
