"""Algorithm 2 on several curves of one architecture at once, as one batch of networks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

import torch
from torch import Tensor

from ..data.batches import Batch, Data
from ..errors import InputError
from ..stack import Stack
from ..state import Layout, bind
from ..train.loop import Recipe, Settings, add_decay, descend, loss_and_gradient
from ..train.together import Dealt
from .paths import Curve


def fit_together(
    curves: Sequence[Curve],
    data: Data,
    *,
    seeds: Sequence[int] | None = None,
    **settings: Unpack[Settings],
) -> list[Curve]:
    """Fitted curves: what `fit` makes of each, but for rounding.

    The curves are of one kind. `settings` are the fields of a `Recipe`; curve i sees the batches
    and the t that `fit` would give it with seed `seeds[i]`, the recipe's seed plus i unless given.
    Data, objective and progress are as in `train_together`.

    >>> from torch import nn
    >>> from basinbridge.curve.paths import Bezier
    >>> data = (torch.randn(40, 3), torch.zeros(40, dtype=torch.long))
    >>> lines = [Bezier.between(nn.Linear(3, 2), nn.Linear(3, 2)) for _ in range(2)]
    >>> [curve.name for curve in fit_together(lines, data, epochs=1, batch_size=10)]
    ['bezier', 'bezier']
    """
    settings.setdefault("learning_rate", 0.01)
    recipe = Recipe(**settings)
    if not curves:
        raise InputError("no curves to fit; give at least one")
    first = curves[0]
    if any(_kind(curve) != _kind(first) for curve in curves):
        raise InputError("curves that are fitted together are of one kind, with as many bends")
    if not first.movable:
        return list(curves)
    walkers = Walkers(curves)
    dealt = Dealt.of(data, len(curves), recipe, seeds, walkers.weights.device)
    chances = [torch.Generator().manual_seed(seed + 1) for seed in dealt.seeds]

    def step(batch: Batch) -> Tensor:
        drawn = [torch.rand((), generator=chance, dtype=torch.float64) for chance in chances]
        return walkers.step([float(t) for t in drawn], batch, recipe)

    carried = {f"t {place}": chance for place, chance in enumerate(chances)}
    descend(
        walkers.movable_points,
        walkers.gradient,
        step,
        dealt,
        replace(recipe, augmentation=None),
        carried={"network": walkers.stack, **carried},
        fixed={**dealt.fixed(), "curve": first.name, "points": walkers.points},
        where=walkers.where,
    )
    return walkers.curves_now()


class Walkers:
    """A stack of networks, each of which can be put anywhere on a curve of its own.

    The `Walker` of one curve in `curve/fit.py`, with a t for each.
    """

    def __init__(self, curves: Sequence[Curve]) -> None:
        self.curves = curves
        self.stack = Stack([curve.network for curve in curves]).train()
        layout = Layout.of(self.stack)
        self.vector = self.stack.joined([curve.points[0] for curve in curves])
        bind(self.stack, self.vector)
        self.weights = self.vector[: layout.parameters]
        self.stack_gradient = torch.zeros_like(self.weights)
        own = layout.parameters // len(curves)
        places = zip(*(curve.points[:, :own] for curve in curves), strict=True)
        self.points = torch.stack([self.stack.joined(same) for same in places])
        self.moving = slice(curves[0].movable[0], curves[0].movable[-1] + 1)
        self.movable_points = self.points[self.moving]
        self.gradient = torch.zeros_like(self.movable_points)
        self.times: Sequence[float] = ()

    def step(self, times: Sequence[float], batch: Batch, recipe: Recipe) -> Tensor:
        """Go to every curve's r(t); the mean loss of a batch, and all control points' gradients."""
        self.times = times
        pairs = zip(self.curves, times, strict=True)
        weights = torch.stack([curve.coefficients(t) for curve, t in pairs]).to(self.points)
        spread = self.stack.spread(weights)
        torch.sum(spread * self.points, 0, out=self.weights)
        loss = loss_and_gradient(self.stack, batch, recipe, self.stack_gradient, len(times))
        add_decay(self.stack, self.weights, recipe.weight_decay, self.stack_gradient)
        torch.mul(spread[self.moving], self.stack_gradient, out=self.gradient)
        return loss

    def where(self) -> str:
        """The t of the last step, for messages."""
        return f" at t = {', '.join(f'{t:.4f}' for t in self.times)}"

    def curves_now(self) -> list[Curve]:
        """The curves through the control points as they are now, buffers included."""
        self.points[self.moving] = self.movable_points
        own = torch.stack([self.stack.parted(one) for one in self.points], 1)
        found = []
        for curve, points in zip(self.curves, own, strict=True):
            whole = curve.points.clone()
            whole[self.moving, : points.shape[1]] = points[self.moving]
            found.append(curve.with_points(whole))
        return found


def _kind(curve: Curve) -> tuple[object, ...]:
    return type(curve), tuple(curve.points.shape), curve.movable, curve.corners
