"""Two networks merged into one: a point of the line between them, its activations repaired."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from ..align.match import align
from ..curve.paths import Linear
from ..data.batches import Augmentation, Batch, Data, evaluation_batches
from ..state import mode
from ..symmetry.groups import Symmetry
from ..symmetry.permutation import Permutation, permute
from ..symmetry.rules import NONLINEAR
from .along import BATCH_SIZE, BATCHNORM_IMAGES, statistics_batches
from .batchnorm import reestimate

Statistics = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Merge:
    """A merged network, and which of its layers were `repaired`.

    `untouched` are the affine layers that could not be: the output, those without a bias, those
    used twice, and those that no nonlinearity follows directly (a batch norm, whose statistics were
    re-estimated instead, or a residual sum).
    """

    network: nn.Module
    repaired: tuple[str, ...]
    untouched: tuple[str, ...]


def merge(
    net_a: nn.Module,
    net_b: nn.Module,
    data: Data,
    symmetry: Symmetry,
    permutation: Permutation | None = None,
    *,
    t: float = 0.5,
    repair: bool = True,
    batch_size: int = BATCH_SIZE,
    augmentation: Augmentation | None = None,
) -> Merge:
    """One network from two: (1 - t) A + t B, with B renumbered, and the variance put back.

    Averaged weights give activations that vary too little, the more so the deeper. Batch norm
    undoes that when its statistics are re-estimated (here from 2,000 of `data`, with the
    `augmentation` of the training, as for `evaluate`). Where an affine layer feeds a nonlinearity
    directly, its weight and bias are rewritten so that every channel of its output has the mean and
    the standard deviation that interpolate the two networks'. Layers are repaired from the input to
    the output, each in one pass over `data`: training images, of which some thousands are enough.
    Left out, `permutation` is Algorithm 1's on `data`.

    Source: REPAIR, Jordan et al. 2023, Section 4.

    >>> import basinbridge as bb
    >>> nets = [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)) for _ in range(2)]
    >>> images = torch.randn(50, 4)
    >>> symmetry = bb.discover(nets[0], images[:2])
    >>> found = merge(*nets, (images, torch.zeros(50, dtype=torch.long)), symmetry)
    >>> found.repaired, found.untouched
    (('0',), ('2',))
    """
    if permutation is None:
        permutation = align(net_a, net_b, data, symmetry)
    end = permute(net_b, symmetry, permutation)
    network = Linear.between(net_a, end).network_at(t)
    device = next(network.parameters()).device
    statistics = statistics_batches(
        network, data, BATCHNORM_IMAGES, device, augmentation=augmentation
    )
    reestimate(network, statistics)
    affine = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    }
    repaired = [name for name in _feeding(symmetry) if name in affine] if repair else []
    if repaired:
        layers = {name: affine[name] for name in repaired}
        _repair(
            network,
            layers,
            (net_a, end),
            t,
            list(evaluation_batches(data, batch_size, device=device)),
        )
        reestimate(network, statistics)
    untouched = tuple(name for name in affine if name not in repaired)
    return Merge(network, tuple(repaired), untouched)


def _repair(
    network: nn.Module,
    layers: Mapping[str, nn.Module],
    ends: tuple[nn.Module, nn.Module],
    t: float,
    batches: Sequence[Batch],
) -> None:
    """Rescale layers, in their order, to the statistics between those of two networks."""
    one, other = (_statistics(end, list(layers), batches) for end in ends)
    for name, layer in layers.items():
        mean, deviation = (torch.lerp(a, b, t) for a, b in zip(one[name], other[name], strict=True))
        # Measured anew, since the layers before this one have changed its input.
        own = _statistics(network, [name], batches)[name]
        _rescale(layer, own, (mean, deviation))


def _feeding(symmetry: Symmetry) -> list[str]:
    """Affine layers with a bias, each used once, whose result a nonlinearity reads; in order."""
    found: list[str] = []
    for one in symmetry.traces[:1]:
        layers = [_layer_of(node, one.states) for node in one.nodes]
        for node, layer in zip(one.nodes, layers, strict=True):
            if layer is None or layers.count(layer) > 1:
                continue
            if any(_operator(user) in NONLINEAR for user in node.users):
                found.append(layer)
    return found


def _layer_of(node: fx.Node, states: dict[str, str]) -> str | None:
    """The module whose weight and bias an affine operator reads."""
    if _operator(node) not in ("linear", "conv1d", "conv2d", "conv3d"):
        return None
    given = [*node.args[1:3], node.kwargs.get("weight"), node.kwargs.get("bias")]
    names = [states.get(one.name, "") for one in given if isinstance(one, fx.Node)]
    owner = names[0].removesuffix(".weight") if names else ""
    return owner if names == [f"{owner}.weight", f"{owner}.bias"] else None


def _operator(node: fx.Node) -> str:
    schema = getattr(node.target, "_schema", None)
    return "" if schema is None else str(schema.name).partition("::")[2].rstrip("_")


def _channels(module: nn.Module, output: Tensor) -> Tensor:
    """A layer's output as (samples, channels), in float64."""
    last = output if isinstance(module, nn.Linear) else output.movedim(1, -1)
    return last.reshape(-1, last.shape[-1]).double()


def _statistics(network: nn.Module, names: Sequence[str], batches: Sequence[Batch]) -> Statistics:
    """Mean and standard deviation of every channel of some layers' outputs."""
    sums: dict[str, list[Tensor]] = {}
    with _watching(network, names, sums), mode(network, False), torch.no_grad():
        for inputs, _ in batches:
            network(inputs)
    found = {}
    for name, (count, total, squares, shift) in sums.items():
        mean = total / count
        found[name] = (shift + mean, (squares / count - mean.square()).clamp_min(0).sqrt())
    return found


@contextmanager
def _watching(
    network: nn.Module, names: Sequence[str], sums: dict[str, list[Tensor]]
) -> Iterator[None]:
    """Add count, sums and squares, relative to the first batch's means, of what layers give."""

    def look(name: str, module: nn.Module, output: Tensor) -> None:
        values = _channels(module, output)
        if name not in sums:
            zero = torch.zeros_like(values[0])
            sums[name] = [torch.zeros((), dtype=torch.long), zero, zero.clone(), values.mean(0)]
        count, total, squares, shift = sums[name]
        count += len(values)
        total += (values - shift).sum(0)
        squares += (values - shift).square().sum(0)

    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda module, _, output, name=name: look(name, module, output)
        )
        for name in names
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rescale(module: nn.Module, own: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
    """Give a layer's output other means and deviations, channel by channel, in place."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    # A constant channel has no deviation to scale; its mean is put right all the same.
    factor = torch.where(own[1] > 0, wanted[1] / own[1].clamp_min(1e-300), 1.0)
    with torch.no_grad():
        weight.copy_(weight.double() * factor.reshape(-1, *[1] * (weight.ndim - 1)))
        bias.copy_((bias.double() - own[0]) * factor + wanted[0])
