"""Algorithm 2: fit a curve so that the expected loss along it is low."""

import copy
from typing import Unpack

import torch
from torch import Tensor, nn

from ..data.batches import Batch, Data
from ..errors import InputError
from ..state import Layout, bind
from ..train.loop import Recipe, Settings, add_decay, descend, loss_and_gradient
from ..train.stopping import Best
from .paths import Curve


def fit(
    curve: Curve, data: Data, *, proximal: float | None = None, **settings: Unpack[Settings]
) -> Curve:
    """A curve of the same kind whose movable control points minimise E_t[loss(r(t))].

    `settings` are the fields of a `Recipe`; the learning rate is 0.01 unless given. One t is
    drawn from [0, 1] for each batch, with `ranks` one for each process. The L2 term is one on
    r(t), not on the control points. With `proximal` = nu, |phi - phi_0|^2 / (2 nu) is added, phi
    being all movable control points and phi_0 where they start (Appendix E); the mean losses that
    `progress` hears are without it.
    Source: Algorithm 2, Tatro et al. 2020, after Garipov et al. 2018.

    >>> from basinbridge.curve.paths import Bezier
    >>> data = (torch.randn(40, 3), torch.zeros(40, dtype=torch.long))
    >>> line = Bezier.between(nn.Linear(3, 2), nn.Linear(3, 2))
    >>> fitted = fit(line, data, epochs=1, batch_size=10)
    >>> bool((fitted.points[0] == line.points[0]).all()), bool((fitted.points == line.points).all())
    (True, False)
    """
    settings.setdefault("learning_rate", 0.01)
    recipe = Recipe(**settings)
    if proximal is not None and not proximal > 0:
        raise InputError(f"proximal is {proximal}; give a number above 0")
    if not curve.movable:
        return curve
    walker = Walker.on(curve)
    begun = walker.movable_points.clone()
    offset = 0 if recipe.ranks is None else recipe.ranks.t_offset
    generator = torch.Generator().manual_seed(recipe.seed + 1 + offset)

    def step(batch: Batch) -> Tensor:
        t = float(torch.rand((), generator=generator, dtype=torch.float64))
        loss = walker.step(t, batch, recipe)
        if proximal is not None:
            walker.gradient.add_(walker.movable_points - begun, alpha=1 / proximal)
        return loss

    best = Best.of(
        recipe.early_stopping,
        walker.movable_points,
        lambda: curve.with_points(walker.all_points()).network_at(0.5),
    )
    descend(
        walker.movable_points,
        walker.gradient,
        step,
        data,
        recipe,
        carried={"network": walker.network, "t": generator},
        fixed={**walker.fixed(), "proximal": proximal},
        where=walker.where,
        best=best,
    )
    return curve.with_points(walker.all_points())


class Walker:
    """A network that can be put anywhere on a curve and collects the control points' gradients.

    A step costs one ordinary training step: r(t) is written into the network's own parameters, the
    unmodified network runs forward and backward, and the gradient of control point i is c_i(t)
    times the one just computed.
    """

    def __init__(self, curve: Curve, network: nn.Module) -> None:
        self.curve = curve
        self.network = network
        self.parameters = Layout.of(network).parameters
        self.points = curve.points[:, : self.parameters].clone()
        self.vector = curve.points[0].clone()
        bind(network, self.vector)
        self.weights = self.vector[: self.parameters]
        self.network_gradient = torch.zeros_like(self.weights)
        first, last = curve.movable[0], curve.movable[-1] + 1
        self.moving = slice(first, last)
        self.movable_points = self.points[self.moving]
        self.gradient = torch.zeros_like(self.movable_points)
        self.t = 0.0

    @classmethod
    def on(cls, curve: Curve) -> "Walker":
        """A walker with its own copy of the curve's network, in training mode."""
        return cls(curve, copy.deepcopy(curve.network).train())

    def step(self, t: float, batch: Batch, recipe: Recipe) -> Tensor:
        """Go to r(t) and compute the loss of a batch and the control points' gradients."""
        self.t = t
        weights = self.curve.coefficients(t).to(self.points)
        torch.mv(self.points.T, weights, out=self.weights)
        loss = loss_and_gradient(self.network, batch, recipe, self.network_gradient)
        add_decay(self.network, self.weights, recipe.weight_decay, self.network_gradient)
        torch.outer(weights[self.moving], self.network_gradient, out=self.gradient)
        return loss

    def where(self) -> str:
        """The t of the last step, for messages."""
        return f" at t = {self.t:.4f}"

    def fixed(self) -> dict[str, object]:
        """What must be the same where a descent along the curve goes on from a checkpoint."""
        return {"curve": self.curve.name, "points": self.curve.points}

    def all_points(self) -> Tensor:
        """The control points as they are now, buffers included."""
        points = self.curve.points.clone()
        points[self.moving, : self.parameters] = self.movable_points
        return points
