"""Statistics of two networks' activations, gathered in one pass over the data.

A network's activations do not depend on how another network is numbered, so Algorithm 1 need not
go layer by layer: all groups' cross-moments are accumulated in a single pass, and no activation
outlives its batch.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.batches import Data, evaluation_batches, global_seed
from ..errors import InputError
from ..state import check_states, mode
from ..symmetry.groups import Site, Symmetry
from ..symmetry.trace import Trace, trace
from ..train.adversarial import Attack


@dataclass
class Moments:
    """First and second moments of two sets of channels seen on the same samples.

    Values are accumulated in float64, relative to the first batch's means, so that a large mean
    costs no digits.
    """

    count: int = 0
    precision: float = 0.0
    shifts: tuple[Tensor, Tensor] | None = None
    sums: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)
    cross: Tensor | None = None

    def update(self, one: Tensor, other: Tensor) -> None:
        """Add samples, each given as (samples, channels)."""
        if self.shifts is None:
            self.precision = torch.finfo(one.dtype).eps
            self.shifts = (one.mean(0), other.mean(0))
            self.sums = [torch.zeros_like(one[0], dtype=torch.float64) for _ in range(2)]
            self.squares = [torch.zeros_like(one[0], dtype=torch.float64) for _ in range(2)]
            self.cross = one.new_zeros((one.shape[1], other.shape[1]), dtype=torch.float64)
        assert self.cross is not None
        centred = [values - shift for values, shift in zip((one, other), self.shifts, strict=True)]
        self.count += one.shape[0]
        self.cross += centred[0].T @ centred[1]
        for place, values in enumerate(centred):
            self.sums[place] += values.sum(0)
            self.squares[place] += values.square_().sum(0)

    def covariance(self) -> tuple[Tensor, Tensor, Tensor]:
        """Covariance (channels x channels) and the variances of either side."""
        assert self.cross is not None
        means = [total / self.count for total in self.sums]
        variances = [
            (square / self.count - mean.square()).clamp_min(0)
            for square, mean in zip(self.squares, means, strict=True)
        ]
        return self.cross / self.count - torch.outer(*means), variances[0], variances[1]

    def correlation(self) -> Tensor:
        """Pearson correlation of each channel with each, eq. (3); 0 for a constant channel.

        A channel counts as constant if it deviates from its mean by no more than rounding does.
        """
        covariance, *variances = self.covariance()
        deviations = [
            torch.where(variance.sqrt() <= 4 * self.precision * mean.abs(), 0.0, variance.sqrt())
            for variance, mean in zip(variances, self.means(), strict=True)
        ]
        scale = torch.outer(*deviations)
        return torch.where(scale == 0, 0.0, covariance / scale).clamp(-1, 1)

    def means(self) -> list[Tensor]:
        """The mean of every channel, of either side."""
        assert self.shifts is not None
        return [
            shift.double() + total / self.count
            for shift, total in zip(self.shifts, self.sums, strict=True)
        ]

    def squared_distance(self) -> Tensor:
        """Mean squared difference of each channel and each (the cost of the L2 alignment)."""
        covariance, one, other = self.covariance()
        means = self.means()
        apart = (means[0][:, None] - means[1][None, :]).square()
        return one[:, None] + other[None, :] - 2 * covariance + apart


def gather(
    net_a: nn.Module,
    net_b: nn.Module,
    data: Data,
    symmetry: Symmetry,
    *,
    kind: str = "post",
    batch_size: int = 100,
    make: Callable[[], Moments] = Moments,
    attack: Attack | None = None,
) -> dict[str, list[tuple[Site, Moments]]]:
    """Moments of both networks at every site of every group, in one pass over `data`.

    Evaluation mode; every position in space or time is a sample. `kind` chooses the sites behind
    ("post") or before ("pre") a group's nonlinearities; groups without one are observed where they
    are written. `make` gives the accumulator of a site. With an `attack` each network sees the
    images that it is attacked with itself. Memory: one batch's observed activations,
    and one matrix a site.
    """
    check_states(net_a.state_dict(), net_b.state_dict(), "network a", "network b")
    chosen = {
        name: [(site, make()) for site in sites_of(group.sites, kind)]
        for name, group in symmetry.groups.items()
    }
    device = next((tensor.device for tensor in net_a.state_dict().values()), torch.device("cpu"))
    states = [network.state_dict() for network in (net_a, net_b)]
    traces: dict[tuple[int, int], Trace] = {}
    seen = 0
    # An attack draws its random starts, and needs the modes that the traces are made in.
    with torch.no_grad(), global_seed(0, device), mode(net_a, False), mode(net_b, False):
        for inputs, labels in evaluation_batches(data, batch_size, device=device):
            seen += len(inputs)
            given = [_channels_last(inputs)] * 2
            if attack is not None:
                given = [attack(network, given[0], labels) for network in (net_a, net_b)]
            for number in range(len(symmetry.traces)):
                one = _trace_for(net_a, symmetry, number, given[0], traces)
                _observe(one, number, states, given, chosen)
    if seen < 2:
        raise InputError("alignment needs at least two inputs")
    return chosen


def sites_of(sites: Iterable[Site], kind: str) -> list[Site]:
    """The sites of one kind, with those of groups that have no nonlinearity."""
    return [site for site in sites if site.kind in (kind, "written")]


def _trace_for(
    network: nn.Module,
    symmetry: Symmetry,
    number: int,
    inputs: Tensor,
    known: dict[tuple[int, int], Trace],
) -> Trace:
    """The trace itself, or, where it holds for one batch size only, one made for this size."""
    if symmetry.traces[number].any_batch:
        return symmetry.traces[number]
    key = (number, len(inputs))
    if key not in known:
        training = symmetry.traces[number].training
        known[key] = trace(network, inputs, training=training)
        if len(known[key].nodes) != len(symmetry.traces[number].nodes):
            raise InputError(
                f"{type(network).__name__} goes through a batch one by one, so its groups are "
                "found in batches of the example's size only; give the data in such batches"
            )
    return known[key]


def _observe(
    one: Trace,
    number: int,
    states: list[dict[str, Tensor]],
    inputs: list[Tensor],
    chosen: Mapping[str, list[tuple[Site, Moments]]],
) -> None:
    """Run both networks on a batch each and add to the moments of all sites of this trace."""
    wanted: dict[str, list[tuple[Site, Moments]]] = {}
    for entries in chosen.values():
        for site, moments in entries:
            if site.trace == number:
                wanted.setdefault(site.node, []).append((site, moments))
    if not wanted:
        return
    first: dict[str, Any] = {}

    def keep(name: str, result: Any) -> None:  # noqa: ANN401
        if name in wanted:
            first[name] = result.clone() if name in one.overwritten else result

    def compare(name: str, result: Any) -> None:  # noqa: ANN401
        for site, moments in wanted.get(name, ()):
            moments.update(_samples(first[name], site), _samples(result, site))
        first.pop(name, None)

    one.run(states[0], (inputs[0],), keep)
    one.run(states[1], (inputs[1],), compare)


def _samples(activation: Tensor, site: Site) -> Tensor:
    """An activation as (samples, channels), channels in the order of the group's members."""
    values = activation.movedim(site.dim, -1)
    values = values.reshape(-1, values.shape[-1])
    places = site.places.ravel()
    if np.array_equal(places, np.arange(values.shape[-1])):
        return values
    return values[:, torch.from_numpy(places).to(values.device)]


def _channels_last(inputs: Tensor) -> Tensor:
    """Images in the memory order in which convolutions run fastest and channels lie together."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs
