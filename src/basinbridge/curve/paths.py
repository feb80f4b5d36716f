"""Curves between two networks: combinations of control points that depend on t in [0, 1].

The control points are flat vectors of one layout, the rows of a matrix; a curve is
r(t) = sum_i c_i(t) theta_i, and the kinds of curves differ in the c_i alone.
"""

import copy
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..state import Layout, State, check_finite, check_states

Endpoint = nn.Module | Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve r(t) between two networks of one architecture.

    `network` is a copy that carries the architecture, `points` (control points, numbers) the
    control points from start to end; those numbered in `movable` are fitted. Integer buffers are
    the start's.
    """

    network: nn.Module
    points: Tensor
    movable: tuple[int, ...]

    name: ClassVar[str] = "curve"

    @property
    def layout(self) -> Layout:
        """How the numbers of a control point are laid out."""
        return Layout.of(self.network)

    def coefficients(self, t: float) -> Tensor:
        """The weights c_i(t) of the control points, (control points,), in float64."""
        raise NotImplementedError

    @property
    def corners(self) -> tuple[float, ...]:
        """The t at which the curve may turn at once."""
        return ()

    def vector_at(self, t: float) -> Tensor:
        """The network at t as one vector; at 0 and 1 exactly the endpoints."""
        if not 0 <= t <= 1:
            raise InputError(f"t = {t} is outside [0, 1]")
        weights = self.coefficients(t)
        if int((weights != 0).sum()) == 1:
            return self.points[int(weights.argmax())].clone()
        return self.points.T @ weights.to(self.points)

    def state_at(self, t: float) -> State:
        """The state of the network at t, with all buffers."""
        state = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        views = self.layout.views(self.vector_at(t))
        shared = _names_of_shared(self.network)
        return {name: views.get(shared.get(name, name), tensor) for name, tensor in state.items()}

    def network_at(self, t: float) -> nn.Module:
        """A copy of the network at t; its batch-norm statistics await re-estimation."""
        twin = copy.deepcopy(self.network)
        twin.load_state_dict(self.state_at(t))
        return twin

    def speed(self, t: float, step: float = 1e-4) -> float:
        """Length of r'(t), by central differences; buffers do not count."""
        low, high = max(t - step, 0.0), min(t + step, 1.0)
        change = (self.coefficients(high) - self.coefficients(low)) / (high - low)
        parameters = self.points[:, : self.layout.parameters].double()
        return float((parameters.T @ change.to(parameters)).norm())

    def arc_length(self, times: Sequence[float], pieces: int = 8) -> list[float]:
        """Length of the curve from the first of `times` (ascending) up to each of them.

        Buffers do not count. Sums the chords between `pieces` + 1 points, and the bends of a chain,
        from one time to the next.
        """
        parameters = self.points[:, : self.layout.parameters].double()
        offsets = parameters - parameters[0]
        products = (offsets @ offsets.T).cpu()
        length, lengths = 0.0, [0.0]
        for early, late in itertools.pairwise(times):
            stops = {early + (late - early) * piece / pieces for piece in range(pieces)} | {late}
            stops |= {t for t in self.corners if early < t < late}
            steps = torch.stack([self.coefficients(t) for t in sorted(stops)]).diff(dim=0)
            squares = ((steps @ products) * steps).sum(1)
            length += float(squares.clamp_min(0).sqrt().sum())
            lengths.append(length)
        return lengths

    def with_points(self, points: Tensor) -> Self:
        """The same curve through other control points."""
        return replace(self, points=points)


class Bezier(Curve):
    """The Bezier curve; with one bend r(t) = (1-t)^2 theta_1 + 2(1-t)t theta_c + t^2 theta_2.

    Source: eq. (7), Tatro et al. 2020.
    """

    name = "bezier"

    @classmethod
    def between(
        cls, start: nn.Module, end: Endpoint, *, degree: int = 2, movable_ends: bool = False
    ) -> "Bezier":
        """A curve whose inner control points start equally spaced on the line.

        With `movable_ends` a fit moves the two ends as well, which then are no longer the networks
        given.

        >>> curve = Bezier.between(nn.Linear(1, 1), nn.Linear(1, 1))
        >>> curve.coefficients(0.5).tolist()
        [0.25, 0.5, 0.25]
        """
        return cls(*_on_the_line(start, end, degree - 1, movable_ends))

    def coefficients(self, t: float) -> Tensor:
        """Bernstein polynomials."""
        degree = len(self.points) - 1
        return torch.tensor(
            [math.comb(degree, i) * (1 - t) ** (degree - i) * t**i for i in range(degree + 1)],
            dtype=torch.float64,
        )


class PolyChain(Curve):
    """The polygonal chain: straight pieces between control points equally spaced in t."""

    name = "polychain"

    @classmethod
    def between(
        cls, start: nn.Module, end: Endpoint, *, bends: int = 1, movable_ends: bool = False
    ) -> "PolyChain":
        """A chain whose bends start equally spaced on the line; `movable_ends` as for `Bezier`.

        >>> chain = PolyChain.between(nn.Linear(1, 1), nn.Linear(1, 1), bends=3)
        >>> chain.coefficients(0.375).tolist()
        [0.0, 0.5, 0.5, 0.0, 0.0]
        """
        return cls(*_on_the_line(start, end, bends, movable_ends))

    def coefficients(self, t: float) -> Tensor:
        """Hat functions, at most two of them above 0."""
        place = t * (len(self.points) - 1) - torch.arange(len(self.points), dtype=torch.float64)
        return (1 - place.abs()).clamp_min(0)

    @property
    def corners(self) -> tuple[float, ...]:
        """The t of the bends."""
        last = len(self.points) - 1
        return tuple(place / last for place in range(1, last))


class Linear(PolyChain):
    """The straight line, which has nothing to fit unless its ends may move."""

    name = "linear"

    @classmethod
    def between(
        cls, start: nn.Module, end: Endpoint, *, bends: int = 0, movable_ends: bool = False
    ) -> "Linear":
        """The line from start to end; with `movable_ends` a fit finds a line of good networks.

        Source: for such lines, Wortsman et al., "Learning Neural Network Subspaces" (2021).

        >>> Linear.between(nn.Linear(1, 1), nn.Linear(1, 1)).coefficients(0.25).tolist()
        [0.75, 0.25]
        """
        if bends != 0:
            raise InputError(f"a line has no bends, got {bends}")
        return cls(*_on_the_line(start, end, 0, movable_ends))


def _on_the_line(
    start: nn.Module, end: Endpoint, inner: int, movable_ends: bool
) -> tuple[nn.Module, Tensor, tuple[int, ...]]:
    """Network, control points equally spaced from start to end, and the movable ones."""
    if inner < 0:
        raise InputError("a curve needs two control points at least")
    target = end.state_dict() if isinstance(end, nn.Module) else end
    check_states(start.state_dict(), target, "the start", "the end")
    check_finite(start.state_dict(), "the start")
    check_finite(target, "the end")
    network = copy.deepcopy(start)
    layout = Layout.of(network)
    ends = [layout.flatten(state) for state in (start.state_dict(), target)]
    steps = [step / (inner + 1) for step in range(1, inner + 1)]
    between = [torch.lerp(ends[0], ends[1], step) for step in steps]
    points = torch.stack([ends[0], *between, ends[1]])
    movable = range(inner + 2) if movable_ends else range(1, inner + 1)
    return network, points, tuple(movable)


def _names_of_shared(network: nn.Module) -> dict[str, str]:
    """For a tensor that stands under several names, the first of them."""
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(tensor), name)
        for name, tensor in network.state_dict(keep_vars=True).items()
    }
