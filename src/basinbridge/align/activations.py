"""Statistics of two networks' activations, gathered in one pass over the data.

A network's activations do not depend on how another network is numbered, so Algorithm 1 need not
go layer by layer: all groups' cross-moments are accumulated in a single pass, and no activation
outlives its batch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..data.batches import Batch, Data, evaluation_batches, global_seed
from ..data.images import ImageData
from ..errors import InputError
from ..state import check_states, mode
from ..symmetry.groups import Site, Symmetry
from ..symmetry.trace import Example, Trace, tensors_of, trace
from ..train.adversarial import Attack

# Neurons of one site up to which every position in space or time is a sample.
WIDE = 512

Observed: TypeAlias = Data | Iterable[tuple[Example, Tensor]]
"""What both networks see: data, or batches for a network with several inputs, (inputs, labels)."""


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
        self.precision = torch.finfo(one.dtype).eps
        if one.dtype.itemsize < 4:  # squares would overflow, and sums of products be rounded
            one, other = one.float(), other.float()
        if self.shifts is None:
            self.shifts = (one.mean(0), other.mean(0))
            self.sums = [torch.zeros_like(one[0], dtype=torch.float64) for _ in range(2)]
            self.squares = [torch.zeros_like(one[0], dtype=torch.float64) for _ in range(2)]
        centred = [values - shift for values, shift in zip((one, other), self.shifts, strict=True)]
        self.count += one.shape[0]
        product = centred[0].T @ centred[1]
        self.cross = product.double() if self.cross is None else self.cross.add_(product)
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
        return (self.cross / self.count).addr_(*means, alpha=-1), variances[0], variances[1]

    def correlation(self) -> Tensor:
        """Pearson correlation of each channel with each, eq. (3); 0 for a constant channel.

        A channel counts as constant if it deviates from its mean by no more than rounding does.
        """
        covariance, *variances = self.covariance()
        one, other = (
            torch.where(variance.sqrt() <= 4 * self.precision * mean.abs(), 0.0, variance.rsqrt())
            for variance, mean in zip(variances, self.means(), strict=True)
        )
        return covariance.mul_(one[:, None]).mul_(other).clamp_(-1, 1)

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
    data: Observed,
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
    are written. Of activations wider than `WIDE` channels only every k-th position is read, k the
    number of channels over `WIDE`: the products cost samples times channels squared, and would
    take longer than the networks themselves. `make` gives the accumulator of a site. With an
    `attack` each network sees the images that it is attacked with itself. Memory: what two forward
    passes of a batch take, and one matrix a site.
    """
    check_states(net_a.state_dict(), net_b.state_dict(), "network a", "network b")
    chosen = {
        name: [(site, make()) for site in sites_of(group.sites, kind)]
        for name, group in symmetry.groups.items()
    }
    device = next((tensor.device for tensor in net_a.state_dict().values()), torch.device("cpu"))
    states = net_a.state_dict(), net_b.state_dict()
    traces: dict[tuple[int, int], Trace] = {}
    seen = 0
    # An attack draws its random starts, and needs the modes that the traces are made in.
    with torch.no_grad(), global_seed(0, device), mode(net_a, False), mode(net_b, False):
        for inputs, labels in _batches(data, batch_size, device):
            attacked = _attacked((net_a, net_b), inputs, labels, attack)
            for number in range(len(symmetry.traces)):
                one = _trace_for(net_a, symmetry, number, inputs, traces)
                given = tuple(_given(one, each) for each in attacked)
                _observe(one, number, states, given, chosen)
            seen += len(tensors_of(inputs)[0])
    if seen < 2:
        raise InputError("alignment needs at least two inputs")
    return chosen


def sites_of(sites: Iterable[Site], kind: str) -> list[Site]:
    """The sites of one kind, with those of groups that have no nonlinearity."""
    return [site for site in sites if site.kind in (kind, "written")]


def _batches(
    data: Observed, batch_size: int, device: torch.device
) -> Iterator[tuple[Example, Tensor]]:
    """Every batch: inputs (a tensor, or what a network with several inputs takes) and labels."""
    first = data[0] if isinstance(data, tuple | list) and data else data
    if isinstance(first, Tensor | ImageData) or not isinstance(data, Iterable):
        yield from evaluation_batches(cast(Data, data), batch_size, device=device)
        return
    for batch in data:
        inputs = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if isinstance(inputs, tuple | dict):
            yield tree_map(lambda leaf: leaf.to(device), inputs), batch[1]
        else:
            yield from evaluation_batches([cast(Batch, batch)], 1, device=device)


def _attacked(
    networks: tuple[nn.Module, nn.Module], inputs: Example, labels: Tensor, attack: Attack | None
) -> tuple[Example, ...]:
    """What each network sees: the inputs, or those that it is itself attacked with."""
    if attack is None:
        return inputs, inputs
    if not isinstance(inputs, Tensor):
        raise InputError("an attack needs a network with one input; align without attack")
    return tuple(attack(network, _channels_last(inputs), labels) for network in networks)


def _given(one: Trace, inputs: Example) -> tuple[Tensor, ...]:
    """The tensors of a network's input in the order of its traced graph."""
    tensors = tensors_of(inputs)
    if isinstance(inputs, dict) and set(inputs) == set(one.inputs):
        tensors = tuple(inputs[name] for name in one.inputs)
    if len(tensors) != len(one.inputs):
        raise InputError(
            f"the network takes {len(one.inputs)} input tensors, but a batch holds {len(tensors)}; "
            "give a tuple of inputs, or a dict, in front of the labels"
        )
    return tuple(_channels_last(tensor) for tensor in tensors)


def _trace_for(
    network: nn.Module,
    symmetry: Symmetry,
    number: int,
    inputs: Example,
    known: dict[tuple[int, int], Trace],
) -> Trace:
    """The trace itself, or, where it holds for one batch size only, one made for this size."""
    if symmetry.traces[number].any_batch:
        return symmetry.traces[number]
    key = (number, len(tensors_of(inputs)[0]))
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
    states: tuple[dict[str, Tensor], ...],
    inputs: tuple[tuple[Tensor, ...], ...],
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

    def compare(name: str, first: Any, second: Any) -> None:  # noqa: ANN401
        for site, moments in wanted.get(name, ()):
            moments.update(_samples(first, site), _samples(second, site))

    one.run_both(states, inputs, compare)


def _samples(activation: Tensor, site: Site) -> Tensor:
    """An activation as (samples, channels), channels in the order of the group's members."""
    if site.pooled:
        activation = activation.mean(site.pooled, keepdim=True)
    if site.blocks is None:
        values = activation.movedim(site.dim, -1)
    else:
        values = activation.movedim((site.blocks, site.dim), (-2, -1)).flatten(-2)
    places = site.places.ravel()
    stride = -(-places.size // WIDE) if values.ndim > 2 and not site.pooled else 1
    values = values.reshape(-1, values.shape[-1])[::stride]
    first = int(places[0])
    if np.array_equal(places, np.arange(first, first + places.size)):
        return values[:, first : first + places.size]
    return values[:, torch.from_numpy(places).to(values.device)]


def _channels_last(inputs: Tensor) -> Tensor:
    """Images in the memory order in which convolutions run fastest and channels lie together."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs
