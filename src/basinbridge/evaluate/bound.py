"""Theorem 3.1: bounds on the average loss along the line between two feed-forward networks.

docs/theory.md states and proves what is computed here.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..align.match import align
from ..data.batches import Data, evaluation_batches
from ..errors import InputError
from ..state import check_states, mode
from ..symmetry.discover import discover
from ..symmetry.groups import Symmetry
from ..symmetry.permutation import Permutation, permute
from .along import BATCH_SIZE, prepared, score

# The gradient of cross entropy by the logits is p - e_y, of length sqrt(2) (1 - p_y) at most.
CROSS_ENTROPY = math.sqrt(2)

# Largest slopes, rounded upwards where they are not exact.
_SLOPES: dict[type[nn.Module], Callable[[nn.Module], float]] = {
    nn.Identity: lambda _: 1.0,
    nn.Dropout: lambda _: 1.0,  # in evaluation mode
    nn.ReLU: lambda _: 1.0,
    nn.ReLU6: lambda _: 1.0,
    nn.Hardtanh: lambda _: 1.0,
    nn.LeakyReLU: lambda one: max(1.0, abs(float(one.negative_slope))),  # type: ignore[arg-type]
    nn.ELU: lambda one: max(1.0, abs(float(one.alpha))),  # type: ignore[arg-type]
    nn.CELU: lambda _: 1.0,
    nn.SELU: lambda _: 1.7581,
    nn.GELU: lambda _: 1.13,
    nn.SiLU: lambda _: 1.1,
    nn.Mish: lambda _: 1.09,
    nn.Softplus: lambda _: 1.0,
    nn.Softsign: lambda _: 1.0,
    nn.Tanh: lambda _: 1.0,
    nn.Sigmoid: lambda _: 0.25,
    nn.LogSigmoid: lambda _: 1.0,
}


@dataclass(frozen=True)
class Bound:
    """Upper bounds on the average loss along two lines, from a network to another, in nats.

    `endpoints` is the mean of the two networks' losses. `unaligned` and `aligned` hold what each of
    the hidden `layers` adds to it, with the second network as it is and renumbered; `distances_...`
    are the root mean squared distances of their pre-activations, to which these are proportional.
    """

    layers: tuple[str, ...]
    endpoints: float
    unaligned: tuple[float, ...]
    aligned: tuple[float, ...]
    distances_unaligned: tuple[float, ...]
    distances_aligned: tuple[float, ...]

    @property
    def upper_unaligned(self) -> float:
        """Bound on the average loss along the line to the network as it is (B_u)."""
        return self.endpoints + sum(self.unaligned)

    @property
    def upper_aligned(self) -> float:
        """Bound on the average loss along the line to the renumbered network (B_a)."""
        return self.endpoints + sum(self.aligned)

    def __str__(self) -> str:
        """A line for each layer's contribution, and the sums."""
        width = max(len("both ends"), *(len(layer) for layer in self.layers))
        lines = [f"{'nats':<{width}}  unaligned     aligned"]
        rows = [("both ends", self.endpoints, self.endpoints)]
        rows += zip(self.layers, self.unaligned, self.aligned, strict=True)
        rows.append(("bound", self.upper_unaligned, self.upper_aligned))
        lines += [f"{name:<{width}}  {one:9.4g}  {other:10.4g}" for name, one, other in rows]
        return "\n".join(lines)


def bound(
    net_a: nn.Module,
    net_b: nn.Module,
    data: Data,
    symmetry: Symmetry | None = None,
    permutation: Permutation | None = None,
    *,
    batch_size: int = BATCH_SIZE,
) -> Bound:
    """Bounds on the mean cross entropy over `data`, averaged along the line between two networks.

    The networks are `nn.Sequential`s of linear layers with Lipschitz activations between them;
    flattening in front and dropout are allowed. Left out, `permutation` matches pre-activations by
    least squared distance on these very data; then the aligned bound is at most the unaligned one,
    whatever the networks. Both bounds hold for any permutation, but for rounding, and for the best
    curve as well, since no curve that the line is one of does worse than the line.

    Source: Theorem 3.1 and eq. (6), Tatro et al. 2020; the proof is in docs/theory.md. Raises
    `InputError` for another kind of network.

    >>> nets = [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)) for _ in range(2)]
    >>> found = bound(*nets, (torch.randn(20, 4), torch.zeros(20, dtype=torch.long)))
    >>> found.layers, found.endpoints < found.upper_aligned <= found.upper_unaligned
    (('0',), True)
    """
    chains = [_Chain.of(network) for network in (net_a, net_b)]
    check_states(net_a.state_dict(), net_b.state_dict(), "network a", "network b")
    if chains[0].slopes != chains[1].slopes:
        raise InputError("the two networks have different activations")
    if symmetry is None:
        inputs = next(iter(evaluation_batches(data, 2, device=chains[0].device)))[0]
        symmetry = discover(net_a, torch.cat([inputs, inputs])[:2])
    if permutation is None:
        permutation = align(net_a, net_b, data, symmetry, method="l2", activations="pre")
    renumbered = permute(net_b, symmetry, permutation)
    copies = [copy.deepcopy(network) for network in (net_a, net_b)]  # scoring changes their mode
    tests = prepared(data, batch_size, chains[0].device)
    apart = _distances([net_a, net_b, renumbered], data, batch_size)
    shares = _shares(*chains)
    return Bound(
        layers=tuple(chains[0].names[:-1]),
        endpoints=sum(score(network, tests).loss for network in copies) / 2,
        unaligned=tuple(s * d for s, d in zip(shares, apart[0], strict=True)),
        aligned=tuple(s * d for s, d in zip(shares, apart[1], strict=True)),
        distances_unaligned=tuple(apart[0]),
        distances_aligned=tuple(apart[1]),
    )


@dataclass(frozen=True)
class _Chain:
    """Linear layers by name, and the Lipschitz constant of what stands between each two."""

    names: list[str]
    layers: list[nn.Linear]
    slopes: list[float]

    @classmethod
    def of(cls, network: nn.Module) -> "_Chain":
        names: list[str] = []
        layers: list[nn.Linear] = []
        slopes: list[float] = []
        for name, module in _steps(network, ""):
            if isinstance(module, nn.Linear):
                names.append(name)
                layers.append(module)
                slopes.append(1.0)
            elif type(module) in _SLOPES:
                if slopes:  # what stands in front of the first layer is the same for both networks
                    slopes[-1] *= _SLOPES[type(module)](module)
            elif not (isinstance(module, nn.Flatten) and not layers):
                raise InputError(
                    f"module {name!r} is a {type(module).__name__}: the bound is for linear layers "
                    "and Lipschitz activations"
                )
        last = _steps(network, "")[-1][1]
        if len(layers) < 2 or not isinstance(last, nn.Linear | nn.Identity | nn.Dropout):
            raise InputError("the bound needs two linear layers or more, and ends with one")
        if len({id(layer.weight) for layer in layers}) < len(layers):
            raise InputError("the bound is for layers that share no weights")
        return cls(names, layers, slopes[:-1])

    @property
    def device(self) -> torch.device:
        return self.layers[0].weight.device

    def norms(self) -> list[float]:
        """The largest singular value of every weight."""
        weights = [layer.weight.detach().double() for layer in self.layers]
        return [float(torch.linalg.matrix_norm(weight, ord=2)) for weight in weights]


def _steps(network: nn.Module, prefix: str) -> list[tuple[str, nn.Module]]:
    """The modules of nested `nn.Sequential`s in the order in which they run."""
    if not isinstance(network, nn.Sequential):
        if not prefix:
            raise InputError(f"the bound is for an nn.Sequential, not a {type(network).__name__}")
        return [(prefix, network)]
    return [
        step
        for name, child in network._modules.items()  # a module may stand there twice
        if child is not None
        for step in _steps(child, f"{prefix}.{name}" if prefix else name)
    ]


def _shares(one: _Chain, other: _Chain) -> list[float]:
    """Nats that each hidden layer adds for every unit of its pre-activations' distance.

    For layer l the integral over t of sqrt(2) c_l t (1-t) (|A_(l+1)| + |B_(l+1)|) times the product
    over k > l+1 of c_(k-1) ((1-t) |A_k| + t |B_k|). Gauss-Legendre is exact for a polynomial.
    """
    a, b = (np.array(chain.norms()) for chain in (one, other))
    slopes = np.array(one.slopes)
    nodes, weights = np.polynomial.legendre.leggauss(len(a) // 2 + 2)
    t, weights = (nodes + 1) / 2, weights / 2
    growth = slopes[:, None] * ((1 - t) * a[1:, None] + t * b[1:, None])
    shares = []
    for layer in range(len(slopes)):
        values = slopes[layer] * t * (1 - t) * (a[layer + 1] + b[layer + 1])
        values = values * growth[layer + 1 :].prod(axis=0)
        shares.append(CROSS_ENTROPY * float(weights @ values))
    return shares


def _distances(networks: list[nn.Module], data: Data, batch_size: int) -> list[list[float]]:
    """Root mean squared distance of the first network's pre-activations to each other one's."""
    hidden = [_Chain.of(network).layers[:-1] for network in networks]
    total = torch.zeros(len(networks) - 1, len(hidden[0]), dtype=torch.float64)
    count = 0
    for inputs, _ in evaluation_batches(data, batch_size, device=hidden[0][0].weight.device):
        count += len(inputs)
        first, *others = (
            _pre_activations(network, layers, inputs)
            for network, layers in zip(networks, hidden, strict=True)
        )
        for row, seen in enumerate(others):
            for column, (one, other) in enumerate(zip(first, seen, strict=True)):
                total[row, column] += (one.double() - other.double()).square().sum().cpu()
    found: list[list[float]] = (total / count).sqrt().tolist()
    return found


def _pre_activations(network: nn.Module, layers: list[nn.Linear], inputs: Tensor) -> list[Tensor]:
    """What some layers of a network give, in evaluation mode."""
    seen: list[Tensor] = []
    handles = [
        layer.register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
        for layer in layers
    ]
    try:
        with mode(network, False), torch.no_grad():
            network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return seen
