"""The built-in proof: a random permutation must leave a network's outputs as they are."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from ..errors import SymmetryError
from ..state import mode
from .groups import Symmetry
from .permutation import (
    Permutation,
    identity_permutation,
    invert,
    permute,
    random_permutation,
    renumber,
)
from .sites import WRITERS
from .trace import Example, Trace, arguments_of, doubled, operator_of, tensors_of

DOUBLE_LIMIT = 20_000_000
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}


def prove(
    network: nn.Module,
    symmetry: Symmetry,
    example: Example,
    seed: int = 0,
    double_limit: int = DOUBLE_LIMIT,
) -> float:
    """Check a symmetry by a random permutation; return the largest relative change of an output.

    Every weight is shaken first, so that zeros and ones left from initialisation hide nothing, and
    the layers are tuned, so that each of them shows in the outputs. The network is run before and
    after; the branches that only training takes are run by their graphs. So are all graphs of
    networks of up to `double_limit` parameters, in double precision, whatever precision their own
    code insists on. Raises `SymmetryError` naming the groups at fault if an output changes.
    """
    twin, dtype = copy.deepcopy(network), torch.float32
    if sum(parameter.numel() for parameter in twin.parameters()) <= double_limit:
        twin, dtype = twin.double(), torch.float64
    _shake(twin, seed)
    for one in symmetry.traces:
        _tune(twin, one, example)
    permutation = _drawn(symmetry, seed)
    graphs = tuple(one for one in symmetry.traces if one.training or dtype is torch.float64)
    before = _called(twin, example), _traced(twin, graphs, example)
    if not any(torch.isfinite(output).any() for output in before[0]):
        raise SymmetryError(
            f"{type(network).__name__} gives no finite number for the example, so nothing can be "
            "proved; give another example"
        )
    renumber(twin, symmetry, permutation)
    called = _change(before[0], _called(twin, example))
    traced = _change(before[1], _traced(twin, graphs, example))
    if called <= TOLERANCE[torch.float32] and traced <= TOLERANCE[dtype]:
        return traced if dtype is torch.float64 else max(called, traced)
    renumber(twin, symmetry, invert(symmetry, permutation))
    raise SymmetryError(
        f"{type(network).__name__}: the symmetry found fails its proof (outputs change by "
        f"{max(called, traced):.1e}); {_at_fault(twin, symmetry, example, seed, TOLERANCE[dtype])}"
    )


def _drawn(symmetry: Symmetry, seed: int) -> Permutation:
    """A random permutation that moves something in every group and block."""
    drawn, still = random_permutation(symmetry, seed), identity_permutation(symmetry)
    same = {name: (drawn[name] == still[name]).all(-1, keepdim=True) for name in still}
    return {name: torch.where(same[name], drawn[name].roll(1, -1), drawn[name]) for name in still}


def _at_fault(
    network: nn.Module, symmetry: Symmetry, example: Example, seed: int, tolerance: float
) -> str:
    """Which groups change the outputs when they alone are renumbered."""
    still = identity_permutation(symmetry)
    drawn = _drawn(symmetry, seed)
    before, again = (_traced(network, symmetry.traces, example) for _ in range(2))
    called = _change(_called(network, example), _called(network, example))
    if max(called, _change(before, again)) > tolerance:
        return "two runs of the same network differ, so it draws random numbers"
    faulty = []
    for name in symmetry.groups:
        other = permute(network, symmetry, {**still, name: drawn[name]})
        if _change(before, _traced(other, symmetry.traces, example)) > tolerance:
            faulty.append(name)
            if len(faulty) == 5:
                break
    return f"groups at fault: {', '.join(faulty) or 'only together'}"


def _shake(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    buffers = {id(buffer) for buffer in network.buffers()}
    for tensor in network.state_dict(keep_vars=True).values():
        if not tensor.is_floating_point():
            continue
        noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype).to(tensor.device)
        if id(tensor) in buffers:
            tensor.data = tensor.data * (0.75 + 0.5 * noise) + 0.1 * noise
        else:
            scale = torch.linalg.vector_norm(tensor.data) / max(tensor.numel(), 1) ** 0.5
            tensor.data += noise.sub_(0.5).mul_(scale.clamp_min(0.02))


def _tune(network: nn.Module, trace: Trace, example: Example) -> None:
    """Give every layer's result unit size and lift it, and batch norm the example's statistics.

    Else signals fade or rectifiers close, until no output tells a right renumbering from a wrong
    one (layer-sequential unit variance, Mishkin and Matas 2016). The variances of batch norm keep
    their proportions: those of quiet channels would blow rounding up.
    """
    state, nodes = network.state_dict(), {node.name: node for node in trace.nodes}

    def held(source: object) -> Tensor | None:
        return state.get(trace.states.get(getattr(source, "name", ""), ""))

    def observe(name: str, result: object) -> None:
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return
        if operator_of(nodes[name]) in WRITERS:
            own = [one for i in nodes[name].all_input_nodes if (one := held(i)) is not None]
            size = float(result.square().mean().sqrt())
            if own and 0 < size < float("inf"):
                bias = [tensor for tensor in own if tensor.ndim == 1]
                for tensor in (result, *own):
                    tensor /= size
                for tensor in (result, *bias) if bias else ():
                    tensor += 1
        for user in nodes[name].users:
            if operator_of(user) == "batch_norm" and user.args[0] is nodes[name]:
                mean, variance = (held(source) for source in user.args[3:5])
                if mean is not None and variance is not None:
                    places = [dim for dim in range(result.ndim) if dim != 1]
                    mean.copy_(result.mean(places))
                    variance *= result.var(places, correction=0).mean() / variance.mean()

    with torch.no_grad():
        trace.run(state, tensors_of(example), observe)


def _change(before: list[Tensor], after: list[Tensor]) -> float:
    """The largest change of an output, relative to the largest output."""
    worst = 0.0
    for one, other in zip(before, after, strict=True):
        one, other = one.double(), other.double()
        finite = torch.isfinite(one)
        if not torch.equal(finite, torch.isfinite(other)):
            return float("inf")
        scale = one[finite].abs().max().clamp_min(1e-30) if finite.any() else 1.0
        difference = torch.where(finite, one - other, 0.0).abs().max()
        worst = max(worst, float(difference / scale))
    return worst


def _traced(network: nn.Module, traces: Sequence[Trace], example: Example) -> list[Tensor]:
    """Every tensor that some traces of a network return."""
    state, inputs = network.state_dict(), tensors_of(example)
    with torch.no_grad():
        return _numbers([one.run(state, inputs) for one in traces])


def _called(network: nn.Module, example: Example) -> list[Tensor]:
    """What a network returns itself, in its own precision unless its code insists on single."""
    before = torch.get_default_dtype()
    if all(tensor.dtype is not torch.float64 for tensor in network.state_dict().values()):
        return _outputs(network, example)
    torch.set_default_dtype(torch.float64)
    try:
        return _outputs(network, tree_map(doubled, example))
    except RuntimeError:
        single = copy.deepcopy(network).to(before)
    finally:
        torch.set_default_dtype(before)
    return _outputs(single, example)


def _outputs(network: nn.Module, example: Example) -> list[Tensor]:
    """Every tensor that a network returns in evaluation mode."""
    arguments, named = arguments_of(example)
    with mode(network, False), torch.no_grad():
        return _numbers(network(*arguments, **named))


def _numbers(results: object) -> list[Tensor]:
    return [
        leaf
        for leaf in tree_leaves(results)
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.numel()
    ]
