"""From equations between atoms to the groups of neurons that may be renumbered.

Three steps, each a few array operations:

1. *Who is the same?* Connected components of the equations, closed under the laws of pairs
   (`basinbridge.symmetry.closure`).
2. *Who is alike?* Colour refinement (Weisfeiler and Leman 1968) over the axes that a component
   occurs on and the pairs that it is part of. Components of one colour are interchangeable, as
   every operator treats the positions of an axis alike; a pinned one has a colour of its own.
3. *Who moves with whom?* A component that is the inner coordinate under a single outer one is
   numbered within it: the group of such components is a block's inside (a wreath product, as for
   attention heads). Wholes have no freedom of their own: they follow their coordinates.
"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .axes import Atoms, Equations
from .closure import Colours, Pairs, close, count_of, mixed_hash, number_of, seeds, several
from .solution import DEPTH, Family, Mask, Solution, drawn, torn_by


def solve(equations: Equations) -> Solution:
    """Find the largest families of interchangeable components that the equations allow."""
    component, pairs, roles = close(equations)
    pinned = _pinned(equations, component, pairs)
    pinned[roles] = True
    related = _related(equations, component, pairs)
    pinned |= ~related
    pairs = _without_cycles(_without_doubt(pairs, pinned), pinned)
    while True:
        colour = _refine(equations, component, pairs, pinned)
        families, broken = _families(pairs, colour, pinned)
        if broken.any():
            pinned |= broken
            continue
        solution = Solution(component, pairs, tuple(families), roles)
        image = solution.image(drawn(solution))
        lost = image[pairs.whole] < 0
        torn = torn_by(equations, solution, image, pinned, related)
        if not lost.any() and not torn.any():
            return solution
        pinned |= torn
        pairs = _forgotten(pairs, lost, pinned)


def _related(equations: Equations, component: Atoms, pairs: Pairs) -> Mask:
    """Components that some tensor of the state holds, by themselves or by way of pairs."""
    related = np.full(count_of(component), not equations.held)
    for axis in equations.held:
        related[component[axis]] = True
    before = -1
    while before != (before := int(related.sum())):
        any_part = related[pairs.whole] | related[pairs.outer] | related[pairs.inner]
        for part in (pairs.whole, pairs.outer, pairs.inner):
            np.logical_or.at(related, part, any_part)
    return related


def _forgotten(pairs: Pairs, rows: Mask, pinned: Mask) -> Pairs:
    """Pin all that some pairs are made of, so that they need be known no longer."""
    for part in (pairs.whole, pairs.outer, pairs.inner):
        pinned[part[rows]] = True
    return pairs.only(~rows)


def _without_doubt(pairs: Pairs, pinned: Mask) -> Pairs:
    """Pin what one statement says of two wholes alike, and forget it."""
    key = number_of(pairs.origin, pairs.outer, pairs.inner)
    return _forgotten(pairs, several(key, pairs.whole), pinned)


def _without_cycles(pairs: Pairs, pinned: Mask) -> Pairs:
    """Pin what would be a coordinate of itself, and forget the pairs that say so."""
    count = pinned.size
    ends = (np.tile(pairs.whole, 2), np.append(pairs.outer, pairs.inner))
    graph = coo_matrix((np.ones(ends[0].size, dtype=np.int8), ends), (count, count))
    ring = connected_components(graph, connection="strong")[1]
    turns = (ring[pairs.whole] == ring[pairs.outer]) | (ring[pairs.whole] == ring[pairs.inner])
    turns = np.isin(ring[pairs.whole], ring[pairs.whole[turns]])
    return _forgotten(pairs, turns, pinned)


def _pinned(equations: Equations, component: Atoms, pairs: Pairs) -> Mask:
    """Components that never move: pinned by a rule, twice on one axis, or split in two ways."""
    pinned = np.zeros(count_of(component), dtype=bool)
    for labels, _ in equations.pinned:
        pinned[component[labels.ravel()]] = True
    for axis, dim in equations.occurrences:
        rows = np.sort(np.moveaxis(component[axis], dim, -1), axis=-1)
        again = rows[..., 1:] == rows[..., :-1]
        if again.any():
            pinned[rows[..., 1:][again]] = True
    if pairs.whole.size:
        triples = np.unique(np.stack([pairs.whole, pairs.outer, pairs.inner]), axis=1)
        wholes, counts = np.unique(triples[0], return_counts=True)
        pinned[wholes[counts > 1]] = True
    return pinned


def _refine(equations: Equations, component: Atoms, pairs: Pairs, pinned: Mask) -> Colours:
    """One colour for components that no operator can tell apart."""
    count = count_of(component)
    colour = np.zeros(count, dtype=np.uint64)
    salts = seeds(len(equations.occurrences), 1)
    for (axis, _), seed in zip(equations.occurrences, salts, strict=True):
        np.add.at(colour, component[axis.ravel()], seed)
    own = seeds(count, 2)
    salts = seeds(int(pairs.origin.max(initial=-1)) + 1, 3)[pairs.origin]
    classes = 0
    while True:
        colour = np.where(pinned, own, mixed_hash(colour))
        found = np.unique(colour).size
        if found == classes or pairs.whole.size == 0:
            return colour
        classes = found
        parts = (pairs.whole, pairs.outer, pairs.inner)
        triple = salts
        for part in parts:
            triple = mixed_hash(triple + colour[part])
        for part, salt in zip(parts, seeds(3, 4), strict=True):
            np.add.at(colour, part, mixed_hash(triple + salt))


def _surrounding(pairs: Pairs, count: int) -> Atoms:
    """For each component the single outer one that it is numbered within; -1 where there is none.

    An inner coordinate lies within its outer one if some statement pairs it with no other; an outer
    coordinate lies where its wholes do.
    """
    around = np.full(count, -1, dtype=np.int64)
    single = ~several(number_of(pairs.origin, pairs.inner), pairs.outer)
    around[pairs.inner[single]] = pairs.outer[single]
    as_inner = around >= 0
    while True:
        before = around.copy()
        low, high = np.full(count, count, dtype=np.int64), np.full(count, -1, dtype=np.int64)
        np.minimum.at(low, pairs.outer, around[pairs.whole])
        np.maximum.at(high, pairs.outer, around[pairs.whole])
        agreed = (low == high) & ~as_inner
        around[agreed] = low[agreed]
        if np.array_equal(around, before):
            return around


def _innermost(around: Atoms, pairs: Pairs, pinned: Mask) -> Atoms:
    """What lies within a whole lies within its inner coordinate, or its outer if that is fixed."""
    result = around.copy()
    nested = around[pairs.inner] == pairs.outer
    inside = np.where(nested & ~pinned[pairs.inner], pairs.inner, -1)
    result[pairs.whole] = np.where(pinned[pairs.inner], pairs.outer, inside)
    return result


def _turning(around: Atoms) -> Mask:
    """Components that would lie within themselves."""
    above = around.copy()
    for _ in range(DEPTH):
        above = np.where(above >= 0, around[above], -1)
    return above >= 0


def _families(pairs: Pairs, colour: Colours, pinned: Mask) -> tuple[list[Family], Mask]:
    """Classes of one colour, outermost first; and components that fit no family."""
    basic = ~pinned
    basic[pairs.whole] = False
    around = _innermost(_surrounding(pairs, colour.size), pairs, pinned)
    turning = _turning(around)
    if (turning & ~pinned).any():
        return [], turning
    around[turning] = -1
    families: list[Family] = []
    broken = np.zeros(colour.size, dtype=bool)
    place = np.full(colour.size, -1, dtype=np.int64)
    owner = np.full(colour.size, -1, dtype=np.int64)
    for members in _classes(np.flatnonzero(basic), colour, around):
        outer = around[members]
        while ((outer >= 0) & (owner[outer] < 0)).any():
            outer = np.where((outer >= 0) & (owner[outer] < 0), around[outer], outer)
        if (outer < 0).all():
            if members.size < 2:
                continue
            family = Family(members, None)
        else:
            parent = int(owner[outer[0]])
            shape = families[parent].members.shape
            order = np.argsort(place[outer], kind="stable")
            counts = np.bincount(place[outer], minlength=int(np.prod(shape)))
            if (owner[outer] != parent).any() or (counts != counts[0]).any():
                broken[members] = True
                broken[outer] = True
                continue
            family = Family(members[order].reshape(*shape, int(counts[0])), parent)
        place[family.members] = np.arange(family.members.size).reshape(family.members.shape)
        alone = family.parent is not None and family.members.shape[-1] == 1
        owner[family.members] = len(families) if not alone else int(family.parent or 0)
        families.append(family)
    return families, broken


def _classes(basic: Atoms, colour: Colours, around: Atoms) -> list[Atoms]:
    """The classes of one colour, those with nothing around them first."""
    depth = np.zeros(around.size, dtype=np.int64)
    above = around.copy()
    while (above >= 0).any():
        depth += above >= 0
        above = np.where(above >= 0, around[above], -1)
    order = basic[np.argsort(colour[basic], kind="stable")]
    ends = np.flatnonzero(np.diff(colour[order].astype(np.uint64)) != 0) + 1
    classes = [part for part in np.split(order, ends) if part.size]
    return sorted(classes, key=lambda members: (int(depth[members].max()), int(members.min())))
