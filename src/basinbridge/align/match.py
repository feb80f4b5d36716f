"""Algorithm 1: the permutation of network B that fits network A, from activations."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ..data.batches import Data
from ..errors import InputError
from ..symmetry.groups import Group, Site, Symmetry
from ..symmetry.permutation import Permutation, identity_permutation
from .activations import Moments, gather

Method = Literal["correlation", "l2"]
Activations = Literal["post", "pre"]


def align(
    net_a: nn.Module,
    net_b: nn.Module,
    data: Data,
    symmetry: Symmetry,
    *,
    method: Method = "correlation",
    activations: Activations = "post",
    batch_size: int = 250,
) -> Permutation:
    """The permutation of `net_b` under which its neurons match those of `net_a` best.

    `data` is what both networks see, without augmentation: 10,000 training images in the paper.
    "correlation" maximises the sum of correlations of matched neurons, "l2" minimises their mean
    squared difference (the Wasserstein-2 plan of Section 3.1). A group observed at several sites
    sums over them (Appendix D). Blocks (attention heads, convolution groups) are matched by the
    best match of their insides. A group without a site keeps its order.

    Source: Algorithm 1 and eq. (2), Tatro et al. 2020; Li et al. 2016.

    >>> import basinbridge as bb
    >>> net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> images, labels = torch.randn(50, 4), torch.zeros(50, dtype=torch.long)
    >>> symmetry = bb.discover(net, images[:2])
    >>> other = bb.permute(net, symmetry, bb.random_permutation(symmetry, seed=1))
    >>> match = align(net, other, (images, labels), symmetry)
    >>> bool((bb.permute(other, symmetry, match)[0].weight == net[0].weight).all())
    True
    """
    if method not in get_args(Method) or activations not in get_args(Activations):
        raise InputError(
            f"method {method!r}, activations {activations!r}: methods are "
            f"{', '.join(get_args(Method))}; activations are {', '.join(get_args(Activations))}"
        )
    moments = gather(net_a, net_b, data, symmetry, kind=activations, batch_size=batch_size)
    scores = {
        name: _scores(symmetry.groups[name], entries, method) for name, entries in moments.items()
    }
    return match(symmetry, scores)


def _scores(group: Group, entries: list[tuple[Site, Moments]], method: Method) -> Tensor | None:
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


def match(symmetry: Symmetry, scores: Mapping[str, Tensor | None]) -> Permutation:
    """The permutation of largest total score, group by group, blocks by way of their insides.

    `scores[name][i, j]` tells how well member `i` of A fits member `j` of B; for a group inside
    blocks its shape is (blocks, size, blocks, size). `None` says nothing about a group.
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
            child: _match_insides(found)
            for child in insides.get(name, ())
            if (found := scores.get(child)) is not None
        }
        for best, _ in inner.values():
            total = best if total is None else total + best
        if total is not None:
            permutation[name] = assign(total)
        for child, (_, orders) in inner.items():
            rows = torch.arange(group.size)
            permutation[child] = orders[rows, permutation[name]]
    return permutation


def assign(scores: Tensor) -> Tensor:
    """For each row the column of the assignment with the largest total score, eq. (2)."""
    _, columns = linear_sum_assignment(scores.numpy(), maximize=True)
    return torch.from_numpy(columns)


def _match_insides(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Best total score and best order for every pair of blocks."""
    blocks, size = scores.shape[:2]
    best = torch.zeros(blocks, blocks, dtype=scores.dtype)
    orders = torch.zeros(blocks, blocks, size, dtype=torch.long)
    for one in range(blocks):
        for other in range(blocks):
            inside = scores[one, :, other, :]
            orders[one, other] = assign(inside)
            best[one, other] = inside[torch.arange(size), orders[one, other]].sum()
    return best, orders
