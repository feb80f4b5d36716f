"""Polygonal chains by nudged elastic bands: pivots that fall sideways only, evenly held apart.

`fit` lowers the mean loss of a chain, and for that its bends may slide to where the loss is low and
leave the high places to long straight pieces. A nudged elastic band (Jonsson et al. 1998) lets each
bend (pivot) feel the loss at right angles to the chain, and springs along it: the chain relaxes to
a path whose highest point is a saddle, as low as it gets nearby. AutoNEB (Kolsbjerg et al. 2016)
begins with few pivots and adds some where the loss between two of them rises; Draxler et al.
(2018) found the low paths between trained networks with it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Unpack

import torch
from torch import Tensor

from ..data.batches import Batch, Data
from ..errors import InputError
from ..train.loop import Progress, Recipe, Settings, descend
from .fit import Walker
from .paths import PolyChain
from .probes import Probes


def fit_chain(
    chain: PolyChain,
    data: Data,
    *,
    cycles: int = 4,
    spring: float | None = None,
    rise: float = 0.2,
    looks: int = 9,
    probes: int = 4,
    **settings: Unpack[Settings],
) -> PolyChain:
    """The chain relaxed as a nudged elastic band, with pivots added between its cycles.

    A cycle descends for the `epochs` of `settings`, which are those of `fit`; a step costs one
    ordinary training step for each pivot. Behind every cycle but the last, each piece is looked at
    in `looks` places on `probes` training batches, and gets a pivot where its loss stands highest
    above the straight line between its ends' losses, if that is more than `rise` times the range
    of all losses seen. Give a chain with one or two bends and let it grow.

    `spring` is the springs' stiffness, in nats per squared length; left out, they are infinitely
    stiff, as in Draxler et al. 2018: after each step the pivots are put back to their shares of the
    chain's length, equal ones at the start, of which a new pivot divides that of its piece.

    >>> from torch import nn
    >>> chain = PolyChain.between(nn.Linear(3, 2), nn.Linear(3, 2), bends=2)
    >>> data = torch.randn(40, 3), torch.zeros(40, dtype=torch.long)
    >>> fitted = fit_chain(chain, data, cycles=2, epochs=1, batch_size=10)
    >>> len(fitted.points) >= 4, bool((fitted.points[[0, -1]] == chain.points[[0, -1]]).all())
    (True, True)
    """
    if cycles < 1 or looks < 1 or rise < 0 or (spring is not None and spring < 0):
        raise InputError(
            f"an elastic band needs cycles >= 1, looks >= 1, rise >= 0 and spring >= 0; got "
            f"{cycles}, {looks}, {rise}, {spring}"
        )
    settings.setdefault("learning_rate", 0.01)
    recipe = Recipe(**settings)
    if not chain.movable or chain.movable != tuple(range(1, len(chain.points) - 1)):
        raise InputError(
            "an elastic band hangs between ends that stay, and all its bends move; "
            "give PolyChain.between(..., bends=1)"
        )
    judge = Probes(chain, data, recipe, probes)
    shares = torch.full((len(chain.points) - 1,), 1 / (len(chain.points) - 1)).double()
    for cycle in range(cycles):
        told = _counted(recipe.progress, cycle * recipe.epochs, cycles * recipe.epochs)
        kept = recipe.checkpoint and recipe.checkpoint.part(f"cycle-{cycle + 1}")
        here = replace(recipe, seed=recipe.seed + cycle, progress=told, checkpoint=kept)
        chain = _relaxed(chain, shares, data, here, spring, judge)
        if cycle < cycles - 1:
            chain, shares = _grown(chain, shares, judge, rise, looks)
    return chain


def _counted(progress: Progress | None, done: int, total: int) -> Progress | None:
    """Progress of a cycle as progress of the whole."""
    if progress is None:
        return None
    return lambda epoch, _, loss: progress(done + epoch, total, loss)


def _relaxed(
    chain: PolyChain,
    shares: Tensor,
    data: Data,
    recipe: Recipe,
    spring: float | None,
    judge: Probes,
) -> PolyChain:
    """One cycle: all pivots descend together."""
    walker = Walker.on(chain)
    pieces = len(chain.points) - 1
    ends = [judge.at(chain, t) for t in (0.0, 1.0)]
    gradients = torch.zeros_like(walker.gradient)

    def step(batch: Batch) -> Tensor:
        losses = []
        heights = [walker.weights.new_tensor(ends[0])]
        for row, place in enumerate(chain.movable):
            losses.append(walker.step(place / pieces, batch, recipe))
            gradients[row] = walker.gradient[row]
            decay = recipe.weight_decay / 2 * walker.weights.square().sum()
            heights.append((losses[-1] + decay).to(decay))
        heights.append(walker.weights.new_tensor(ends[1]))
        nudge(gradients, walker.points, torch.stack(heights), shares, spring)
        return torch.stack(losses).mean()

    after: Callable[[], None] | None = None
    if spring is None:

        def after() -> None:
            walker.movable_points.copy_(spread(walker.points, shares)[1:-1])

    descend(
        walker.movable_points,
        gradients,
        step,
        data,
        recipe,
        after,
        carried={"network": walker.network},
        fixed={**walker.fixed(), "shares": shares, "spring": spring},
        where=walker.where,
    )
    return chain.with_points(walker.all_points())


def nudge(
    gradients: Tensor, points: Tensor, heights: Tensor, shares: Tensor, spring: float | None
) -> None:
    """Make the loss's gradients at the inner points (pivots, numbers) those of the band, in place.

    What lies along the chain is taken out, and the springs' pull along it put in: a piece's is its
    length over its share of the chain, so that springs rest when lengths are as the shares. The
    direction of the chain at a pivot is that to the higher neighbour; on a top or in a valley both
    count, the steeper side more (Henkelman and Jonsson 2000). `heights` (points,) are the losses.
    """
    pieces = points.diff(dim=0)
    lengths = pieces.norm(dim=1)
    pulls = lengths / (shares.to(lengths) * len(shares))
    for row in range(len(gradients)):
        back, on = pieces[row], pieces[row + 1]
        down, up = heights[row] - heights[row + 1], heights[row + 2] - heights[row + 1]
        if (up > 0) != (down > 0):
            direction = on if up > down else back
        else:
            steep, flat = max(abs(up), abs(down)), min(abs(up), abs(down))
            if not steep > 0:
                steep = flat = torch.ones_like(up)
            weights = (steep, flat) if up > down else (flat, steep)
            direction = weights[0] * on + weights[1] * back
        length = direction.norm()
        if not length > 0:
            continue
        direction = direction / length
        gradients[row] -= (gradients[row] @ direction) * direction
        if spring is not None:
            gradients[row] -= spring * (pulls[row + 1] - pulls[row]) * direction


def spread(points: Tensor, shares: Tensor) -> Tensor:
    """Points on the same chain such that its pieces have the given shares of its length.

    >>> chain = torch.tensor([[0.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
    >>> spread(chain, torch.tensor([0.5, 0.5])).tolist()
    [[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]
    """
    lengths = points.diff(dim=0).norm(dim=1).double()
    along = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    wanted = shares.to(along).cumsum(0)[:-1] * along[-1]
    piece = (torch.searchsorted(along, wanted, right=True) - 1).clamp(0, len(lengths) - 1)
    part = ((wanted - along[piece]) / lengths[piece].clamp_min(1e-300)).to(points)
    inner = torch.lerp(points[piece], points[piece + 1], part[:, None])
    return torch.cat([points[:1], inner, points[-1:]])


def _grown(
    chain: PolyChain, shares: Tensor, judge: Probes, rise: float, looks: int
) -> tuple[PolyChain, Tensor]:
    """The chain with a pivot more in every piece whose loss rises between its ends."""
    pieces, fine = len(shares), looks + 1
    grid = [judge.at(chain, place / (pieces * fine)) for place in range(pieces * fine + 1)]
    losses = torch.tensor(grid, dtype=torch.float64)
    limit = rise * float(losses.max() - losses.min())
    points, new_shares = [chain.points[:1]], []
    for piece, share in enumerate(shares.tolist()):
        part = losses[piece * fine : piece * fine + fine + 1]
        above = part - torch.linspace(float(part[0]), float(part[-1]), fine + 1).double()
        place = int(above.argmax())
        if float(above[place]) > limit:
            here = torch.lerp(chain.points[piece], chain.points[piece + 1], place / fine)
            points.append(here[None])
            new_shares += [share * place / fine, share * (1 - place / fine)]
        else:
            new_shares.append(share)
        points.append(chain.points[piece + 1 : piece + 2])
    grown = replace(chain, points=torch.cat(points), movable=tuple(range(1, len(new_shares))))
    return grown, torch.tensor(new_shares, dtype=torch.float64)
