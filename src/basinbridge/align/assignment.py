"""From statistics to scores, and to the permutation of the largest total score."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..errors import InputError
from ..symmetry.groups import Group, Site, Symmetry
from ..symmetry.permutation import Permutation, identity_permutation
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
    parts = [
        moments.correlation() if method == "correlation" else -moments.squared_distance()
        for _, moments in entries
    ]
    if not parts:
        return None
    total = torch.stack(parts).sum(0).cpu()
    if not bool(torch.isfinite(total).all()):
        raise InputError(f"group {group.name!r}: a network's activations hold a NaN or an infinity")
    return total.reshape(*group.shape, *group.shape)


def match(
    symmetry: Symmetry,
    scores: Mapping[str, Tensor | None],
    solve: Solver = assign,
) -> Permutation:
    """The permutation of largest total score, group by group, blocks by way of their insides.

    `scores[name][i, j]` tells how well member `i` of A fits member `j` of B; for a group inside
    blocks its shape is (blocks, size, blocks, size). `None` says nothing about a group. `solve`
    finds the columns of one square matrix.
    """
    permutation = identity_permutation(symmetry)
    insides: dict[str, list[str]] = {}
    for name, group in symmetry.groups.items():
        if group.parent is not None:
            insides.setdefault(group.parent, []).append(name)
    for name, group in symmetry.groups.items():
        if group.parent is not None:
            continue
        total = scores.get(name)
        inner = {
            child: _match_insides(found, solve)
            for child in insides.get(name, ())
            if (found := scores.get(child)) is not None
        }
        for best, _ in inner.values():
            total = best if total is None else total + best
        if total is not None:
            permutation[name] = solve(total)
        for child, (_, orders) in inner.items():
            rows = torch.arange(group.size)
            permutation[child] = orders[rows, permutation[name]]
    return permutation


def _match_insides(scores: Tensor, solve: Solver) -> tuple[Tensor, Tensor]:
    """Best total score and best order for every pair of blocks."""
    blocks, size = scores.shape[:2]
    best = torch.zeros(blocks, blocks, dtype=scores.dtype)
    orders = torch.zeros(blocks, blocks, size, dtype=torch.long)
    for one in range(blocks):
        for other in range(blocks):
            inside = scores[one, :, other, :]
            orders[one, other] = solve(inside)
            best[one, other] = inside[torch.arange(size), orders[one, other]].sum()
    return best, orders
