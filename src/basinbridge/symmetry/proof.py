"""The built-in proof: a random permutation must leave a network's outputs as they are."""

import copy

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from ..errors import SymmetryError
from ..state import mode
from .groups import Symmetry
from .permutation import Permutation, identity_permutation, permute, random_permutation
from .trace import Example, arguments_of, tensors_of

DOUBLE_LIMIT = 20_000_000
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}


def prove(network: nn.Module, symmetry: Symmetry, example: Example, seed: int = 0) -> float:
    """Check a symmetry by a random permutation; return the largest relative change of an output.

    Every weight is shaken first, so that zeros and ones left from initialisation hide nothing.
    Networks of up to 20 million parameters are checked in double precision. Raises
    `SymmetryError` naming the groups at fault if an output changes.
    """
    twin = copy.deepcopy(network)
    dtype = torch.float32
    if sum(parameter.numel() for parameter in twin.parameters()) <= DOUBLE_LIMIT:
        twin, dtype = twin.double(), torch.float64
        example = tree_map(_double, example)
    _shake(twin, seed)
    difference = _difference(twin, symmetry, example, random_permutation(symmetry, seed))
    if difference <= TOLERANCE[dtype]:
        return difference
    faulty = []
    for name in symmetry.groups:
        alone = identity_permutation(symmetry)
        alone[name] = random_permutation(symmetry, seed)[name]
        if _difference(twin, symmetry, example, alone) > TOLERANCE[dtype]:
            faulty.append(name)
    raise SymmetryError(
        f"{type(network).__name__}: the symmetry found fails its proof (outputs change by "
        f"{difference:.1e}); groups at fault: {', '.join(faulty[:5]) or 'only together'}"
    )


def _double(leaf: object) -> object:
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


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
            scale = tensor.detach().square().mean().sqrt().clamp_min(0.02)
            tensor.data = tensor.data + scale * (noise - 0.5)


def _difference(
    network: nn.Module, symmetry: Symmetry, example: Example, permutation: Permutation
) -> float:
    """The largest change of an output, relative to the largest output."""
    other = permute(network, symmetry, permutation)
    worst = 0.0
    for before, after in zip(
        _outputs(network, symmetry, example), _outputs(other, symmetry, example), strict=True
    ):
        scale = float(before.abs().max().clamp_min(1e-30))
        change = float((before - after).abs().max()) / scale
        worst = max(worst, change if change == change else float("inf"))
    return worst


def _outputs(network: nn.Module, symmetry: Symmetry, example: Example) -> list[Tensor]:
    """Every tensor that the network returns in evaluation mode, and that its traces return."""
    arguments, named = arguments_of(example)
    with mode(network, False), torch.no_grad():
        results = tree_leaves(network(*arguments, **named))
        for one in symmetry.traces:
            results += tree_leaves(one.run(network.state_dict(), tensors_of(example)))
    return [
        leaf
        for leaf in results
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.numel()
    ]
