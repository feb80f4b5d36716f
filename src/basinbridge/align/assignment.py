"""From statistics to scores, and to the permutation of the largest total score."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..errors import InputError
from ..symmetry.groups import Group, Site, Symmetry
from ..symmetry.permutation import Permutation
from .activations import Moments

Solver = Callable[[Tensor], Tensor]
"""Maps a square matrix of scores to the column chosen for each row."""


def assign(scores: Tensor) -> Tensor:
    """For each row the column of the assignment with the largest total score, eq. (2)."""
    _, columns = linear_sum_assignment(scores.numpy(), maximize=True)
    return torch.from_numpy(columns)


def scores(
    symmetry: Symmetry,
    moments: Mapping[str, list[tuple[Site, Moments]]],
    method: Literal["correlation", "l2"],
) -> dict[str, Tensor | None]:
    """For every group how well each member of A fits each of B, larger is better.

    Summed over the group's sites; `None` for a group that has none. The method is "correlation"
    or "l2"; raises `InputError` if a network's activations are not finite.
    """
    return {
        name: _scores(symmetry.groups[name], entries, method) for name, entries in moments.items()
    }


def _scores(
    group: Group, entries: list[tuple[Site, Moments]], method: Literal["correlation", "l2"]
) -> Tensor | None:
    """How well each member of A fits each of B, larger is better, summed over the sites."""
    for site, moments in entries:
        for owner, squares in zip("ab", moments.squares, strict=True):
            if not bool(torch.isfinite(squares).all()):
                raise InputError(
                    f"group {group.name!r}: network {owner}'s activations at {site.node!r} hold "
                    "a NaN, an infinity, or numbers too large to square"
                )
    total: Tensor | None = None
    for _, moments in entries:
        part = moments.correlation() if method == "correlation" else -moments.squared_distance()
        total = part if total is None else total.add_(part)
    return None if total is None else total.cpu().reshape(*group.shape, *group.shape)


def match(
    symmetry: Symmetry, scores: Mapping[str, Tensor | None], solve: Solver = assign
) -> Permutation:
    """The permutation of largest total score, group by group, blocks by way of their insides.

    `scores[name][i, j]` tells how well member `i` of A fits member `j` of B; for a group inside
    blocks its shape is (*the group's shape, *the group's shape). `None` says nothing about a
    group. `solve` finds the columns of one square matrix.
    """
    found: Permutation = {}
    for name, group in symmetry.groups.items():
        if group.parent is None:
            found |= match_below(symmetry, name, scores, solve)
    return {name: found[name] for name in symmetry.groups}


def match_below(
    symmetry: Symmetry, name: str, scores: Mapping[str, Tensor | None], solve: Solver = assign
) -> Permutation:
    """The best orders of a group and of all groups within it; blocks around it stay in place."""
    around = symmetry.groups[name].shape[:-1]
    blocks = [_best(symmetry, name, scores, solve, at, at)[1] for at in np.ndindex(around)]
    return {
        child: torch.stack([orders[child] for orders in blocks]).reshape(
            symmetry.groups[child].shape
        )
        for child in blocks[0]
    }


def _best(
    symmetry: Symmetry,
    name: str,
    scores: Mapping[str, Tensor | None],
    solve: Solver,
    one: tuple[int, ...],
    other: tuple[int, ...],
) -> tuple[float, Permutation]:
    """Largest total score of a group in block `one` of A and `other` of B, insides included.

    An inner match for every pair of members, then the match of the members on the sums.
    """
    size = symmetry.groups[name].size
    own = scores.get(name)
    total = None if own is None else own[one].movedim(0, -2)[other].clone()
    inner = []
    for child in (g.name for g in symmetry.groups.values() if g.parent == name):
        pairs = [
            [_best(symmetry, child, scores, solve, (*one, i), (*other, j)) for j in range(size)]
            for i in range(size)
        ]
        best = torch.tensor([[value for value, _ in row] for row in pairs], dtype=torch.float64)
        total = best if total is None else total + best
        inner.append(pairs)
    columns = torch.arange(size) if total is None else solve(total)
    orders = {name: columns}
    for pairs in inner:
        chosen = [row[column][1] for row, column in zip(pairs, columns.tolist(), strict=True)]
        orders |= {child: torch.stack([order[child] for order in chosen]) for child in chosen[0]}
    return 0.0 if total is None else float(total[torch.arange(size), columns].sum()), orders
