"""Doubly stochastic matrices: project onto them, and come back to permutations.

They are the convex hull of the permutation matrices (Birkhoff 1946, von Neumann 1953), and so the
place where a permutation can be changed a little. Rows are where a neuron goes, columns where it
comes from: `matrix[i, p[i]] = 1` for a permutation p, as `new[i] = old[p[i]]`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from ..align.assignment import assign
from ..errors import InputError

CHECK_EVERY = 5


def project(
    matrices: Tensor,
    *,
    tolerance: float = 1e-6,
    most_rounds: int = 10_000,
    corrections: Tensor | None = None,
) -> Tensor:
    """The doubly stochastic matrices nearest to `matrices` (..., n, n), in the Frobenius norm.

    Alternates between the matrices whose rows and columns sum to 1 and those without a negative
    entry. Dykstra's correction, what the last clipping added, is added again before each turn:
    without it the limit lies in both sets but is not the nearest point. The sums need none, as they
    hold on an affine set. Stops when a turn changes no correction by more than `tolerance`; entries
    are then >= 0, and every sum is 1 to about n times the tolerance.

    `corrections`, of the shape of `matrices`, are where to start from, zero if left out, and are
    overwritten by the last ones: a sequence of similar projections takes fewer rounds with them.
    Sources: Boyle and Dykstra 1986; the scheme for permutations, Appendix E of Tatro et al. 2020.

    >>> project(torch.tensor([[2.0, 0.0], [0.0, 0.0]])).round(decimals=3).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2]:
        raise InputError(f"a projection needs square matrices, got {tuple(matrices.shape)}")
    size = matrices.shape[-1]
    taken = torch.zeros_like(matrices) if corrections is None else -corrections
    rows = (1 - matrices.sum(-1, keepdim=True)) / size
    columns = (1 - matrices.sum(-2, keepdim=True)) / size
    balanced = torch.empty_like(matrices)
    for turn in range(1, most_rounds + 1):
        # To the sums: every row, then every column, gets its share of what it lacks.
        low = rows + taken.sum(-1, keepdim=True) / size
        high = columns + taken.sum(-2, keepdim=True) / size
        torch.add(matrices, low, out=balanced).add_(high - high.mean(-1, keepdim=True))
        # To the signs: what is clipped here is the correction, in the negative.
        clipped = balanced.clamp_max(0)
        # Every look at a number waits for the device, so not each turn looks.
        done = turn % CHECK_EVERY == 0 and bool((clipped - taken).abs().max() <= tolerance)
        taken = clipped
        if done:
            break
    if corrections is not None:
        torch.neg(taken, out=corrections)
    return balanced.clamp_min(0)


def nearest_permutation(matrix: Tensor) -> Tensor:
    """The permutation whose matrix is nearest to `matrix` (n, n): one assignment problem.

    All permutation matrices have one norm, so the nearest has the largest inner product.

    >>> nearest_permutation(torch.tensor([[0.2, 0.8], [0.8, 0.2]])).tolist()
    [1, 0]
    """
    return assign(matrix.detach().double().cpu())


def permutation_matrix(permutation: Tensor) -> Tensor:
    """The matrix (n, n) with `matrix[i, p[i]] = 1`, in float64.

    >>> permutation_matrix(torch.tensor([1, 0])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return torch.eye(len(permutation), dtype=torch.float64)[permutation.cpu()]


def decompose(
    matrix: Tensor, *, most_terms: int | None = None, tolerance: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """A doubly stochastic matrix as a weighted mean of permutations, the heaviest first.

    Returns weights (k,) in float64 and permutations (k, n). Each term is the permutation whose
    smallest entry in what is left is largest (a bottleneck assignment), taken off as often as it
    fits; weights therefore never grow. Ends after `most_terms`, or once no permutation has more
    than `tolerance` everywhere: what is left then has no entry above about n times that.

    Sources: the theorem of Birkhoff 1946; the greedy choice, Dufosse and Ucar 2016.

    >>> weights, permutations = decompose(torch.tensor([[0.75, 0.25], [0.25, 0.75]]))
    >>> weights.tolist(), permutations.tolist()
    ([0.75, 0.25], [[0, 1], [1, 0]])
    """
    left = matrix.detach().double().cpu().numpy().copy()
    rows = np.arange(len(left))
    weights: list[float] = []
    permutations: list[NDArray[np.int64]] = []
    while most_terms is None or len(weights) < most_terms:
        found = _widest(left, tolerance)
        if found is None:
            break
        weights.append(float(left[rows, found].min()))
        permutations.append(found)
        left[rows, found] -= weights[-1]
    chosen = np.array(permutations, dtype=np.int64).reshape(len(weights), len(left))
    return torch.tensor(weights, dtype=torch.float64), torch.from_numpy(chosen)


def _widest(matrix: NDArray[np.float64], above: float) -> NDArray[np.int64] | None:
    """The permutation with the largest smallest entry; None unless that is larger than `above`.

    The bottleneck is one of the entries; it is found by halving their sorted list, asking each
    time whether the entries that are no smaller hold a perfect matching.
    """
    values = np.unique(matrix[matrix > above])
    best = None
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        match = maximum_bipartite_matching(csr_matrix(matrix >= values[middle]), "column")
        if (match < 0).any():
            high = middle
        else:
            best, low = match.astype(np.int64), middle + 1
    return best


def draw(weights: Tensor, permutations: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of a decomposition's permutations (count, n), each as likely as its weight."""
    chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
    return permutations[chosen]
