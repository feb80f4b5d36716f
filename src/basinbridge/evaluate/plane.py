"""Loss and accuracy over the plane through three networks (Figures 3 and 5 to 7 of the paper)."""

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..curve.paths import Curve
from ..data.batches import Augmentation, Data, global_seed
from ..errors import InputError
from ..state import Layout, State, bind, check_finite, check_states
from ..train.adversarial import Attack
from .along import BATCH_SIZE, BATCHNORM_IMAGES, prepared, score, statistics_batches
from .batchnorm import normalisation_layers, reestimate

Point = tuple[float, float]
# Three networks count as lying on one line if the third is nearer to it than this share.
FLAT = 1e-6


@dataclass(frozen=True)
class Plane:
    """Scores on a grid in the plane through three networks.

    Coordinates are lengths in parameter space: the first network at (0, 0), the second at
    (distance, 0), the third above the axis. `loss[row][column]`, in nats, and `accuracy`, in
    [0, 1], belong to `y[row]` and `x[column]`. `points` are the three networks. `paths` are curves,
    each point projected onto the plane, and `distances` tells how far each of them gets from it, in
    the same unit. `batchnorm_images` is how many inputs gave each point's statistics.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    loss: tuple[tuple[float, ...], ...]
    accuracy: tuple[tuple[float, ...], ...]
    points: tuple[Point, Point, Point]
    paths: dict[str, tuple[Point, ...]]
    distances: dict[str, float]
    batchnorm_images: int

    def __str__(self) -> str:
        """The extent, the range of losses and accuracies, and the paths."""
        losses = [value for row in self.loss for value in row]
        hits = [value for row in self.accuracy for value in row]
        corners = ", ".join(f"({x:.2f}, {y:.2f})" for x, y in self.points)
        lines = [
            f"plane of {len(self.x)} x {len(self.y)} networks through {corners}",
            f"loss {min(losses):.4f} to {max(losses):.4f} nats, "
            f"accuracy {100 * min(hits):.2f} to {100 * max(hits):.2f} %",
        ]
        for name, distance in self.distances.items():
            lines.append(f"{name}: up to {distance:.3g} off the plane")
        return "\n".join(lines)


def plane(
    network: nn.Module,
    states: Sequence[Mapping[str, Tensor] | nn.Module],
    data: Data,
    *,
    batchnorm_data: Data | None = None,
    size: int = 17,
    across: Point = (-0.05, 1.05),
    up: Point = (-0.05, 1.05),
    curves: Mapping[str, Curve] | None = None,
    batchnorm_images: int = BATCHNORM_IMAGES,
    batch_size: int = BATCH_SIZE,
    augmentation: Augmentation | None = None,
    attack: Attack | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Plane:
    """Loss and accuracy on a `size` x `size` grid in the plane through three networks.

    The axes come from the three by Gram and Schmidt: from the first to the second, and at a right
    angle to that towards the third. The grid reaches from `across[0]` to `across[1]` of the three
    points' extent, and from `up[0]` to `up[1]` at a right angle. `network` gives the architecture
    and stays as it is. Batch-norm statistics are re-estimated from `batchnorm_data` at every point,
    which a network with batch norm therefore needs; give the `augmentation` of the training too, as
    for `evaluate`. `curves` are projected onto the plane. With an `attack` scores and statistics
    are those of attacked inputs, with the same random starts at every point.
    `progress(done, points)` is called after every point.

    Source: Figures 3 and 5 to 7, Tatro et al. 2020, after Garipov et al. 2018. Raises `InputError`
    if the three lie on one line, or if batch norm's data are missing.

    >>> nets = [nn.Linear(2, 2) for _ in range(3)]
    >>> images, labels = torch.randn(9, 2), torch.zeros(9, dtype=torch.long)
    >>> found = plane(nets[0], nets, (images, labels), size=3)
    >>> len(found.loss), len(found.loss[0]), found.points[0], found.points[1][1]
    (3, 3, (0.0, 0.0), 0.0)
    """
    if size < 2:
        raise InputError(f"size is {size}; a grid has 2 or more points a side")
    walker = copy.deepcopy(network).eval()
    if batchnorm_data is None and normalisation_layers(walker):
        raise InputError("the network has batch norm: give batchnorm_data, training images")
    frame = _Frame.through(walker, states)
    vector = frame.origin.clone()
    bind(walker, vector)
    tests = prepared(data, batch_size, vector.device)
    statistics = statistics_batches(
        walker,
        batchnorm_data,
        batchnorm_images,
        vector.device,
        batch_size=batch_size,
        augmentation=augmentation,
    )
    x, y = (
        _ticks([point[axis] for point in frame.points], reach, size)
        for axis, reach in ((0, across), (1, up))
    )
    scores = []
    for done, (up_here, along) in enumerate(itertools.product(y, x), start=1):
        vector.copy_(frame.vector_at(along, up_here))
        with global_seed(0, vector.device):
            reestimate(walker, statistics, attack)
            scores.append(score(walker, tests, attack))
        if progress is not None:
            progress(done, size * size)
    projected = {name: frame.project(curve) for name, curve in (curves or {}).items()}
    return Plane(
        x=x,
        y=y,
        loss=_rows([one.loss for one in scores], size),
        accuracy=_rows([one.accuracy for one in scores], size),
        points=frame.points,
        paths={name: path for name, (path, _) in projected.items()},
        distances={name: distance for name, (_, distance) in projected.items()},
        batchnorm_images=sum(len(labels) for _, labels in statistics),
    )


def _rows(values: Sequence[float], size: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in np.reshape(values, (-1, size)).tolist())


@dataclass(frozen=True)
class _Frame:
    """A plane in the space of parameters.

    `sides` (2, all numbers) lead from the first network to the others, `axes` (2, parameters) are
    orthonormal, in float64. Buffers do not count for lengths but move along.
    """

    origin: Tensor
    sides: Tensor
    axes: Tensor
    points: tuple[Point, Point, Point]
    layout: Layout

    @classmethod
    def through(
        cls, network: nn.Module, states: Sequence[Mapping[str, Tensor] | nn.Module]
    ) -> "_Frame":
        if len(states) != 3:
            raise InputError(f"a plane goes through three networks, not {len(states)}")
        layout = Layout.of(network)
        vectors = [_vector(network, layout, one, place) for place, one in enumerate(states)]
        sides = torch.stack([vectors[1] - vectors[0], vectors[2] - vectors[0]])
        first, second = sides[:, : layout.parameters].double()
        width = float(first.norm())
        if width == 0:
            raise InputError("the first two networks are the same; a plane needs three apart")
        axis = first / width
        share = float(axis @ second)
        rest = second - share * axis
        rest = rest - (axis @ rest) * axis  # once more, for the digits that were lost
        height = float(rest.norm())
        if height <= FLAT * float(second.norm()):
            raise InputError("the three networks lie on one line, so no one plane holds them")
        points = ((0.0, 0.0), (width, 0.0), (share, height))
        return cls(vectors[0], sides, torch.stack([axis, rest / height]), points, layout)

    def vector_at(self, x: float, y: float) -> Tensor:
        """The network at a point of the plane, all its numbers."""
        _, (width, _), (share, height) = self.points
        up = y / height
        weights = torch.tensor([(x - up * share) / width, up], dtype=torch.float64)
        return self.origin + self.sides.T @ weights.to(self.sides)

    def project(self, curve: Curve, count: int = 61) -> tuple[tuple[Point, ...], float]:
        """Coordinates of points of a curve, and the largest distance of one from the plane."""
        if Layout.of(curve.network) != self.layout:
            raise InputError("a curve is of another architecture than the plane")
        start = self.origin[: self.layout.parameters].double()
        path, farthest = [], 0.0
        for step in range(count):
            point = curve.vector_at(step / (count - 1)).to(start)[: self.layout.parameters] - start
            place = self.axes @ point
            x, y = place.tolist()
            path.append((x, y))
            farthest = max(farthest, float((point - self.axes.T @ place).norm()))
        return tuple(path), farthest


def _vector(
    network: nn.Module, layout: Layout, one: Mapping[str, Tensor] | nn.Module, place: int
) -> Tensor:
    state: State = dict(one.state_dict() if isinstance(one, nn.Module) else one)
    owner = f"network {place + 1} of the plane"
    check_states(network.state_dict(), state, "the architecture", owner)
    check_finite(state, owner)
    return layout.flatten(state)


def _ticks(coordinates: Sequence[float], reach: Point, size: int) -> tuple[float, ...]:
    """Equal steps from one share of the coordinates' extent to another."""
    low, extent = min(coordinates), max(coordinates) - min(coordinates)
    if not reach[0] < reach[1]:
        raise InputError(f"the grid reaches from {reach[0]} to {reach[1]}: give a rising pair")
    shares = [reach[0] + (reach[1] - reach[0]) * step / (size - 1) for step in range(size)]
    return tuple(low + extent * share for share in shares)
